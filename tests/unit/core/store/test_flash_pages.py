"""What becomes of items when their page on flash is compacted, dropped, damaged, not written."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.flash_keeper import TINY_LOG, FlashKeeper


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FlashKeeper]:
    with FlashKeeper(tmp_path, now=100) as made:
        yield made
        made.check()


def _put(tier: FlashKeeper, count: int, value_bytes: int = 100, expiry: int = 0) -> list[bytes]:
    keys = [b"k%d" % number for number in range(count)]
    for key in keys:
        value = (key + b"-") * (value_bytes // 4)
        tier.send(b"set %s 1 %d %d\r\n%s\r\n" % (key, expiry, len(value), value))
    return keys


def _read(tier: FlashKeeper, keys: list[bytes]) -> int:
    """How many of the keys are there; their values must be theirs."""
    hits = 0
    for key in keys:
        got = tier.send(b"get %s\r\n" % key)
        hits += got.startswith(b"VALUE %s 1 " % key) and key + b"-" + key in got
        assert got.endswith(b"END\r\n")
    return hits


def test_compaction_moves_what_is_wanted(tier: FlashKeeper) -> None:
    keys = _put(tier, 100)
    tier.exile()
    for key in keys[:30]:
        tier.send(b"delete %s\r\n" % key)
    page = tier.in_use()[0]
    done = tier.compact(page)
    assert (done.rescued, done.dropped, done.dead) == (70, 0, 0)
    assert tier.sweep() == 0
    assert tier.pages()[page].state == lib.FLASH_PAGE_FREE
    assert _read(tier, keys[:30]) == 0 and _read(tier, keys[30:]) == 70


def test_compaction_drops_what_nobody_read(tier: FlashKeeper) -> None:
    keys = _put(tier, 50)
    tier.exile()
    assert _read(tier, keys[:20]) == 20
    done = tier.compact(tier.in_use()[0], read_only=True)
    assert (done.rescued, done.dropped) == (20, 30)
    assert _read(tier, keys[:20]) == 20 and _read(tier, keys[20:]) == 0
    # What was rescued begins unread.
    assert _read(tier, keys[:5]) == 5
    done = tier.compact(tier.in_use()[0], read_only=True)
    assert done.rescued == 20


def test_compaction_removes_the_dead(tier: FlashKeeper) -> None:
    _put(tier, 20, expiry=10)
    tier.exile()
    keys = [b"l%d" % number for number in range(10)]
    for key in keys:
        tier.send(b"set %s 1 0 5\r\n%s-%s\r\n" % (key, key, key))
    tier.exile()
    tier.set_now(200)
    done = tier.compact(tier.in_use()[0])
    assert (done.rescued, done.dead) == (10, 20)
    tier.send(b"flush_all\r\n")
    assert tier.compact(tier.in_use()[0]).dead == 10
    assert tier.entries() == 0


def test_what_is_rescued_may_change_before_it_is_written(tier: FlashKeeper) -> None:
    keys = _put(tier, 10)
    tier.exile()
    page = tier.in_use()[0]
    assert tier.compact(page).rescued == 10
    # What was rescued waits to be written; and the page it was in may be used again.
    tier.sweep()
    changed = tier.send(b"set k1 7 0 1\r\nx\r\nappend k2 0 0 1\r\ny\r\ndelete k3\r\n")
    assert changed == b"STORED\r\nSTORED\r\nDELETED\r\n"
    assert tier.commit() == 0
    assert tier.send(b"get k1 k3\r\n") == b"VALUE k1 7 1\r\nx\r\nEND\r\n"
    assert tier.send(b"get k2\r\n").endswith(b"-y\r\nEND\r\n")
    assert _read(tier, [key for key in keys if key not in (b"k1", b"k3")]) == 8


def test_an_item_whose_copy_was_dropped_is_written_again(tier: FlashKeeper) -> None:
    keys = _put(tier, 40)
    assert tier.write_out() == 40
    tier.drop_page(tier.in_use()[0])
    assert tier.entries() == 0 and _read(tier, keys) == 40
    assert tier.write_out() == 40
    assert tier.counters()["items_with_copy"] % (1 << 64) == 40
    assert tier.drop_memory_copies() == 40 and _read(tier, keys) == 40


def test_a_dropped_page_takes_its_items_along(tier: FlashKeeper) -> None:
    keys = _put(tier, 40)
    tier.exile()
    tier.drain(tier.in_use()[0])
    # They cannot be read from now on, whether their entries were swept or not.
    assert _read(tier, keys[:10]) == 0
    assert tier.entries() == 30
    assert tier.sweep() == 30
    assert _read(tier, keys) == 0


def test_the_log_wraps(tier: FlashKeeper) -> None:
    for turn in range(20):
        keys = [b"t%d-%d" % (turn, number) for number in range(20)]
        for key in keys:
            tier.send(b"set %s 1 0 1000\r\n%s\r\n" % (key, ((key + b"-") * 200)[:1000]))
        tier.exile()
        assert _read(tier, keys) == 20
    assert tier.counters()["ext_page_allocs"] > TINY_LOG.pages
    assert tier.entries() < 400


def test_a_full_index_leaves_items_in_memory(tmp_path: Path) -> None:
    log = replace(TINY_LOG, index_bytes_max=8192)
    with FlashKeeper(tmp_path, log, now=100) as tier:
        keys = _put(tier, 3000, value_bytes=8)
        added = tier.write_out()
        assert 0 < added < 3000
        assert tier.counters()["ext_rejected_index"] == 3000 - added
        assert tier.drop_memory_copies() == tier.entries() == added
        assert _read(tier, keys) == 3000
        # When there is room again they go.
        for key in keys[:2500]:
            tier.send(b"delete %s\r\n" % key)
        assert tier.write_out() > 0
        tier.check()


@pytest.mark.debug
def test_a_failed_write_leaves_items_in_memory(tier: FlashKeeper) -> None:
    keys = _put(tier, 30)
    tier.flash_fault(lib.FLASH_FAULT_EIO, on_writes=True, count=1)
    assert tier.write_out() == 0
    # Their marks are without entries, which costs one more write and no item.
    assert tier.entries() == 0 and _read(tier, keys) == 30
    counted = tier.counters()
    assert (counted["ext_write_errors"], counted["ext_write_lost"]) == (1, 30)
    assert counted["ext_compact_lost"] == 0
    tier.flash_fault(lib.FLASH_FAULT_NONE)
    assert tier.exile() == 30 and _read(tier, keys) == 30


@pytest.mark.debug
def test_a_failed_rescue_loses_what_it_would_have_moved(tier: FlashKeeper) -> None:
    keys = _put(tier, 30)
    tier.exile()
    tier.flash_fault(lib.FLASH_FAULT_EIO, on_writes=True, count=1)
    assert tier.compact(tier.in_use()[0]).rescued == 30
    assert _read(tier, keys) == 30
    assert tier.commit() == 30
    tier.flash_fault(lib.FLASH_FAULT_NONE)
    counted = tier.counters()
    assert (counted["ext_compact_lost"], counted["ext_write_lost"]) == (30, 0)
    assert _read(tier, keys) == 0
    tier.sweep()
    assert tier.entries() == 0


@pytest.mark.debug
@pytest.mark.parametrize("kind", [lib.FLASH_FAULT_EIO, lib.FLASH_FAULT_FLIP, lib.FLASH_FAULT_SHORT])
def test_what_cannot_be_read_is_a_miss(tier: FlashKeeper, kind: int) -> None:
    keys = _put(tier, 12)
    tier.exile()
    tier.flash_fault(kind, on_reads=True, count=3)
    assert _read(tier, keys[:3]) == 0
    tier.flash_fault(lib.FLASH_FAULT_NONE)
    # It is gone, and nothing else is.
    assert tier.entries() == 9
    assert _read(tier, keys) == 9
    counted = tier.counters()
    name = "badcrc_from_extstore" if kind == lib.FLASH_FAULT_FLIP else "miss_from_extstore"
    assert counted[name] == 3 and counted["get_misses"] == 6


@pytest.mark.debug
def test_what_the_system_refuses_to_read_stays(tier: FlashKeeper) -> None:
    keys = _put(tier, 4)
    tier.exile()
    tier.flash_fault(lib.FLASH_FAULT_AGAIN, on_reads=True)
    assert tier.send(b"get k0\r\n") == b"SERVER_ERROR out of memory writing get response\r\n"
    assert tier.send(b"mg k1 v\r\n") == b"EN\r\n"
    assert tier.send(b"append k2 0 0 1\r\nx\r\n").startswith(b"SERVER_ERROR ")
    assert tier.send(b"delete k3\r\n").startswith(b"SERVER_ERROR ")
    counted = tier.counters()
    assert (counted["get_oom_extstore"], counted["miss_from_extstore"]) == (2, 0)
    # The other two are refused stores, with their reason.
    assert (counted["store_no_memory"], counted["oom_process_memory"]) == (2, 2)
    # The one that said it was missing counts as such.
    assert (counted["cmd_get"], counted["get_misses"]) == (2, 1)
    tier.flash_fault(lib.FLASH_FAULT_NONE)
    assert tier.entries() == 4
    assert _read(tier, keys) == 4


@pytest.mark.debug
def test_a_change_of_what_cannot_be_read(tier: FlashKeeper) -> None:
    _put(tier, 4)
    tier.exile()
    tier.flash_fault(lib.FLASH_FAULT_FLIP, on_reads=True)
    assert tier.send(b"append k0 0 0 1\r\nx\r\n") == b"NOT_STORED\r\n"
    assert tier.send(b"touch k1 0\r\n") == b"NOT_FOUND\r\n"
    assert tier.send(b"add k2 1 0 1\r\nx\r\n") == b"STORED\r\n"
    assert tier.send(b"set k3 1 0 1\r\nx\r\n") == b"STORED\r\n"
    assert tier.entries() == 0


@pytest.mark.parametrize("kind", [lib.STORE_DUMP_META, lib.STORE_DUMP_MG])
def test_dumps_show_what_is_on_flash_only(tier: FlashKeeper, kind: int) -> None:
    _put(tier, 20, expiry=500)
    _put(tier, 10, value_bytes=6000)
    tier.send(b"ms AAEC/w== 3 b F2\r\nabc\r\nset gone 0 5 1\r\nx\r\n")
    tier.send(b"get k1 k15\r\n")
    tier.write_out()
    before = sorted(tier.memory_dump(kind).splitlines())
    assert len(before) == 22
    # What is in memory as well is in the other dump.
    assert tier.dump(kind) == b""
    tier.drop_memory_copies()
    assert sorted(tier.dump(kind).splitlines()) == before
    # One that came back with a change, one that is gone and one that is dead.
    tier.send(b"touch k3 400\r\ndelete k4\r\n")
    tier.set_now(106)
    names = (b"key=k3 ", b"key=k4 ", b"key=gone ", b"mg k3", b"mg k4", b"mg gone")
    left = [line for line in before if not (line + b" ").startswith(names)]
    assert len(left) == 19 and sorted(tier.dump(kind).splitlines()) == left


def test_when_a_page_is_dead(tier: FlashKeeper) -> None:
    def is_dead(page: int) -> bool:
        return bool(lib.tier_page_is_dead(tier.keeper.store, page))

    def page_of(sent: bytes) -> int:
        tier.send(sent)
        tier.exile()
        page = tier.in_use()[-1]
        lib.flash_page_close(tier.flash, tier.keeper.proc, page)
        return page

    expiring = page_of(b"set a 0 10 1\r\nx\r\nset b 0 20 1\r\nx\r\n")
    forever = page_of(b"set c 0 10 1\r\nx\r\nset d 0 0 1\r\nx\r\n")
    own_number = page_of(b"ms e 1 E9999999\r\nx\r\n")
    assert not any(map(is_dead, (expiring, forever, own_number)))
    tier.set_now(119)
    assert not is_dead(expiring)
    tier.set_now(120)
    assert is_dead(expiring) and not is_dead(forever)
    tier.send(b"flush_all\r\n")
    assert is_dead(forever) and is_dead(own_number)
    tier.cache.set_live("cas_enabled", 0)
    plain = page_of(b"set f 0 0 1\r\nx\r\n")
    assert not is_dead(plain)
    tier.set_now(130)
    tier.send(b"flush_all 2\r\n")
    tier.set_now(140)
    assert is_dead(plain)


def test_entries_of_the_flushed_do_not_count(tier: FlashKeeper) -> None:
    def live_entries() -> int:
        flash = tier.flash
        return int(lib.flash_index_entries(flash) - lib.flash_flushed_entries(flash))

    def live_copies() -> int:
        counters = tier.keeper.counters()
        return counters["items_with_copy"] - counters["flushed_with_copy"]

    for sent, count in ((b"set %d 0 0 1\r\nx\r\n", 10), (b"ms own%d 1 E77\r\nx\r\n", 4)):
        for number in range(count):
            tier.send(sent % number)
    tier.exile()
    assert (live_entries(), live_copies()) == (14, 0)
    tier.send(b"set hot 0 0 1\r\nx\r\n")
    tier.fill()
    tier.commit()
    assert (live_entries(), live_copies()) == (15, 1)
    tier.send(b"flush_all\r\n")
    assert (live_entries(), live_copies()) == (0, 0)
    # What comes now goes to another page than what is flushed.
    for number in range(3):
        tier.send(b"set new%d 0 0 1\r\nx\r\n" % number)
    tier.exile()
    assert (live_entries(), live_copies()) == (3, 0)
    tier.send(b"set hot 0 0 1\r\ny\r\n")
    tier.send(b"get 1\r\n")
    assert (live_entries(), live_copies()) == (3, 0)
    tier.send(b"delete new1\r\n")
    assert (live_entries(), live_copies()) == (2, 0)


def test_what_is_flushed_on_its_way_to_flash_is_gone(tier: FlashKeeper) -> None:
    tier.send(b"set a 0 0 1\r\nx\r\n")
    tier.fill()
    tier.send(b"flush_all\r\n")
    # What a page holds of it is counted as flushed, written or not.
    for _ in range(2):
        entries = lib.flash_index_entries(tier.flash)
        assert entries - lib.flash_flushed_entries(tier.flash) == 0
        assert tier.send(b"mg a\r\n") == b"EN\r\n"
        tier.commit()
    assert tier.fill() == 0 and tier.drop_memory_copies() == 0


# What `flush_all` compares is the number that the cache gave, never one that clients see.
@pytest.mark.parametrize("has_cas", [0, 1])
@pytest.mark.parametrize("number", [1, 2**47, 2**48 - 1, 2**64 - 1])
@pytest.mark.parametrize("is_moved", [False, True])
def test_a_flushed_page_is_dead_whatever_numbers_clients_gave(
    tier: FlashKeeper, has_cas: int, number: int, is_moved: bool
) -> None:
    tier.set_live("cas_enabled", has_cas)
    _put(tier, 20)
    assert tier.send(b"ms own 5 E%d\r\nhello\r\n" % number) == b"HD\r\n"
    tier.exile()
    shown = number if has_cas else 0
    assert tier.send(b"mg own c v\r\n") == b"VA 5 c%d\r\nhello\r\n" % shown
    if is_moved:
        assert tier.compact(tier.in_use()[0]).rescued == 21
        tier.sweep()
    page = tier.in_use()[-1]
    lib.flash_page_close(tier.flash, tier.keeper.proc, page)
    assert tier.pages()[page].newest_order < 1000
    assert not lib.tier_page_is_dead(tier.keeper.store, page)
    tier.send(b"flush_all\r\n")
    assert lib.tier_page_is_dead(tier.keeper.store, page)
    assert lib.flash_flushed_entries(tier.flash) == 21
