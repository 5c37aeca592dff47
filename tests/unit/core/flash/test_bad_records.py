"""What a scan counts as damage by the device, and what it does not."""

from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.flash_log import HEADER_BYTES, Buffer, Log, name_all

IMAGES = [b"%05d" % number * 190 for number in range(40)]


def overwrite(log: Log, offset: int, data: bytes) -> None:
    with open(log.names[0], "r+b") as file:
        file.seek(offset)
        file.write(data)


def places_of(log: Log, written: dict[int, bytes]) -> list[int]:
    return sorted(log.place(address)[1] for address in written)


def test_records_that_entries_name_are_counted(tmp_path: Path) -> None:
    """Of a page that is complete: one that is being written may look like anything."""
    with Log(tmp_path, pages=(1, 1), avoid_direct=True) as log:
        written = log.write_all(IMAGES)
        name_all(log, written)
        page = log.place(min(written))[0]
        path = log.page(page).path
        places = places_of(log, written)
        with open(log.names[path], "r+b") as file:
            for place in (places[3], places[4], places[20]):
                file.seek(place + 500)
                file.write(b"!")
        assert len(log.scan(page)) == 37
        assert log.path(path).bad_records == 0
        lib.flash_page_close(log.flash, log.proc, page)
        assert len(log.scan(page)) == 37
        assert log.path(path).bad_records == 3
        assert log.path(1 - path).bad_records == log.path(path).read_errors == 0


def test_holes_are_none(tmp_path: Path) -> None:
    """Whatever they hold: of a process that died, or of an item that changed meanwhile."""
    with Log(tmp_path, pages=(1,), avoid_direct=True) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0
        written: dict[int, bytes] = {}
        for image in IMAGES[:6]:
            address = buffer.put(image)
            assert address is not None
            written[address] = image
            place = buffer.take(HEADER_BYTES + 500)
            header = (HEADER_BYTES + 500).to_bytes(4, "little") + bytes(
                [place.page_version, 0, 0, 0]
            )
            lib.flash_place_give(log.flash, log.proc)
            for at, byte in enumerate(header, start=4):
                place.memory[at] = bytes([byte])
        assert buffer.complete() == 0
        name_all(log, written)
        lib.flash_page_close(log.flash, log.proc, 0)
        assert log.scan(0) == written
        assert log.path(0).bad_records == 0


def test_what_nobody_wants_is_none(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1,), avoid_direct=True) as log:
        written = log.write_all(IMAGES)
        lib.flash_page_close(log.flash, log.proc, 0)
        overwrite(log, places_of(log, written)[7] + 100, b"!")
        assert len(log.scan(0)) == 39
        assert log.path(0).bad_records == 0


@pytest.mark.debug
@pytest.mark.debug
def test_what_cannot_be_read_counts_as_that(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1,)) as log:
        name_all(log, log.write_all(IMAGES))
        lib.flash_page_close(log.flash, log.proc, 0)
        log.arm(lib.FLASH_FAULT_EIO, on_reads=True, count=1)
        errors: list[int] = []
        assert dict(log.walk(0, errors)) == {}
        assert errors == [lib.PYMC_OS_ERROR]
        assert (log.path(0).read_errors, log.path(0).bad_records) == (1, 0)
        log.arm(lib.FLASH_FAULT_FLIP, on_reads=True)
        assert log.scan(0) == {}
        assert log.path(0).bad_records == len(IMAGES)
