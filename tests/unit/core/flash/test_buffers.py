"""Write buffers: who may fill, seal, write and free one, and what is found in it meanwhile."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pymc.core.ffi import ffi, lib
from pymc.flash_log.format import Damage, Record, find_pages, read_records
from tests.support.core.flash_log import BLOCK, HEADER_BYTES, PAGE, WBUF, Buffer, Log, image_of

FREE, FILLING, SEALED = (
    lib.FLASH_BUFFER_FREE,
    lib.FLASH_BUFFER_FILLING,
    lib.FLASH_BUFFER_SEALED,
)
IMAGE = b"some bytes " * 20


def is_woken(log: Log) -> bool:
    """Whether the keeper was told to look since the last time."""
    try:
        return len(os.read(lib.flash_wake_fd(log.flash), 8)) == 8
    except BlockingIOError:
        return False


def wanted(log: Log) -> int:
    return int(lib.flash_streams_wanted(log.flash))


def copy(log: Log, address: int, image_bytes: int, version: int | None = None) -> bytes | None:
    """The image as a look-up copies it from a buffer; None when it has to ask the device."""
    page, offset = log.place(address)
    record_bytes = HEADER_BYTES + image_bytes
    place = ffi.new("char[]", record_bytes)
    version = log.page(page).version if version is None else version
    copied = lib.flash_buffer_copy(log.flash, page, version, offset, record_bytes, place)
    assert copied in (0, record_bytes)
    return bytes(ffi.buffer(place, record_bytes))[HEADER_BYTES:] if copied else None


def in_dead_process(log: Log, slot: int, work: Callable[[Any], None]) -> None:
    """Does it as the owner of a slot that ends without a word."""
    child = os.fork()
    if child == 0:
        try:
            work(log.open_slot(slot))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_life_of_a_buffer(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        assert buffer.info().state == FREE and buffer.put(IMAGE) is None
        assert buffer.begin() == 0
        info = buffer.info()
        assert (info.state, info.is_closed, info.filled_bytes) == (FILLING, False, BLOCK)
        assert info.writer == 0xFFFFFFFF
        address = buffer.put(IMAGE)
        assert address is not None and copy(log, address, len(IMAGE)) == IMAGE
        assert buffer.seal() == 2 * BLOCK
        assert (buffer.info().state, buffer.info().writer) == (SEALED, 0)
        assert copy(log, address, len(IMAGE)) == IMAGE
        assert buffer.write() == 0
        # Until it is free look-ups need not ask the device.
        assert copy(log, address, len(IMAGE)) == IMAGE
        buffer.finish(0)
        assert buffer.info().state == FREE
        assert copy(log, address, len(IMAGE)) is None
        assert log.scan(0) == {address: IMAGE}


def test_a_closed_buffer_takes_no_more(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer, other = Buffer(log, 0), Buffer(log, 1)
        assert buffer.begin() == 0
        first = buffer.put(IMAGE)
        buffer.close()
        assert buffer.put(IMAGE) is None
        assert buffer.info().filled_bytes == BLOCK + 240
        # Not even where a filler looked last.
        assert other.begin() == 0
        second = buffer.put(IMAGE)
        assert first is not None and log.place(first) == (0, BLOCK)
        assert second is not None and log.place(second) == (0, WBUF)


def test_the_buffer_begun_first_is_filled_first(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        assert Buffer(log, 3).begin() == 0
        assert Buffer(log, 1).begin() == 0
        address = Buffer(log).put(IMAGE)
        assert address is not None and log.place(address) == (0, BLOCK)


def test_streams_do_not_share_buffers(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        first, second = Buffer(log, 0), Buffer(log, 1)
        assert first.begin(lib.FLASH_DEFAULT) == 0
        assert second.begin(lib.FLASH_LOW_TTL) == 0
        for buffer in (first, second, first):
            address = buffer.put(IMAGE)
            assert address is not None and log.place(address)[0] == buffer.page
        third = Buffer(log, 2)
        third.bucket = lib.FLASH_CHUNKED
        assert third.put(IMAGE) is None


def test_what_does_not_fit_closes_the_buffer_and_wakes_the_keeper(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0
        half = b"h" * (WBUF // 2)
        assert buffer.put(half) is not None
        assert not is_woken(log)
        assert buffer.put(half) is None
        assert is_woken(log) and buffer.info().is_closed
        # It is told once which stream has no buffer.
        assert wanted(log) == 1 << lib.FLASH_DEFAULT
        assert wanted(log) == 0


def test_a_stream_without_a_buffer_is_told_once(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        for bucket in (lib.FLASH_LOW_TTL, lib.FLASH_CHUNKED, lib.FLASH_LOW_TTL):
            buffer.bucket = bucket
            assert buffer.put(IMAGE) is None
            assert is_woken(log) == (wanted(log) > 0)
        for _ in range(3):
            assert buffer.put(IMAGE) is None
        assert is_woken(log) and not is_woken(log)
        assert wanted(log) == 1 << lib.FLASH_LOW_TTL


def test_a_buffer_is_not_sealed_while_somebody_fills_it(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        other = log.open_slot(1)
        assert buffer.begin() == 0
        filler = Buffer(log, 0, other)
        place = filler.take(HEADER_BYTES + len(IMAGE))
        assert place is not None
        assert buffer.seal() == 0 and buffer.info().state == FILLING
        filler.fill(place, IMAGE)
        # The index does not name it yet, perhaps.
        assert buffer.seal() == 0
        lib.flash_place_give(log.flash, other)
        assert buffer.seal() == 2 * BLOCK
        # Who fills another one does not matter.
        second = Buffer(log, 1)
        assert second.begin() == 0
        assert filler.take(100) is not None
        third = Buffer(log, 2)
        assert third.begin() == 0
        third.close()
        assert third.seal() == 0 and third.info().state == FREE
        lib.flash_place_give(log.flash, other)


def test_a_dead_filler_holds_nothing_up_once_it_is_repaired(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0
        before = buffer.put(IMAGE)

        def take(proc: Any) -> None:
            assert Buffer(log, 0, proc).take(500) is not None

        in_dead_process(log, 1, take)
        after = buffer.put(IMAGE * 2)
        assert buffer.seal() == 0
        assert lib.proc_repair_if_dead(log.proc, 1)
        assert buffer.complete() == 0
        assert log.scan(0) == {before: IMAGE, after: IMAGE * 2}


@pytest.mark.parametrize("first_bytes", [240, 4096 - 16])
@pytest.mark.parametrize("has_begun", [False, True], ids=["nothing", "a part"])
def test_a_hole_is_passed_over(tmp_path: Path, has_begun: bool, first_bytes: int) -> None:
    """Who took a place and died leaves zeros, or a part of a record; also at a block's end."""
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0
        first = image_of(b"first", b"1" * (first_bytes - HEADER_BYTES - 16 - 5))
        images = [first, image_of(b"second", b"2"), image_of(b"third", b"3" * 9000)]
        written = {buffer.put(images[0]): images[0]}
        place = buffer.take(100)
        if has_begun:
            ffi.memmove(place.memory + 4, (100).to_bytes(4, "little"), 4)
        lib.flash_place_give(log.flash, log.proc)
        written |= {buffer.put(image): image for image in images[1:]}
        # Before it is written, and after; also by the program that reads files.
        assert log.scan(0) == written
        assert buffer.complete() == 0
        assert log.scan(0) == written
        data = Path(log.names[0]).read_bytes()
        with open(log.names[0], "rb") as file:
            (header,) = find_pages(file, len(data))
        found = list(read_records(header, data[:PAGE]))
        assert [row.key for row in found if isinstance(row, Record)] == [
            b"first",
            b"second",
            b"third",
        ]
        assert any(isinstance(row, Damage) for row in found) == has_begun


def test_what_was_in_a_buffer_before_is_no_record_of_it(tmp_path: Path) -> None:
    """A buffer that is used again, for the same page, is not read as it was."""
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0
        old = buffer.put(IMAGE)
        assert old is not None and buffer.complete() == 0
        assert buffer.begin() == 0
        new = buffer.put(b"other things" * 20)
        assert copy(log, old, len(IMAGE)) is None
        assert new is not None and copy(log, new, 240) == b"other things" * 20
        # Nor is another use of the page.
        assert copy(log, new, 240, version=log.page(0).version + 1) is None
        lib.flash_page_drain(log.flash, log.proc, 0)
        assert copy(log, new, 240) is None


@pytest.mark.parametrize("is_drained_late", [False, True], ids=["filling", "sealed"])
def test_a_buffer_of_a_page_that_drains_is_in_vain(tmp_path: Path, is_drained_late: bool) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0
        buffer.put(IMAGE)
        assert not buffer.info().is_page_gone
        if is_drained_late:
            assert buffer.seal() > 0
        lib.flash_page_drain(log.flash, log.proc, 0)
        assert buffer.info().is_page_gone
        assert buffer.seal() > 0
        lib.flash_page_free(log.flash, log.proc, 0)
        assert log.page(0).state == lib.FLASH_PAGE_DRAINING
        buffer.finish(lib.PYMC_NOT_FOUND)
        lib.flash_page_free(log.flash, log.proc, 0)
        assert log.page(0).state == lib.FLASH_PAGE_FREE
        counted = log.counters()
        for name in ("ext_device_writes", "ext_device_bytes_written", "ext_write_errors"):
            assert counted[name] == 0


def test_who_may_write_a_sealed_buffer(tmp_path: Path) -> None:
    with Log(tmp_path, slots=4) as log:
        buffer = Buffer(log)

        def seal(proc: Any) -> None:
            assert buffer.begin() == 0
            buffer.put(IMAGE)
            assert Buffer(log, 0, proc).seal() == 2 * BLOCK

        in_dead_process(log, 1, seal)
        assert (buffer.info().state, buffer.info().writer) == (SEALED, 1)
        # Nobody knows yet that the writer is dead.
        assert buffer.seal() == 0
        assert lib.proc_repair_if_dead(log.proc, 1)
        other = Buffer(log, 0, log.open_slot(2))
        assert other.seal() == 2 * BLOCK
        assert buffer.info().writer == 2
        # While that one lives it is its; it may write it again itself.
        assert buffer.seal() == 0
        assert other.seal() == 2 * BLOCK
        log.close_slot(other.proc)
        assert buffer.complete() == 0
        assert log.counters()["ext_device_writes"] == 1


def test_a_successor_in_the_same_slot_writes_what_was_sealed(tmp_path: Path) -> None:
    with Log(tmp_path, slots=4) as log:

        def seal(proc: Any) -> None:
            buffer = Buffer(log, 0, proc)
            assert buffer.begin() == 0
            buffer.put(IMAGE)
            assert buffer.seal() > 0

        in_dead_process(log, 1, seal)
        successor = Buffer(log, 0, log.open_slot(1))
        assert successor.complete() == 0
        assert list(log.scan(0).values()) == [IMAGE]


def test_consecutive_buffers_go_to_different_paths(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(3, 3, 3)) as log:
        paths = []
        for number in range(6):
            buffer = Buffer(log, number)
            assert buffer.begin() == 0
            paths.append(buffer.info().path)
        assert sorted(paths[:3]) == sorted(paths[3:]) == [0, 1, 2]


def test_a_slow_path_gets_fewer_buffers(tmp_path: Path) -> None:
    """While its buffers are not written, the others' are begun."""
    with Log(tmp_path, pages=(9, 9, 9), buffers=8) as log:
        got: Counter[int] = Counter()
        for _turn in range(20):
            buffer = log.free_buffer()
            assert buffer.begin() == 0
            buffer.put(IMAGE)
            path = buffer.info().path
            got[path] += 1
            if path == 1:
                assert buffer.seal() > 0
            else:
                assert buffer.complete() == 0
        # One that waits is enough for it to be passed over.
        assert got[1] == 1 and abs(got[0] - got[2]) <= 1


def test_a_path_out_of_service_gets_none(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(3, 3)) as log:
        lib.flash_path_take_out(log.flash, log.proc, 0)
        for number in range(4):
            buffer = Buffer(log, number)
            assert buffer.begin() == 0
            assert buffer.info().path == 1
        lib.flash_path_take_out(log.flash, log.proc, 1)
        assert Buffer(log, 4).begin() == lib.PYMC_NOT_FOUND


def test_streams_go_to_paths_of_their_label_first(tmp_path: Path) -> None:
    labels = (lib.FLASH_DEFAULT, lib.FLASH_LOW_TTL)
    with Log(tmp_path, pages=(2, 1), page_bytes=2 * WBUF, labels=labels) as log:
        paths = []
        for number in range(3):
            buffer = Buffer(log, number)
            assert buffer.begin(lib.FLASH_LOW_TTL) == 0
            paths.append(buffer.info().path)
        # Its own are full by then.
        assert paths == [1, 1, 0]
        for number in range(3, 5):
            buffer = Buffer(log, number)
            assert buffer.begin(lib.FLASH_DEFAULT) == 0
            assert buffer.info().path == 0


@pytest.mark.debug
def test_a_failed_write_harms_no_other_buffer_of_its_page(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffers = [Buffer(log, number) for number in range(3)]
        written = {}
        for buffer in buffers:
            assert buffer.begin() == 0
            image = b"%d" % buffer.number * 300
            address = buffer.put(image)
            assert address is not None
            written[address] = image
            buffer.close()
        log.arm(lib.FLASH_FAULT_EIO, on_writes=True, skip=1, count=1)
        statuses = [buffer.complete() for buffer in buffers]
        assert statuses == [0, lib.PYMC_OS_ERROR, 0]
        # The page takes no more, and is closed since nothing is on its way to it.
        assert log.page(0).state == lib.FLASH_PAGE_FULL
        found = log.scan(0)
        assert {at: image for at, image in written.items() if image[0] != ord("1")} == found
        assert Buffer(log).begin() == 0
        assert Buffer(log).page == 1


def test_memory_of_free_buffers_goes_back(tmp_path: Path) -> None:
    with Log(tmp_path, buffers=4) as log:
        for number in range(4):
            buffer = Buffer(log, number)
            assert buffer.begin() == 0
            address = buffer.put(IMAGE)
            buffer.close()
            if number < 3:
                assert buffer.complete() == 0
        # One of the free ones stays as it is; the one in use is left alone.
        assert lib.flash_buffers_release(log.flash, 1) == 2
        assert address is not None and copy(log, address, len(IMAGE)) == IMAGE
