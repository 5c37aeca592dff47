"""Steps of pages, and what write buffers make of them."""

import struct
from pathlib import Path

import pytest

from pymc.core.checksum import crc32c
from pymc.core.ffi import lib
from pymc.flash_log.format import find_pages
from tests.support.core.flash_log import BLOCK, HEADER_BYTES, PAGE, WBUF, Buffer, Log

FREE, OPEN = lib.FLASH_PAGE_FREE, lib.FLASH_PAGE_OPEN
FULL, DRAINING, BAD = lib.FLASH_PAGE_FULL, lib.FLASH_PAGE_DRAINING, lib.FLASH_PAGE_BAD


def test_a_life_of_a_page(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1,)) as log:
        page = log.open_page(lib.FLASH_COMPACT)
        now = log.page(page)
        assert (now.state, now.version, now.bucket) == (OPEN, 1, lib.FLASH_COMPACT)
        assert log.open_page() == lib.FLASH_PAGES_MAX
        lib.flash_page_close(log.flash, log.proc, page)
        assert log.states() == [FULL]
        lib.flash_page_drain(log.flash, log.proc, page)
        assert log.states() == [DRAINING]
        assert log.open_page() == lib.FLASH_PAGES_MAX
        lib.flash_page_free(log.flash, log.proc, page)
        now = log.page(page)
        assert (now.state, now.version) == (FREE, 0)
        assert log.open_page() == page
        assert log.page(page).version == 2
        assert log.counters()["ext_page_allocs"] == 2


def test_streams_take_their_own_label_first_then_default_ones(tmp_path: Path) -> None:
    labels = (lib.FLASH_DEFAULT, lib.FLASH_LOW_TTL)
    with Log(tmp_path, pages=(2, 2), labels=labels) as log:
        taken = [log.page(log.open_page(lib.FLASH_LOW_TTL, path)).label for path in (1, 1, 0)]
        assert taken == [lib.FLASH_LOW_TTL, lib.FLASH_LOW_TTL, lib.FLASH_DEFAULT]
        assert log.open_page(lib.FLASH_LOW_TTL, 1) == lib.FLASH_PAGES_MAX
        assert log.page(log.open_page()).label == lib.FLASH_DEFAULT
        assert log.open_page() == lib.FLASH_PAGES_MAX


def test_a_path_out_of_service(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(3, 3)) as log:
        opened = [log.open_page(path=path) for path in (0, 0, 1, 1)]
        lib.flash_page_close(log.flash, log.proc, opened[0])
        lib.flash_path_take_out(log.flash, log.proc, 0)
        lib.flash_path_take_out(log.flash, log.proc, 0)
        assert log.path(0).is_out
        assert not log.path(1).is_out
        states = {0: [], 1: []}  # type: dict[int, list[int]]
        for number in range(6):
            states[log.page(number).path].append(log.page(number).state)
        assert sorted(states[0]) == [DRAINING, DRAINING, BAD]
        assert sorted(states[1]) == [FREE, OPEN, OPEN]
        for number in range(6):
            if log.page(number).state == DRAINING:
                lib.flash_page_free(log.flash, log.proc, number)
                assert log.page(number).state == BAD
        assert log.open_page() == lib.FLASH_PAGES_MAX
        assert log.page(log.open_page(path=1)).path == 1
        assert log.open_page(path=1) == lib.FLASH_PAGES_MAX


def test_what_stands_in_the_file(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        images = [b"first" * 3, b"second" * 700, b"third"]
        written = log.write_all(images)
        text = Path(log.names[0]).read_bytes()
        assert text[:8] == b"PYMCLOG\n"
        for address, image in written.items():
            page, offset = log.place(address)
            assert (page, offset % 16) == (0, 0)
            crc, sizes, version = struct.unpack_from("<III", text, offset)
            assert (sizes, version) == (HEADER_BYTES + len(image), 1)
            whole = text[offset : offset + sizes]
            assert crc == crc32c(whole[4:])
            assert whole[HEADER_BYTES:] == image
            assert set(text[offset + sizes : offset + (sizes + 15) // 16 * 16]) <= {0}
        page_now = log.page(0)
        # Its room is set aside when a buffer begins.
        assert page_now.written_bytes == WBUF
        assert page_now.objects_written == 3
        counted = log.counters()
        assert counted["ext_device_bytes_written"] == 3 * BLOCK
        assert counted["ext_device_writes"] == sum(log.write_times()) == 1


def test_a_page_knows_the_newest_and_the_last_to_expire(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        for notes in ([(5, 900), (9, 800)], [(7, 1000)]):
            assert buffer.begin() == 0
            for note in notes:
                buffer.put(b"x" * 100, note=note)
            assert buffer.complete() == 0
        now = log.page(0)
        assert (now.newest_order, now.expires_seconds) == (9, 1000)
        assert buffer.begin() == 0
        buffer.put(b"x" * 100, note=(1 << 50, 0))
        assert buffer.complete() == 0
        now = log.page(0)
        assert (now.newest_order, now.expires_seconds) == (1 << 50, 0)


@pytest.mark.parametrize("image_bytes", [20, 4084, 4085, 40_000, WBUF - BLOCK - HEADER_BYTES])
def test_pages_fill_up_to_the_last_one(tmp_path: Path, image_bytes: int) -> None:
    with Log(tmp_path, pages=(2, 1)) as log:
        buffer = Buffer(log)
        written: dict[int, bytes] = {}
        number = 0
        while buffer.begin() == 0:
            before = number
            while True:
                image = b"%08d" % number + b"." * (image_bytes - 8)
                address = buffer.put(image)
                if address is None:
                    break
                written[address] = image
                number += 1
            assert log.page(buffer.page).objects_written >= number - before > 0
            assert buffer.complete() == 0
        assert log.states() == [FULL] * 3
        for page in range(3):
            there = {at: image for at, image in written.items() if log.place(at)[0] == page}
            assert log.scan(page) == there
            assert log.page(page).written_bytes == PAGE
            # At the end of each buffer less is left than another one would take.
            ends: dict[int, int] = {}
            for at, image in there.items():
                number_of, end = divmod(log.place(at)[1], WBUF)
                ends[number_of] = max(ends.get(number_of, 0), end + HEADER_BYTES + len(image))
            assert sorted(ends) == list(range(PAGE // WBUF))
            assert all(WBUF - end < image_bytes + HEADER_BYTES + 16 for end in ends.values())
        assert len(written) == number


def test_a_page_is_open_until_its_last_buffer_is_written(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(2,), page_bytes=2 * WBUF) as log:
        buffers = [Buffer(log, number) for number in range(3)]
        for buffer in buffers:
            assert buffer.begin() == 0
            while buffer.put(b"z" * 1000) is not None:
                pass
            assert buffer.seal() > 0
        assert [buffer.page for buffer in buffers] == [0, 0, 1]
        assert log.states() == [OPEN, OPEN]
        for position in (1, 0):
            assert log.states()[0] == OPEN
            assert buffers[position].complete() == 0
        assert log.states() == [FULL, OPEN]
        assert buffers[2].complete() == 0


def test_a_drained_page_is_not_free_while_it_is_written(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0
        buffer.put(b"late" * 20)
        assert buffer.seal() == BLOCK + BLOCK
        lib.flash_page_drain(log.flash, log.proc, 0)
        lib.flash_page_free(log.flash, log.proc, 0)
        assert log.page(0).state == DRAINING
        assert buffer.info().is_page_gone
        buffer.finish(lib.PYMC_NOT_FOUND)
        assert buffer.info().state == lib.FLASH_BUFFER_FREE
        # It left no trace but in the page.
        assert sum(log.write_times()) == 0
        counted = log.counters()
        assert counted["ext_device_writes"] == counted["ext_write_errors"] == 0
        lib.flash_page_free(log.flash, log.proc, 0)
        assert log.page(0).state == FREE


def test_empty_buffers_leave_no_trace(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        buffer = Buffer(log)
        for _ in range(3):
            assert buffer.begin() == 0
            assert buffer.seal() == 0
        assert log.states() == [OPEN, FREE, FREE, FREE]
        assert log.page(0).written_bytes == 0


def test_the_first_buffer_of_a_page_is_written_for_its_header(tmp_path: Path) -> None:
    """Nothing in a page is found offline without it, and others may have begun behind it."""
    with Log(tmp_path) as log:
        empty, behind = Buffer(log, 0), Buffer(log, 1)
        assert empty.begin() == 0
        assert behind.begin() == 0
        empty.close()
        behind.put(b"behind" * 20)
        assert empty.complete() == 0
        assert behind.complete() == 0
        with open(log.names[0], "rb") as file:
            assert [header.page for header in find_pages(file, 4 * PAGE)] == [0]


def test_buffers_go_behind_what_is_not_written_yet(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        first, second = Buffer(log, 0), Buffer(log, 1)
        assert first.begin() == 0
        early = first.put(b"early" * 30)
        assert first.seal() > 0
        assert second.begin() == 0
        late = second.put(b"late" * 30)
        assert late is not None and log.place(late) == (0, WBUF)
        assert second.complete() == 0
        # Of what is not written yet a scan reads the buffer.
        assert log.scan(0) == {early: b"early" * 30, late: b"late" * 30}
        first.finish(first.write())
        assert log.scan(0) == {early: b"early" * 30, late: b"late" * 30}


def test_records_of_an_earlier_use_are_not_seen(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1,)) as log:
        log.write_all([b"old" * 500] * 50)
        lib.flash_page_drain(log.flash, log.proc, 0)
        lib.flash_page_free(log.flash, log.proc, 0)
        new = log.write_all([b"new" * 10])
        assert log.scan(0) == new
