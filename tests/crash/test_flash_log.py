"""Kills the keeper at every step of a page's life; its successor goes on with the same pages."""

import re
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.children import Journal, run_child
from tests.support.core.flash_log import Buffer, Log

pytestmark = pytest.mark.debug

CSRC = Path(__file__).resolve().parents[2] / "csrc" / "flash"
FILES = ("flash_pages.c", "flash_writer.c")
POINTS = sorted(
    name
    for file in FILES
    for name in re.findall(r'FAULT_POINT\([^"]*"([^"]+)"\)', (CSRC / file).read_text())
)
KEEPER = 1
ROUNDS = 40
PER_ROUND = 60
IMAGE_BYTES = 1500
PAGE_BYTES = 1 << 18
WBUF_BYTES = 1 << 16


def image_of(number: int) -> bytes:
    return (b"%08d" % number) * (IMAGE_BYTES // 8)


def make_room(log: Log) -> None:
    """Drops the oldest page when none is free."""
    if lib.FLASH_PAGE_FREE in log.states():
        return
    states = log.states()
    full = [page for page, state in enumerate(states) if state == lib.FLASH_PAGE_FULL]
    draining = [page for page, state in enumerate(states) if state == lib.FLASH_PAGE_DRAINING]
    oldest = min(full, key=lambda page: int(log.page(page).version))
    for page in draining or [oldest]:
        lib.flash_page_drain(log.flash, log.proc, page)
        lib.flash_page_free(log.flash, log.proc, page)


def work(log: Log, first: int, journal: Journal | None) -> int:
    """Writes records one after the other; how far that went."""
    write_all(log)
    number = first
    for turn in range(ROUNDS):
        make_room(log)
        buffer = Buffer(log, turn % 2)
        assert buffer.begin() == 0
        end = number + PER_ROUND
        while number < end and buffer.put(image_of(number)) is not None:
            number += 1
            if journal is not None:
                journal.begun = number
        if turn % 2:
            write_all(log)
    return number


def write_all(log: Log) -> None:
    """Writes every buffer that a predecessor or this process has begun."""
    for number in range(lib.flash_buffer_count(log.flash)):
        buffer = Buffer(log, number)
        if buffer.info().state != lib.FLASH_BUFFER_FREE and buffer.seal():
            buffer.finish(buffer.write())
        assert buffer.info().state == lib.FLASH_BUFFER_FREE


def found_numbers(log: Log) -> list[int]:
    numbers = []
    for page in range(log.page_count):
        for image in log.scan(page).values():
            number = int(image[:8])
            assert image == image_of(number)
            numbers.append(number)
    return sorted(numbers)


def check_rows(log: Log) -> None:
    """Each page in use has a version of its own."""
    used = (lib.FLASH_PAGE_OPEN, lib.FLASH_PAGE_FULL)
    pages = [log.page(page) for page in range(log.page_count)]
    versions = [int(page.version) for page in pages if page.state in used]
    assert all(versions) and len(set(versions)) == len(versions)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("countdown", [1, 2, 7])
def test_a_successor_goes_on(tmp_path: Path, point: str, countdown: int) -> None:
    journal = Journal()
    # On one path records are in order.
    pages = (3, 3) if point == "flash.path.out" else (6,)
    with Log(tmp_path, pages, PAGE_BYTES, WBUF_BYTES) as log:
        mine = log.proc

        def die() -> None:
            process = ffi.new("struct proc **")
            assert (
                lib.proc_open(log.arena, KEEPER, lib.PROC_KEEPER, ffi.NULL, ffi.NULL, process) == 0
            )
            log.proc = process[0]
            lib.proc_arm_fault(log.proc, point.encode(), countdown)
            work(log, 0, journal)
            if len(pages) > 1:
                lib.flash_path_take_out(log.flash, log.proc, 1)
                lib.flash_path_bring_in(log.flash, log.proc, 1)

        end = run_child(die)
        assert end.was_killed or (end.is_fine and countdown > 1), (point, end)
        log.proc = mine
        assert lib.proc_repair_if_dead(mine, KEEPER) or not end.was_killed
        lib.flash_buffers_repair(log.flash, KEEPER)
        check_rows(log)
        numbers = found_numbers(log)
        # What was acknowledged is there without a hole, from the oldest page that is left.
        acknowledged = [number for number in numbers if number < journal.begun]
        if len(pages) == 1:
            expected = list(range(acknowledged[0], journal.begun)) if acknowledged else []
            assert acknowledged == expected
            assert acknowledged or journal.begun == 0
        last = work(log, journal.begun + 1000, None)
        numbers = found_numbers(log)
        assert numbers[-1] == last - 1
        assert numbers[-200:] == list(range(last - 200, last))
        check_rows(log)


def test_a_path_that_was_going_out_takes_nothing_more(tmp_path: Path) -> None:
    """Records on it could be entered, but nobody would read them."""
    with Log(tmp_path, (3, 3), PAGE_BYTES, WBUF_BYTES) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0 and buffer.put(image_of(1)) is not None
        assert buffer.complete() == 0
        open_page = log.states().index(lib.FLASH_PAGE_OPEN)
        bad_path = int(log.page(open_page).path)

        def die() -> None:
            process = ffi.new("struct proc **")
            opened = lib.proc_open(log.arena, KEEPER, lib.PROC_KEEPER, ffi.NULL, ffi.NULL, process)
            assert opened == 0
            lib.proc_arm_fault(process[0], b"flash.path.out", 1)
            lib.flash_path_take_out(log.flash, process[0], bad_path)

        assert run_child(die).was_killed
        assert log.path(bad_path).is_out
        assert log.states()[open_page] == lib.FLASH_PAGE_OPEN
        assert buffer.begin() == 0
        address = buffer.put(image_of(2))
        assert address is not None
        assert log.page(log.place(address)[0]).path != bad_path
