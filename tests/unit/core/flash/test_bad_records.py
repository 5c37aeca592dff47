"""What a scan counts as damage by the device, and what it does not."""

from pathlib import Path

import pytest

from pymc.core.ffi import HAS_DEBUG, lib
from tests.unit.core.flash.log import HEADER_BYTES, Buffer, Log

IMAGES = [b"%05d" % number * 190 for number in range(40)]


def skip_write(log: Log, images: list[bytes]) -> None:
    """Sets a buffer's place aside and never writes it."""
    buffer = Buffer(log)
    assert buffer.begin() == 0
    for image in images:
        assert buffer.put(image) is not None
    assert buffer.seal() > 0
    buffer.finish(0)


def overwrite(log: Log, offset: int, data: bytes) -> None:
    with open(log.names[0], "r+b") as file:
        file.seek(offset)
        file.write(data)


def places_of(log: Log, written: dict[int, bytes]) -> list[int]:
    return sorted(log.place(address)[1] for address in written)


@pytest.mark.parametrize("first_use", [0, 100])
def test_what_was_never_written_is_none(tmp_path: Path, first_use: int) -> None:
    """Whether it is empty or full of records of an earlier use of the page."""
    with Log(tmp_path, pages=(1,), avoid_direct=True) as log:
        if first_use:
            log.write_all([b"older" * 200] * first_use)
            lib.flash_page_drain(log.flash, log.proc, 0)
            lib.flash_page_free(log.flash, log.proc, 0)
        written = log.write_all([b"before" * 100] * 10)
        skip_write(log, [b"never" * 100] * 10)
        written |= log.write_all([b"after" * 100] * 10)
        skip_write(log, [b"never" * 100] * 10)
        lib.flash_page_close(log.flash, log.proc, 0)
        assert log.scan(0) == written
        assert log.path(0).bad_records == 0


def test_a_place_whose_process_died_is_none(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1,), avoid_direct=True) as log:
        buffer = Buffer(log)
        assert buffer.begin() == 0
        written = {buffer.put(image): image for image in IMAGES[:3]}
        place = buffer.take(HEADER_BYTES + 500)
        place.memory[4:8] = (HEADER_BYTES + 500).to_bytes(4, "little")
        lib.flash_buffers_repair(log.flash, 0)
        written |= {buffer.put(image): image for image in IMAGES[3:6]}
        assert buffer.complete() == 0
        lib.flash_page_close(log.flash, log.proc, 0)
        assert log.scan(0) == written
        assert log.path(0).bad_records == 0


def test_damage_is_counted_by_records(tmp_path: Path) -> None:
    """Of a page that is complete: one that is being written may look like anything."""
    with Log(tmp_path, pages=(1,), avoid_direct=True) as log:
        places = places_of(log, log.write_all(IMAGES))
        for place in (places[3], places[4], places[20]):
            overwrite(log, place + 500, b"!")
        assert len(log.scan(0)) == 37
        assert log.path(0).bad_records == 0
        lib.flash_page_close(log.flash, log.proc, 0)
        assert len(log.scan(0)) == 37
        assert log.path(0).bad_records == 3


@pytest.mark.parametrize("junk", [b"\xff", b"\0"])
def test_what_is_left_of_records_is_counted(tmp_path: Path, junk: bytes) -> None:
    """Of six that are damaged only the first still has a header."""
    with Log(tmp_path, pages=(1,), avoid_direct=True) as log:
        places = places_of(log, log.write_all(IMAGES))
        overwrite(log, places[5] + 100, junk * (places[10] - places[5]))
        lib.flash_page_close(log.flash, log.proc, 0)
        assert len(log.scan(0)) < 35
        assert log.path(0).bad_records == 1


@pytest.mark.debug
@pytest.mark.skipif(not HAS_DEBUG, reason="no faults")
def test_what_cannot_be_read_counts_as_that(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.write_all([b"%05d" % number + b"," * 995 for number in range(700)])
        lib.flash_page_close(log.flash, log.proc, 0)
        log.arm(lib.FLASH_FAULT_EIO, on_reads=True, skip=1, count=1)
        errors: list[int] = []
        assert 0 < len(dict(log.walk(0, errors))) < 700
        assert errors == [lib.PYMC_OS_ERROR]
        assert (log.path(0).read_errors, log.path(0).bad_records) == (1, 0)
