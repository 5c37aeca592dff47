"""The ledger of the arena: rows, touched memory as the kernel counts it, memory without a file."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from pymc.core.arena import Arena
from pymc.core.errors import InvalidArgumentError
from pymc.core.ffi import ffi, lib
from pymc.core.ledger import FRESH_SECONDS, HUGE_PAGE_BYTES, Ledger
from pymc.core.store import Geometry, format_store, store_reserve_bytes

MIB = 1 << 20
PAGE_BYTES = 4096


@contextmanager
def store_arena(limit_bytes: int = 64 * MIB) -> Iterator[Arena]:
    """An arena with a store in it, and room behind it."""
    geometry = Geometry(limit_bytes, limit_bytes, (48, 256, 4096, 65536, 524288), 64)
    with Arena.create(store_reserve_bytes(geometry, 3) + MIB, 3) as arena:
        format_store(arena, geometry)
        yield arena


def clock() -> float:
    return 0.0


def offset_of(arena: Arena, label: str) -> int:
    return next(offset for name, offset, _ in arena.ledger.rows() if name == label)


def touched(arena: Arena, offset: int, size: int, look_bytes: int = 1 << 30) -> tuple[int, bool]:
    is_estimate = ffi.new("bool *")
    found = lib.arena_touched_bytes(arena.pointer, offset, size, look_bytes, is_estimate)
    return int(found), bool(is_estimate[0])


def test_rows_lie_one_behind_the_other() -> None:
    with store_arena() as arena:
        rows = arena.ledger.rows()
        wanted = "header slots store_local index_buckets index_overflow index_local rings"
        wanted += " slab_tables slab_local slab_pages"
        assert set(wanted.split()) <= {label for label, _, _ in rows}
        assert rows[0][1] == 0
        for (_, offset, size), (_, following, _) in pairwise(rows):
            assert size > 0
            assert 0 <= following - (offset + size) < HUGE_PAGE_BYTES
        # A room that has two rows is one in the sum.
        labels = [room.label for room in arena.ledger.measure(clock).rooms]
        assert len(labels) == len(set(labels))
        assert arena.ledger.measure(clock).reserved_bytes == sum(row[2] for row in rows)


def test_areas_for_huge_pages_are_aligned() -> None:
    with store_arena() as arena:
        start, end = arena.address_range
        assert start % HUGE_PAGE_BYTES == 0
        assert end > start
        for label in ("index_buckets", "slab_pages"):
            assert offset_of(arena, label) % HUGE_PAGE_BYTES == 0


def test_touched_memory_is_what_the_kernel_counts() -> None:
    with store_arena() as arena:
        before = arena.ledger.measure(clock)
        assert before.touched_bytes == before.file_bytes > 0
        assert before.touched("slab_pages") == 0
        offset = offset_of(arena, "slab_pages")
        arena.take(offset + MIB, 3 * MIB)
        arena.take(offset + 10 * MIB, PAGE_BYTES)
        after = arena.ledger.measure(lambda: FRESH_SECONDS)
        assert after.touched("slab_pages") == 3 * MIB + PAGE_BYTES
        assert after.touched_bytes == after.file_bytes
        assert after.estimated_rooms == 0
        assert after.touched("no such room") == 0


def test_a_page_of_two_rows_counts_once() -> None:
    with store_arena() as arena:
        offset = offset_of(arena, "slab_pages")
        arena.take(offset, 4 * PAGE_BYTES)
        middle = offset + PAGE_BYTES + 100
        # The page belongs to whom it begins with.
        assert touched(arena, offset, PAGE_BYTES + 100) == (2 * PAGE_BYTES, False)
        assert touched(arena, middle, 100) == (0, False)
        assert touched(arena, middle, PAGE_BYTES) == (PAGE_BYTES, False)


def test_what_is_given_back_is_not_touched_any_more() -> None:
    with store_arena() as arena:
        offset = offset_of(arena, "slab_pages")
        arena.take(offset, 2 * MIB)
        assert arena.ledger.measure(clock).touched("slab_pages") == 2 * MIB
        assert touched(arena, offset, 1 << 40) == (0, False)
        with pytest.raises(InvalidArgumentError):
            arena.take(offset, 1 << 40)


def test_large_rooms_are_judged_by_samples() -> None:
    with Arena.create(512 * MIB, 2) as arena:
        start = 100 * MIB
        arena.take(start, 64 * MIB)
        assert touched(arena, start, 64 * MIB) == (64 * MIB, False)
        found, is_estimate = touched(arena, start, 64 * MIB, look_bytes=MIB)
        assert is_estimate
        assert abs(found - 64 * MIB) <= 64 * MIB // 100
        # What lies behind is half empty.
        found, is_estimate = touched(arena, start, 128 * MIB, look_bytes=MIB)
        assert is_estimate
        assert abs(found - 64 * MIB) <= 2 * MIB
        # Holes before it cost nothing and are no reason to guess.
        assert touched(arena, 50 * MIB, 50 * MIB + PAGE_BYTES, look_bytes=MIB)[1] is False


def test_one_room_alone_has_what_the_others_leave() -> None:
    with store_arena() as arena:
        ledger = Ledger(arena.pointer, look_bytes=MIB)
        offset = offset_of(arena, "slab_pages")
        # Unevenly, so that samples would not find the sum.
        arena.take(offset, 20 * MIB)
        arena.take(offset + 30 * MIB, 5 * PAGE_BYTES)
        assert touched(arena, offset, 60 * MIB, look_bytes=MIB)[1]
        measured = ledger.measure(clock)
        assert measured.touched("slab_pages") == 20 * MIB + 5 * PAGE_BYTES
        assert measured.estimated_rooms == 0
        assert measured.touched_bytes == measured.file_bytes


def test_two_large_rooms_stay_estimates() -> None:
    with store_arena(512 * MIB) as arena:
        ledger = Ledger(arena.pointer, look_bytes=PAGE_BYTES)
        for label in ("slab_pages", "index_buckets"):
            arena.take(offset_of(arena, label), 24 * MIB)
        measured = ledger.measure(clock)
        assert measured.estimated_rooms == 2
        assert abs(measured.touched_bytes - measured.file_bytes) < measured.file_bytes // 10


def test_measuring_is_done_once_a_second() -> None:
    with store_arena() as arena:
        now = [5.0]
        first = arena.ledger.measure(lambda: now[0])
        arena.take(offset_of(arena, "slab_pages"), MIB)
        now[0] += FRESH_SECONDS - 0.01
        assert arena.ledger.measure(lambda: now[0]) is first
        now[0] += 0.02
        second = arena.ledger.measure(lambda: now[0])
        assert second.touched("slab_pages") == MIB
        # A clock that went back does not keep a measurement for ever.
        now[0] -= 100
        assert arena.ledger.measure(lambda: now[0]) is not second


@contextmanager
def limited(kind: int, most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def test_a_limit_on_files_is_none_on_memory() -> None:
    with limited(resource.RLIMIT_FSIZE, MIB):
        arena = Arena.create(256 * MIB, 2)
    with arena:
        assert arena.address_range[0] % HUGE_PAGE_BYTES == 0
        arena.take(100 * MIB, 3 * MIB)
        # There is no file to be asked; pages are seen all the same.
        assert lib.arena_file_bytes(arena.pointer) == 0
        assert touched(arena, 100 * MIB, 10 * MIB) == (3 * MIB, False)
        assert touched(arena, 0, 50 * MIB)[0] <= MIB


def test_memory_is_taken_slice_by_slice() -> None:
    with Arena.create(256 * MIB, 2) as arena:
        most = lib.ARENA_SLICE_BYTES_MAX
        assert lib.arena_take_slice(arena.pointer, 64 * MIB, most + 8 * MIB) == lib.PYMC_OK
        assert touched(arena, 64 * MIB, most + 8 * MIB) == (most, False)
        arena.take(64 * MIB, most + 8 * MIB)
        assert touched(arena, 64 * MIB, most + 8 * MIB) == (most + 8 * MIB, False)
        # Less than a page is left alone.
        assert lib.arena_take_slice(arena.pointer, 200 * MIB + 1, PAGE_BYTES) == lib.PYMC_OK
        assert touched(arena, 200 * MIB, MIB) == (0, False)
