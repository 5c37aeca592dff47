"""A bucket that another process holds: operations answer BUSY and leave no trace."""

from collections.abc import Callable, Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import LADDER, MIB, Cache, Found, Handle, Mode, Outcome

Operation = Callable[[Handle], object]
# Counters that tell of the waiting itself.
OF_WAITING = {
    "lock_waits",
    "lock_gave_up",
    "lock_longest_wait_us",
    "read_retries",
    "optimistic_retries",
}


@pytest.fixture
def cache() -> Iterator[Cache]:
    with Cache(limit_bytes=16 * MIB, chunk_bytes=LADDER, slots=3) as cache:
        yield cache


@pytest.fixture
def store(cache: Cache) -> Handle:
    store = cache.open(0)
    store.waits_for_buckets = False
    return store


@pytest.fixture
def stopped(cache: Cache) -> Handle:
    """The process that holds the bucket."""
    return cache.open(1)


OPERATIONS: dict[str, Operation] = {
    "get": lambda store: store.look(b"k"),
    "set": lambda store: store.put(b"k", b"new").outcome,
    "set large": lambda store: store.put(b"k", b"n" * 600_000).outcome,
    "add": lambda store: store.put(b"k", b"new", mode=Mode.ADD).outcome,
    "replace": lambda store: store.put(b"k", b"new", mode=Mode.REPLACE).outcome,
    "append": lambda store: store.put(b"k", b"0", mode=Mode.APPEND).outcome,
    "cas": lambda store: store.put(b"k", b"new", cas_compare=1).outcome,
    "too large": lambda store: store.put(b"k", b"n" * (65 * MIB)).outcome,
    "delete": lambda store: store.delete(b"k"),
    "delete cas": lambda store: store.delete(b"k", cas_compare=1),
    "tombstone": lambda store: store.delete(b"k", clear_value=True),
    "stale": lambda store: store.delete(b"k", mark_stale=True),
    "incr": lambda store: store.arith(b"k", 1).outcome,
    "incr longer": lambda store: store.arith(b"k", 1000).outcome,
    "touch": lambda store: store.touch(b"k", 0),
    "touch with a new field": lambda store: store.touch(b"k", 1000),
    "forget": lambda store: store.forget(b"k"),
}
AFTERWARDS = {
    "set": Outcome.STORED,
    "set large": Outcome.STORED,
    "add": Outcome.NOT_STORED,
    "replace": Outcome.STORED,
    "append": Outcome.STORED,
    "cas": Outcome.EXISTS,
    "too large": Outcome.TOO_LARGE,
    "delete": Outcome.DELETED,
    "delete cas": Outcome.EXISTS,
    "tombstone": Outcome.DELETED,
    "stale": Outcome.DELETED,
    "incr": Outcome.STORED,
    "incr longer": Outcome.STORED,
    "touch": Outcome.TOUCHED,
    "touch with a new field": Outcome.TOUCHED,
    "forget": True,
}


def _traces(store: Handle) -> dict[str, int]:
    kept = {name: n for name, n in store.counters().items() if name not in OF_WAITING}
    for class_id in range(1, len(LADDER) + 1):
        for name, n in store.class_counters(class_id).items():
            kept[f"{class_id} {name}"] = n
    return kept


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_is_changed_or_counted(
    name: str, cache: Cache, store: Handle, stopped: Handle
) -> None:
    operation = OPERATIONS[name]
    for _ in range(3):
        store.put(b"k", b"7")
    before = _traces(store)
    stopped.hold(b"k")
    # Again and again, as a session does.
    for _ in range(3):
        assert operation(store) in (Outcome.BUSY, False)
    stopped.release(b"k")
    assert _traces(store) == before
    found = store.look(b"k")
    assert isinstance(found, Found) and found.value == b"7"
    if name != "get":
        assert operation(store) == AFTERWARDS[name]
    store.check()


@pytest.mark.parametrize("mode", [Mode.SET, Mode.APPEND])
def test_a_value_in_pieces_is_kept(mode: Mode, store: Handle, stopped: Handle) -> None:
    store.put(b"k", b"7")
    making = store.begin(b"k", 600_000, mode=mode)
    making.fill_all(b"v" * 600_000)
    stopped.hold(b"k")
    for _ in range(3):
        assert making.commit().outcome == Outcome.BUSY
    stopped.release(b"k")
    assert making.commit().outcome == Outcome.STORED
    is_equal = store.get(b"k") == (b"7" if mode == Mode.APPEND else b"") + b"v" * 600_000
    assert is_equal
    store.check()


def test_who_avoids_waiting_does_not_nap(store: Handle, stopped: Handle) -> None:
    store.put(b"k", b"7")
    stopped.hold(b"k")
    lib.proc_avoid_waiting(store.proc, True)
    assert store.look(b"k") == Outcome.BUSY
    assert store.put(b"k", b"8").outcome == Outcome.BUSY
    assert store.counters()["lock_longest_wait_us"] == 0
    lib.proc_avoid_waiting(store.proc, False)
    assert store.look(b"k") == Outcome.BUSY
    assert store.counters()["lock_longest_wait_us"] > 0
    stopped.release(b"k")
    assert store.get(b"k") == b"7"


def test_eviction_passes_by(cache: Cache, store: Handle, stopped: Handle) -> None:
    store.put(b"k", b"v" * 900)
    stopped.hold(b"k")
    stored = sum(store.put(b"%d" % n, b"x" * 900).outcome == Outcome.STORED for n in range(40_000))
    assert store.counters()["evictions"] > 10_000
    # Only what belongs into the held bucket itself was put off.
    assert stored > 36_000
    stopped.release(b"k")
    store.check()


def test_the_keepers_steps_pass_by(cache: Cache, store: Handle, stopped: Handle) -> None:
    for n in range(4000):
        store.put(b"%d" % n, b"x" * 900, expiry_seconds=10)
    store.put(b"k", b"x" * 900, expiry_seconds=10)
    stopped.hold(b"k")
    store.set_now(20)
    class_id = store.class_for(950)
    reclaimed = store.crawl()
    assert 3900 < reclaimed < 4001
    move = store.move_begin(class_id, 0)
    while move is not None and not store.move_step(move) and move.passes < 3:
        pass
    if move is not None and move.page:
        store.move_cancel(move)
    stopped.release(b"k")
    assert store.crawl() + reclaimed >= 4000
    store.check()


def test_buckets_split_later(cache: Cache, store: Handle, stopped: Handle) -> None:
    store.put(b"k", b"7")
    stopped.hold(b"k")
    stored = [n for n in range(3000) if store.put(b"%d" % n, b"x").outcome == Outcome.STORED]
    before = store.index().buckets
    stopped.release(b"k")
    for n in range(3000, 6000):
        store.put(b"%d" % n, b"x")
    assert store.index().buckets > before
    assert all(store.get(b"%d" % n) == b"x" for n in stored)
    store.check()
