"""Writers that die within a record while somebody watches: it is passed over, the others come."""

import pytest

from pymc.core.ffi import lib
from tests.support.children import run_child
from tests.support.core.watch_rig import Reader, WatchedCache, note
from tests.support.sites import all_sites, arm

pytestmark = pytest.mark.debug

BEFORE = [b"before %d" % i for i in range(5)]


def _dies_at(cache: WatchedCache, site: str) -> None:
    writer = cache.open(1)
    for text in BEFORE:
        note(writer, text)
    arm(site)
    for i in range(100):
        # One of them goes round the ring's end.
        note(writer, b"last %d" % i)


def test_a_record_that_nobody_finished() -> None:
    sites = [site.name for site in all_sites() if site.name.startswith("watch/watch_write.c")]
    assert len(sites) > 5
    for site in sites:
        _check_unfinished(site)


def _check_unfinished(site: str) -> None:
    with WatchedCache(1 << 14) as cache:
        handle = cache.open()
        reader = Reader(handle, lib.WATCH_SYSEVENTS)
        predecessor = cache.open(1)
        for _ in range(203):
            note(predecessor, b"the first ones")
        reader.lines()
        predecessor.close()
        assert run_child(lambda: _dies_at(cache, site)).was_killed
        told = reader.lines()
        # Also while nobody has repaired anything.
        note(handle, b"other")
        told += [line for _ in range(60) for line in reader.lines()]
        assert handle.reclaim_slot(1)
        successor = cache.open(1)
        note(successor, b"after")
        told += reader.lines()
        skipped = [line for line in told if line.startswith(b"skipped=")]
        told = [line for line in told if line not in skipped]
        last = [line for line in told if line.startswith(b"last ")]
        assert told == [*BEFORE, *last, b"other", b"after"]
        assert last == [b"last %d" % i for i in range(len(last))]
        assert skipped in ([], [b"skipped=1"])
        reader.close()


def test_a_watcher_that_died_is_no_watcher() -> None:
    with WatchedCache() as cache:
        handle = cache.open()

        def dies() -> None:
            watching = cache.open(1)
            assert Reader(watching, lib.WATCH_SYSEVENTS).status == 0
            lib.proc_arm_fault(watching.proc, b"store.put.taken", 1)
            watching.put(b"k", b"v")

        assert run_child(dies).was_killed
        assert lib.watch_wanted(cache.arena) == lib.WATCH_SYSEVENTS
        assert handle.reclaim_slot(1)
        assert lib.watch_wanted(cache.arena) == 0
        readers = [Reader(handle, lib.WATCH_SYSEVENTS) for _ in range(lib.WATCH_READERS_MAX)]
        assert all(reader.status == 0 for reader in readers)
        for reader in readers:
            reader.close()
