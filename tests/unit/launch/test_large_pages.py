"""-L: what is taken, what is measured, what is said. Huge pages need a kernel that collapses."""

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from pymc.core.arena import Arena, LargePages
from pymc.core.ledger import HUGE_PAGE_BYTES
from pymc.launch import large_pages
from pymc.launch.large_pages import INDEX_SHARE, huge_bytes, shortage, take_large_pages
from tests.support.inprocess import in_process

MIB = 1 << 20
MADV_POPULATE_WRITE, MADV_COLLAPSE, MAP_FIXED = 23, 25, 0x10


def kernel_collapses() -> bool:
    """True when the kernel makes a huge page of shared memory; tried without the arena's code."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    room = mmap.mmap(-1, 2 * HUGE_PAGE_BYTES)
    anchor = ctypes.c_char.from_buffer(room)
    start = -(-ctypes.addressof(anchor) // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
    fd = os.memfd_create("probe")
    os.ftruncate(fd, HUGE_PAGE_BYTES)
    flags = mmap.MAP_SHARED | MAP_FIXED
    libc.mmap(start, HUGE_PAGE_BYTES, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0)
    os.close(fd)
    place, size = ctypes.c_void_p(start), ctypes.c_size_t(HUGE_PAGE_BYTES)
    taken = libc.madvise(place, size, MADV_POPULATE_WRITE) == 0
    collapsed = taken and libc.madvise(place, size, MADV_COLLAPSE) == 0
    del anchor
    room.close()
    return bool(collapsed)


def test_huge_pages_are_got_and_measured() -> None:
    if not kernel_collapses():
        pytest.skip("this kernel makes no huge pages of shared memory")
    with in_process(["-L", "-m", "64"]) as server:
        arena = server.context.arena
        got = arena.large_pages
        assert got.kind in ("hugetlb", "collapsed", "thp")
        assert got.asked_bytes == 64 * MIB
        # A machine whose memory is in pieces may have less, but hardly any memory is that much so.
        assert got.got_bytes >= 48 * MIB
        server.fill("k", 2000, 1000)
        assert server.store.read(b"k1999") == b"x" * 1000


def test_memory_is_taken_for_items_and_index() -> None:
    with in_process(["-L", "-m", "64"]) as server:
        arena = server.context.arena
        measured = arena.ledger.measure(lambda: 0.0)
        if not arena.is_hugetlb:
            index_bytes = 64 * MIB // INDEX_SHARE
            assert measured.touched("index_buckets") == index_bytes
            assert measured.touched("slab_pages") == 64 * MIB - index_bytes
        assert measured.touched_bytes >= 64 * MIB


def test_the_pools_pages_are_huge_without_being_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Arena, "is_hugetlb", True)
    monkeypatch.setattr(large_pages, "huge_bytes", lambda arena: 0)
    with in_process(["-m", "64"]) as server:
        got = take_large_pages(server.context.arena, 64 * MIB)
        assert got == LargePages("hugetlb", 64 * MIB, 64 * MIB)
        # What is taken now need not be taken when it is first used.
        assert server.context.arena.ledger.measure(lambda: 0.0).touched_bytes >= 64 * MIB


def test_huge_pages_of_another_mapping_are_not_counted() -> None:
    if not kernel_collapses():
        pytest.skip("this kernel makes no huge pages of shared memory")
    with Arena.create(256 * MIB, 2) as arena, Arena.create(256 * MIB, 2) as other:
        other.take(128 * MIB, 8 * MIB)
        assert arena.is_hugetlb or huge_bytes(other) > 0
        assert huge_bytes(arena) == 0


def test_small_pages_are_not_taken_for_huge_ones() -> None:
    with Arena.create(256 * MIB, 2) as arena:
        start = arena.address_range[0]
        assert huge_bytes(arena) == 0
        # Touched page by page and never collapsed.
        ctypes.memset(start + 128 * MIB, 0, 4 * MIB)
        if large_pages._kind(1) == "collapsed":
            assert huge_bytes(arena) == 0
        assert not arena.is_hugetlb


def test_nothing_huge_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "huge_bytes", lambda arena: 0)
    with in_process(["-m", "64"]) as server:
        got = take_large_pages(server.context.arena, 64 * MIB)
    assert got == LargePages("none", 64 * MIB, 0)
    assert shortage(got) == "warning: -L got 0 of 64 megabytes in huge pages (none)"


def test_all_that_was_asked_for_needs_no_word() -> None:
    assert shortage(LargePages("collapsed", 64 * MIB, 64 * MIB)) == ""
    assert shortage(LargePages()) == ""
    some = shortage(LargePages("collapsed", 64 * MIB, 62 * MIB))
    assert some == "warning: -L got 62 of 64 megabytes in huge pages (collapsed)"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("always within_size advise [never] deny force\n", "collapsed"),
        ("always within_size advise never [deny] force\n", "collapsed"),
        ("always within_size [advise] never deny force\n", "thp"),
        (None, "collapsed"),
    ],
)
def test_the_systems_setting_names_the_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, kind: str
) -> None:
    setting = tmp_path / "shmem_enabled"
    if text is not None:
        setting.write_text(text)
    monkeypatch.setattr(large_pages, "_SHMEM_SETTING", str(setting))
    monkeypatch.setattr(large_pages, "huge_bytes", lambda arena: 4 * MIB)
    with in_process(["-m", "8", "-I", "512k"]) as server:
        got = take_large_pages(server.context.arena, 8 * MIB)
    assert got == LargePages(kind, 8 * MIB, 4 * MIB)
