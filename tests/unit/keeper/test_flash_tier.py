"""The keeper's flash jobs on a store without processes: written out, read back, reclaimed."""

from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from pymc.core.flash import FaultKind, PageState
from pymc.core.store import Store
from pymc.keeper.keeper import Keeper
from pymc.stats.flash import items_on_flash_only, path_state
from tests.support.inprocess import InProcess
from tests.support.keeper_tier import VALUE_BYTES, fill, tier, turn, until


def store_numbered(store: Store, key: bytes, value: bytes, cas: int) -> None:
    """Stores a value with a CAS number of the client's own."""
    name = ffi.from_buffer("char[]", key)
    wants = {"key": name, "key_bytes": len(key), "value_bytes": len(value)}
    more = {"mode": lib.STORE_SET, "has_cas_new": True, "cas_new": cas}
    write = ffi.new("struct store_write *", wants | more)
    result = ffi.new("struct store_result *")
    place = ffi.from_buffer("char[]", value)
    assert lib.store_put(store.pointer, write, place, result) == lib.STORE_STORED


def test_nothing_is_written_while_memory_is_left(tmp_path: Path) -> None:
    with tier(tmp_path) as (server, keeper):
        server.fill("k", 1000, VALUE_BYTES)
        for _ in range(10):
            turn(keeper)
        assert server.store.counters()["ext_admitted"] == 0


def test_what_memory_gives_up_is_on_flash(tmp_path: Path) -> None:
    with tier(tmp_path) as (server, keeper):
        fill(server, keeper, 9000)
        flash = server.context.flash
        assert flash is not None
        until(keeper, lambda: flash.index_entries > 500, "items are on flash")
        counters = server.store.counters()
        assert counters["ext_clean_evictions"] > 0
        assert counters["ext_objects_written"] >= flash.index_entries
        assert counters["items"] <= 9000


def test_a_small_log_turns_over(tmp_path: Path) -> None:
    with tier(tmp_path, more=",ext_compress=0") as (server, keeper):
        flash = server.context.flash
        assert flash is not None
        for number in range(6):
            fill(server, keeper, 5000, f"{number}.")
        until(
            keeper,
            lambda: server.store.counters()["ext_page_reclaims"] > 8,
            "pages were used again",
        )
        assert any(page.state is not PageState.FREE for page in flash.pages())
        assert sum(page.objects for page in flash.pages()) == flash.index_entries


def test_age_writes_out_while_memory_is_left(tmp_path: Path) -> None:
    with tier(tmp_path, more=",ext_item_age=30") as (server, keeper):
        fill(server, keeper, 500)
        arena = server.context.arena
        assert server.store.counters()["ext_admitted"] == 0
        arena.shift_clock(60)
        flash = server.context.flash
        assert flash is not None
        until(keeper, lambda: flash.index_entries > 300, "old items are on flash")


def store_and_grow_old(server: InProcess, keeper: Keeper) -> None:
    fill(server, keeper, 2000)
    server.context.arena.shift_clock(60)
    flash = server.context.flash
    assert flash is not None
    until(keeper, lambda: flash.index_entries == 2000, "all are on flash")


def test_idle_items_leave_memory_when_an_age_is_given(tmp_path: Path) -> None:
    with tier(tmp_path, more=",ext_item_age=2") as (server, keeper):
        server.context.arena.freeze_clock(100)
        store_and_grow_old(server, keeper)
        until(keeper, lambda: server.store.counters()["items"] == 0, "memory is empty")
        counters = server.store.counters()
        assert counters["evictions"] == counters["ext_unclean_evictions"] == 0
        flash = server.context.flash
        assert flash is not None and flash.index_entries == 2000
        assert items_on_flash_only(flash, counters) == 2000
        server.store.check()


def test_clean_copies_stay_until_an_age_is_given(tmp_path: Path) -> None:
    with tier(tmp_path, more=",ext_item_age=2") as (server, keeper):
        arena = server.context.arena
        arena.freeze_clock(100)
        server.store.set_now(100)
        fill(server, keeper, 500)
        assert server.ask("extstore item_age 100000") == b"OK\r\n"
        arena.shift_clock(60)
        for _ in range(10):
            turn(keeper)
        assert server.store.counters()["items"] == 500
        assert server.ask("extstore item_age 4294967295") == b"OK\r\n"
        for _ in range(10):
            turn(keeper)
        assert server.store.counters()["items"] == 500
        assert server.ask("extstore item_age 30") == b"OK\r\n"
        until(keeper, lambda: server.store.counters()["items"] == 0, "memory is empty")


# Under -C items have no number that clients see, and one that a client gave is not the cache's own.
@pytest.mark.parametrize(("flags", "number"), [([], 0), (["-C"], 0), ([], 2**47)])
def test_flushed_pages_become_free(tmp_path: Path, flags: list[str], number: int) -> None:
    with tier(tmp_path, more=",ext_compress=0", flags=flags) as (server, keeper):
        flash = server.context.flash
        assert flash is not None

        def states() -> set[PageState]:
            return {page.state for page in flash.pages()}

        for first in range(0, 14000, 1000):
            fill(server, keeper, 1000, f"{first}.")
            if number:
                store_numbered(server.store, f"own{first}".encode(), b"x" * VALUE_BYTES, number)
        until(keeper, lambda: PageState.FULL in states(), "a page is full")
        server.context.arena.shift_clock(10)
        server.store.set_now(server.context.arena.seconds())
        server.store.flush_all()
        until(keeper, lambda: PageState.FULL not in states(), "no full page is left")

        def pages_with_entries() -> set[int]:
            return {number for number, page in enumerate(flash.pages()) if page.objects}

        assert keeper._tier is not None
        writer = keeper._tier._writer
        # What stands in a buffer that is not full yet goes with its page, when that is.
        until(keeper, lambda: pages_with_entries() <= writer.pages(), "entries are gone")


def test_the_index_shrinks_after_a_flush(tmp_path: Path) -> None:
    with tier(tmp_path, more=",ext_item_size=100,ext_compress=0") as (server, keeper):
        flash = server.context.flash
        assert flash is not None
        start = flash.index_bytes
        for first in range(0, 200_000, 1000):
            server.fill(f"{first}.", 1000, 200)
            turn(keeper)
        assert flash.index_bytes > start * 2
        server.context.arena.shift_clock(10)
        server.store.set_now(server.context.arena.seconds())
        server.store.flush_all()

        def has_shrunk() -> bool:
            keeper._due["shrink"] = 0.0
            return flash.index_bytes == start

        until(keeper, has_shrunk, "the index is as small as at the start")
        server.store.check()


@pytest.mark.debug
def test_a_path_that_fails_is_taken_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tier(tmp_path, more=f",ext_compress=0,ext_path={tmp_path}/other:16m") as (server, keeper):
        flash = server.context.flash
        assert flash is not None
        flash.set_fault(FaultKind.EIO, on_writes=True, path=0)
        for number in range(12):
            fill(server, keeper, 3000, f"{number}.")
            if flash.path(0).is_out:
                break
        assert flash.path(0).is_out and not flash.path(1).is_out
        before = flash.path(0).write_errors
        fill(server, keeper, 10000, "after")
        until(keeper, lambda: flash.index_entries > 500, "the other path is used")
        assert flash.path(0).write_errors == before
        assert not [page for page in flash.pages() if page.path == 0 and page.objects]
        said = capfd.readouterr().err
        assert f"pymc: flash: {tmp_path}/flash: " in said
        assert "taken out of service: several writes in a row failed\n" in said


@pytest.mark.debug
def test_without_any_path_the_cache_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with tier(tmp_path, more=",ext_compress=0") as (server, keeper):
        flash = server.context.flash
        assert flash is not None
        fill(server, keeper, 14000)
        until(keeper, lambda: flash.index_entries > 500, "items are on flash")
        flash.set_fault(FaultKind.EIO, on_writes=True)
        for number in range(12):
            fill(server, keeper, 3000, f"{number}.")
            if flash.path(0).is_out:
                break
        until(keeper, lambda: flash.index_entries == 0, "nothing is on flash")
        fill(server, keeper, 3000, "after")
        assert server.store.read(b"after2900.99") is not None
        assert capfd.readouterr().err.count("no path is left") == 1
        server.store.check()


@pytest.mark.debug
def test_a_slow_device_stops_nobody(tmp_path: Path) -> None:
    with tier(tmp_path, more=",ext_compress=0") as (server, keeper):
        flash = server.context.flash
        assert flash is not None
        assert keeper._tier is not None
        flash.set_fault(FaultKind.SLOW, on_writes=True, slow_us=500_000, count=1)
        number = 0
        while not keeper._tier._writer.under_way:
            fill(server, keeper, 1000, f"{number}.")
            number += 1
        turns = 0
        while keeper._tier._writer.under_way:
            turn(keeper)
            turns += 1
        # Had one of them waited for the device, there would be no more than two.
        assert turns > 10
        until(keeper, lambda: flash.index_entries > 50, "it was slow, not broken")


@pytest.mark.debug
def test_a_full_file_system_is_no_broken_path(tmp_path: Path) -> None:
    with tier(tmp_path, flash_mb=32, more=",ext_compress=0") as (server, keeper):
        flash = server.context.flash
        assert flash is not None and keeper._tier is not None
        now = 1000.0
        keeper._tier._health._clock = lambda: now
        fill(server, keeper, 12000)
        until(keeper, lambda: flash.index_entries > 1000, "items are on flash")
        flash.set_fault(FaultKind.ENOSPC, on_writes=True)
        number = 0
        while not flash.path(0).full_writes:
            fill(server, keeper, 500, f"{number}.")
            number += 1
        for _ in range(10):
            now += 6
            fill(server, keeper, 500, f"{number}.")
            number += 1
            assert path_state(flash.path(0)) == "full"
        assert not flash.path(0).is_out
        assert flash.path(0).write_errors == 0
        assert flash.index_entries > 1000
        # There is room again.
        flash.set_fault(FaultKind.NONE)
        before = server.store.counters()["ext_objects_written"]
        while server.store.counters()["ext_objects_written"] < before + 1000:
            now += 6
            fill(server, keeper, 500, f"after{now}.")
        while path_state(flash.path(0)) != "in":
            now += 6
            fill(server, keeper, 500, f"later{now}.")


@pytest.mark.debug
def test_a_late_path_gets_no_records(tmp_path: Path) -> None:
    with tier(tmp_path, more=f",ext_compress=0,ext_path={tmp_path}/other:16m") as (server, keeper):
        flash = server.context.flash
        assert flash is not None and keeper._tier is not None
        flash.set_late(0, is_late=True)
        # Not probed: no second passes.
        keeper._tier._health._clock = lambda: 1000.0
        fill(server, keeper, 12000)
        until(keeper, lambda: flash.index_entries > 1000, "items are on flash")
        assert {page.path for page in flash.pages() if page.objects_written} == {1}
        assert path_state(flash.path(0)) == "late"
