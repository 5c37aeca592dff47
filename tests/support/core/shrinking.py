"""Lets the indexes of a store shrink, as the keeper does."""

from pymc.core.ffi import lib
from tests.support.core.driver import Handle


def shrink_step(handle: Handle, buckets: int) -> bool:
    """Some buckets of each index; True while there is more to do."""
    return bool(lib.space_shrink_step(handle.store, buckets, True))


def shrink(handle: Handle, buckets: int = 1000) -> None:
    """As far as the indexes want to."""
    for _ in range(100_000):
        if not shrink_step(handle, buckets):
            return
    raise AssertionError("shrinking never ends")
