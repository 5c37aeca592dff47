"""Fixtures for tests of the C core: a cache in a fresh arena, and handles on it."""

from collections.abc import Iterator

import pytest

from tests.support.core.driver import TINY_LADDER, Cache, Handle


@pytest.fixture
def cache() -> Iterator[Cache]:
    with Cache() as made:
        yield made


@pytest.fixture
def store(cache: Cache) -> Iterator[Handle]:
    """A handle on slot 0; everything is checked when the test is done."""
    handle = cache.open(0)
    handle.set_now(100)
    yield handle
    handle.limbo_step()
    handle.check()


@pytest.fixture
def other(cache: Cache, store: Handle) -> Handle:
    """A second process slot on the same cache."""
    handle = cache.open(1)
    handle.set_now(100)
    return handle


@pytest.fixture
def parted() -> Iterator[Handle]:
    """A handle on a cache in which values above a kilobyte have parts."""
    with Cache(chunk_bytes=TINY_LADDER) as cache:
        handle = cache.open(0)
        handle.set_now(100)
        yield handle
        handle.limbo_step()
        handle.check()
