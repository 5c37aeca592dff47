"""Paths in the core: out and in again, late, full, probed; writes that outlive their process."""

import errno
import os
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_log import PAGE, WBUF, Buffer, Log, name_all

FREE, OPEN = lib.FLASH_PAGE_FREE, lib.FLASH_PAGE_OPEN
FULL, BAD = lib.FLASH_PAGE_FULL, lib.FLASH_PAGE_BAD
IMAGES = [b"%05d" % number + b"," * 995 for number in range(700)]


def paths_opened(log: Log) -> list[int]:
    """The paths of all pages that can be opened."""
    opened = []
    for path in range(2):
        while (page := log.open_page(path=path)) != lib.FLASH_PAGES_MAX:
            opened.append(log.page(page).path)
    return opened


def test_a_path_comes_back_with_empty_pages(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(3, 3)) as log:
        opened = log.open_page()
        path = log.page(opened).path
        lib.flash_path_take_out(log.flash, log.proc, path)
        assert log.page(opened).state == lib.FLASH_PAGE_DRAINING
        lib.flash_path_bring_in(log.flash, log.proc, path)
        assert not log.path(path).is_out
        assert [log.page(number).state for number in range(6)].count(FREE) == 5
        # What was draining is free like any other page when its entries are gone.
        lib.flash_page_free(log.flash, log.proc, opened)
        assert log.page(opened).state == FREE
        assert paths_opened(log) == [0, 0, 0, 1, 1, 1]


def test_a_late_path_is_not_written(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(3, 3)) as log:
        opened = [log.open_page(path=path) for path in range(2)]
        lib.flash_path_set_late(log.flash, 0, True)
        assert log.path(0).is_late
        lib.flash_path_close_pages(log.flash, log.proc, 0)
        lib.flash_path_close_pages(log.flash, log.proc, 1)
        wanted = [FULL if log.page(page).path == 0 else OPEN for page in opened]
        assert [log.page(page).state for page in opened] == wanted
        assert [log.page(page).is_writable for page in opened] == [
            state == OPEN for state in wanted
        ]
        assert paths_opened(log) == [1, 1]
        lib.flash_path_set_late(log.flash, 0, False)
        assert paths_opened(log) == [0, 0]


def test_blocks_are_set_aside_at_the_start(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(3,)) as log:
        assert log.path(0).is_allocated
        assert os.stat(log.names[0]).st_blocks * 512 >= 3 * PAGE
    with Log(tmp_path, pages=(3,), is_sparse=True) as log:
        assert not log.path(0).is_allocated
        assert os.stat(log.names[0]).st_blocks * 512 < PAGE
        assert os.stat(log.names[0]).st_size == 3 * PAGE


def test_what_has_no_room_is_refused_and_takes_nothing(tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    page_bytes = 256 * PAGE
    # More than there is by far, so that nothing depends on what others take or give back meanwhile.
    pages = 2 * room.f_bfree * room.f_frsize // page_bytes + 64
    log = Log(tmp_path, pages=(1, pages), page_bytes=page_bytes)
    log.close()
    assert (log.status, log.errno) == (lib.PYMC_OS_ERROR, errno.ENOSPC)
    assert log.failed_path == 1
    assert os.stat(log.names[1]).st_blocks == 0


@pytest.mark.debug
def test_a_full_file_system_gets_pages_that_have_blocks(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(4,), is_sparse=True) as log:
        # The first page is written to its end, the second one is begun.
        written = log.write_all(IMAGES * 2)
        assert log.states() == [FULL, OPEN, FREE, FREE]
        log.arm(lib.FLASH_FAULT_ENOSPC, on_writes=True, count=1)
        buffer = Buffer(log)
        assert buffer.begin() == 0
        buffer.put(IMAGES[0])
        assert buffer.complete() == lib.PYMC_OS_ERROR
        assert (log.path(0).full, log.path(0).write_errors) == (lib.FLASH_FULL_NEW, 0)
        assert log.path(0).full_writes == 1
        # It was closed, keeps what it has, and no page without blocks is taken.
        assert log.states() == [FULL, FULL, FREE, FREE]
        assert log.open_page() == lib.FLASH_PAGES_MAX
        found = log.scan(0) | log.scan(1)
        assert found == written
        lib.flash_page_free(log.flash, log.proc, 0)
        assert log.open_page() == 0
        # Even a page that had its blocks has no room: nothing does.
        log.arm(lib.FLASH_FAULT_ENOSPC, on_writes=True, count=1)
        assert buffer.begin() == 0
        buffer.put(IMAGES[0])
        assert buffer.complete() == lib.PYMC_OS_ERROR
        assert log.path(0).full == lib.FLASH_FULL_ALL
        lib.flash_path_set_full(log.flash, 0, lib.FLASH_NOT_FULL)
        assert log.page(log.open_page()).path == 0


@pytest.mark.debug
def test_room_for_one_more_page(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(3,), is_sparse=True) as log:
        lib.flash_path_set_full(log.flash, 0, lib.FLASH_FULL_NEW)
        assert log.open_page() == lib.FLASH_PAGES_MAX
        page = lib.flash_path_find_page(log.flash, 0, FREE, True)
        log.arm(lib.FLASH_FAULT_ENOSPC, on_writes=True, skip=PAGE // WBUF - 1)
        assert lib.flash_probe_room(log.flash, page) == lib.PYMC_OS_ERROR
        assert ffi.errno == errno.ENOSPC
        assert log.open_page() == lib.FLASH_PAGES_MAX
        log.arm(lib.FLASH_FAULT_NONE)
        assert lib.flash_probe_room(log.flash, page) == 0
        assert lib.flash_path_find_page(log.flash, 0, FREE, True) == page + 1
        assert os.stat(log.names[0]).st_blocks * 512 >= PAGE
        assert log.open_page() == page
        assert log.open_page() == lib.FLASH_PAGES_MAX
        assert log.path(0).full_writes == 0


def test_pages_with_blocks_come_first(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(4,), is_sparse=True) as log:
        lib.flash_page_close(log.flash, log.proc, log.open_page())
        log.write_all(IMAGES * 2)
        assert log.states() == [FULL, FULL, OPEN, FREE]
        lib.flash_page_free(log.flash, log.proc, 0)
        lib.flash_page_free(log.flash, log.proc, 1)
        assert [log.open_page(), log.open_page()] == [1, 0]


def test_probes_of_a_good_path(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(2, 2)) as log:
        lib.flash_path_take_out(log.flash, log.proc, 1)
        page = lib.flash_path_find_page(log.flash, 1, BAD, False)
        assert log.page(page).path == 1
        assert lib.flash_probe_read(log.flash, 1) == lib.flash_probe_write(log.flash, page) == 0
        assert lib.flash_path_find_page(log.flash, 1, FREE, False) == lib.FLASH_PAGES_MAX


@pytest.mark.debug
@pytest.mark.parametrize(
    ("kind", "on_reads", "on_writes"),
    [
        (lib.FLASH_FAULT_EIO, True, False),
        (lib.FLASH_FAULT_EIO, False, True),
        (lib.FLASH_FAULT_FLIP, True, False),
        (lib.FLASH_FAULT_FLIP, False, True),
        (lib.FLASH_FAULT_TORN, True, False),
    ],
)
def test_probes_of_a_bad_path(tmp_path: Path, kind: int, on_reads: bool, on_writes: bool) -> None:
    with Log(tmp_path, pages=(2,)) as log:
        log.arm(kind, on_reads=on_reads, on_writes=on_writes)
        assert lib.flash_probe_write(log.flash, 0) == lib.PYMC_OS_ERROR
        assert ffi.errno == errno.EIO
        fails = kind == lib.FLASH_FAULT_EIO and on_reads
        assert (lib.flash_probe_read(log.flash, 0) != 0) == fails
        # A probe is nobody's read.
        assert (log.path(0).read_errors, log.path(0).write_errors) == (0, 0)


def test_writes_under_way_are_seen_by_others(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1, 1, 1)) as log:
        for path in (0, 2):
            lib.flash_writing_note(log.flash, log.proc, path, True)
        assert lib.flash_writing_elsewhere(log.flash, 0) == 0
        assert lib.flash_writing_elsewhere(log.flash, 1) == 0b101
        lib.flash_writing_note(log.flash, log.proc, 2, False)
        assert lib.flash_writing_elsewhere(log.flash, 1) == 0b001
        lib.flash_writing_forget(log.flash, 0)
        assert lib.flash_writing_elsewhere(log.flash, 1) == 0


@pytest.mark.debug
def test_scans_count_what_they_lose(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        written = log.write_all(IMAGES[:200])
        name_all(log, written)
        lib.flash_page_close(log.flash, log.proc, 0)
        assert log.scan(0) == written
        assert (log.path(0).reads, log.path(0).bad_records) == (200, 0)
        raw = bytearray(Path(log.names[0]).read_bytes())
        for address in list(written)[50:60]:
            _page, offset = log.place(address)
            raw[offset + 100] ^= 1
        Path(log.names[0]).write_bytes(raw)
        assert len(log.scan(0)) == 190
        assert log.path(0).bad_records == 10
        assert log.path(0).reads == 400


def test_the_operator_and_the_keepers_note(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1, 1)) as log:
        lib.flash_path_want(log.flash, 1, lib.FLASH_WANTED_OUT)
        lib.flash_path_note(log.flash, 1, lib.FLASH_WHY_HAND, 77)
        assert log.path(0).wanted == lib.FLASH_WANTED_JUDGED
        info = log.path(1)
        wanted = (lib.FLASH_WANTED_OUT, lib.FLASH_WHY_HAND, 77)
        assert (info.wanted, info.why, info.since_seconds) == wanted
