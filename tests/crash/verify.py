"""What must hold after a death: the store is sound, and no key holds anything it never should."""

from itertools import islice

from tests.crash.plan import (
    LATER_SECONDS,
    Companion,
    Model,
    Player,
    operations,
)
from tests.support.core.driver import Cache, Handle


def expectations(
    seed: int, begun: int, prefix: bytes = b"", *, tides: bool = True
) -> tuple[Model, Model]:
    """The keys' values before and after the operation during which the process died."""
    before, after = Model(), Model()
    for i, operation in enumerate(
        islice(operations(seed, prefix, tides=tides, surges=not tides), begun)
    ):
        after.apply(operation)
        if i < begun - 1:
            before.apply(operation)
    return before, after


def missing_keys(
    handle: Handle, seed: int, begun: int, prefix: bytes = b"", *, tides: bool = True
) -> list[bytes]:
    """Keys that should be there and are not. Raises AssertionError for a wrong value."""
    before, after = expectations(seed, begun, prefix, tides=tides)
    missing = []
    for key in sorted(before.values.keys() | after.values.keys()):
        found = handle.get(key)
        allowed = {before.values.get(key), after.values.get(key)}
        if found is None:
            missing += [key] if None not in allowed else []
        else:
            assert found in allowed, (key, found[:80], [value and value[:80] for value in allowed])
    return missing


def survive(
    cache: Cache,
    dead_slot: int,
    seed: int,
    begun: int,
    most_missing: int | None,
    *,
    tides: bool = True,
) -> None:
    """Run by a survivor: uses the store, takes the dead slot over, checks everything."""
    handle = cache.open(0)
    handle.set_now(LATER_SECONDS)
    missing = missing_keys(handle, seed, begun, tides=tides)
    assert most_missing is None or len(missing) <= most_missing, missing
    # Its predecessor died with the other one, at rest.
    companion = Companion(cache)
    player = Player(handle, companion, LATER_SECONDS)
    for operation in islice(operations(seed + 1, tides=tides, surges=not tides), 1500):
        player.play(operation)
    player.talk.drain()
    successor = cache.open(dead_slot)
    successor.set_now(player.now_seconds)
    for i in range(200):
        key = b"after %d" % i
        successor.put(key, key)
        assert handle.get(key) in (key, None)
    handle.limbo_step(1 << 20)
    assert handle.limbo_step(1 << 20) == 0
    handle.check()
