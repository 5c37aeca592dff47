"""Scans of pages: pieces, records across them, and damage of every kind."""

import random
import struct
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_log import BLOCK, HEADER_BYTES, PAGE, WBUF, Buffer, Log


def many_images(dice: random.Random, total_bytes: int, most_bytes: int) -> list[bytes]:
    """Images of all sizes, each one of a kind."""
    images: list[bytes] = []
    while total_bytes > 0:
        size = min(20 + int(dice.paretovariate(0.6) * 30), most_bytes)
        images.append((b"%06d;" % len(images) * (size // 7 + 1))[:size])
        total_bytes -= size + 28
    return images


def test_records_across_pieces(tmp_path: Path) -> None:
    dice = random.Random(3)
    with Log(tmp_path, pages=(3,)) as log:
        written = log.write_all(many_images(dice, 2 * PAGE, WBUF - BLOCK - HEADER_BYTES))
        found: dict[int, bytes] = {}
        for page in range(3):
            found |= log.scan(page)
        assert found == written


def test_a_scan_ends_where_the_page_ended_when_it_began(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        before = log.write_all([b"before" * 40] * 20)
        out = ffi.new("struct flash_scan **")
        assert lib.flash_scan_create(log.flash, out) == 0
        assert lib.flash_scan_begin(out[0], 0) == 0
        log.write_all([b"after" * 40] * 20)
        assert lib.flash_scan_load(out[0]) == 0
        assert lib.flash_scan_loaded_bytes(out[0]) == WBUF - BLOCK
        address = ffi.new("uint64_t *")
        found = 0
        while lib.flash_scan_next(out[0], address) != ffi.NULL:
            found += 1
        assert found == len(before)
        assert lib.flash_scan_load(out[0]) == lib.PYMC_NOT_FOUND
        assert lib.flash_scan_loaded_bytes(out[0]) == 0
        lib.flash_scan_destroy(out[0])


def test_only_open_and_full_pages_are_scanned(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        out = ffi.new("struct flash_scan **")
        assert lib.flash_scan_create(log.flash, out) == 0
        assert lib.flash_scan_begin(out[0], 0) == lib.PYMC_NOT_FOUND
        assert log.open_page() == 0
        assert lib.flash_scan_begin(out[0], 0) == 0
        assert lib.flash_scan_load(out[0]) == lib.PYMC_NOT_FOUND
        lib.flash_page_drain(log.flash, log.proc, 0)
        assert lib.flash_scan_begin(out[0], 0) == lib.PYMC_NOT_FOUND
        lib.flash_scan_destroy(out[0])


def damage(file_name: str, dice: random.Random, end: int) -> list[tuple[int, int]]:
    """Changes some ranges of the file; which."""
    ranges = []
    with open(file_name, "r+b") as file:
        for _ in range(dice.randrange(1, 6)):
            size = dice.choice((1, 4, 12, 100, BLOCK, 5 * BLOCK))
            start = dice.randrange(BLOCK, end - size)
            file.seek(start)
            old = file.read(size)
            kind = dice.randrange(3)
            new = bytes(size) if kind == 0 else dice.randbytes(size)
            if kind == 2:
                # Changes what a length looks like.
                new = bytes(byte ^ 1 << dice.randrange(8) for byte in old)
            file.seek(start)
            file.write(new)
            ranges.append((start, start + size))
    return ranges


@pytest.mark.parametrize("seed", range(25))
def test_damage_costs_only_the_records_it_hits(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with Log(tmp_path, avoid_direct=True) as log:
        images = many_images(dice, PAGE // 2, 60_000)
        written = log.write_all(images)
        ranges = damage(log.names[0], dice, log.page(0).written_bytes)
        found = log.scan(0)
        for address, image in found.items():
            assert written[address] == image
        for address, image in written.items():
            start = log.place(address)[1]
            # Its own bytes are hit, or it cannot be told from the damage before it.
            end = start + HEADER_BYTES + len(image)
            is_hit = any(first < end and start < last for first, last in ranges)
            assert is_hit or address in found, (address, ranges)


def test_noise_holds_no_records(tmp_path: Path) -> None:
    """Not even when every unit claims to begin one of this page."""
    dice = random.Random(9)
    with Log(tmp_path, avoid_direct=True) as log:
        log.write_all([b"x" * 1000] * 100)
        end = log.page(0).written_bytes
        with open(log.names[0], "r+b") as file:
            file.seek(BLOCK)
            file.write(
                b"".join(
                    struct.pack("<IIII", 7, dice.randrange(1 << 17), 1, 0)
                    for _ in range((end - BLOCK) // 16)
                )
            )
        assert log.scan(0) == {}


def test_many_false_claims_do_not_cost_hours(tmp_path: Path) -> None:
    """Claims of huge records are believed only until a page's worth was checked in vain."""
    page_bytes, wbuf_bytes = 16 << 20, 4 << 20
    claim = struct.pack("<IIII", 7, 3 << 20, 1, 0)
    with Log(tmp_path, (1,), page_bytes, wbuf_bytes, avoid_direct=True) as log:
        log.write_all([claim * (200_000)] * 4)
        with open(log.names[0], "r+b") as file:
            file.seek(BLOCK + 4)
            file.write(b"\1\0\0\0")
        assert len(log.scan(0)) == 3


def test_a_record_at_the_very_end(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1,), page_bytes=2 * WBUF, wbuf_bytes=WBUF) as log:
        buffer = Buffer(log)
        written = {}
        for rest in (WBUF - BLOCK, WBUF):
            assert buffer.begin() == 0
            while rest > 0:
                size = min(rest, WBUF // 2)
                address = buffer.put(b"e" * (size - HEADER_BYTES))
                assert address is not None
                written[address] = b"e" * (size - HEADER_BYTES)
                rest -= size
            assert buffer.put(b"no") is None
            assert buffer.complete() == 0
        assert log.page(0).written_bytes == 2 * WBUF
        assert log.page(0).state == lib.FLASH_PAGE_FULL
        assert log.scan(0) == written
