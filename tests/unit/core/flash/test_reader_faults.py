"""Reads that go wrong: what is damaged on flash, what the device refuses, what takes long."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.flash_reader_rig import HEADER_BYTES, KINDS, Rig, entry_of

pytestmark = pytest.mark.parametrize("kind", sorted(KINDS))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path / "log") as made:
        yield made


def test_any_changed_byte_is_found(rig: Rig, kind: str) -> None:
    [record] = rig.write([b"x" * 300])
    reader = rig.reader(kind)
    source = random.Random(3)
    end = HEADER_BYTES + len(record.body)
    for at in [*range(HEADER_BYTES), end - 1, *source.sample(range(HEADER_BYTES, end), 40)]:
        place = record.file_offset + at
        [before] = os.pread(rig.file, 1, place)
        os.pwrite(rig.file, bytes([before ^ 1 << source.randrange(8)]), place)
        assert reader.result(record) == lib.FLASH_READ_CORRUPT, at
        os.pwrite(rig.file, bytes([before]), place)
        assert reader.result(record) == lib.FLASH_READ_GOOD
    assert rig.counters()["ext_read_errors"] == 0
    assert reader.is_idle()


@pytest.mark.parametrize("sizes", [0, 11, 27, 313, 0x7FFFFFFF, 0xFFFFFFFF])
def test_nonsense_sizes(rig: Rig, kind: str, sizes: int) -> None:
    [record] = rig.write([b"x" * 300])
    os.pwrite(rig.file, sizes.to_bytes(4, "little"), record.file_offset + 4)
    assert rig.reader(kind).result(record) == lib.FLASH_READ_CORRUPT


def test_a_record_larger_than_its_entry_says(rig: Rig, kind: str) -> None:
    [record] = rig.write([b"x" * 3000])
    small = entry_of(record.entry & (1 << 36) - 1, 100)
    assert rig.reader(kind).result(small) == lib.FLASH_READ_CORRUPT


def test_damage_is_counted_where_it_is(tmp_path: Path, kind: str) -> None:
    """Each time that it is read, for the path that it came from."""
    with Rig(tmp_path / "log", more_paths=1) as rig:
        records = rig.write_random(700, (700, 900))
        record = next(record for record in records if rig.path_of(record) == 1)
        # Page 1 is the first of its path.
        assert record.page == 1
        with open(tmp_path / "log1", "r+b") as file:
            file.seek(record.file_offset - rig.page_bytes + HEADER_BYTES)
            file.write(b"\0" * 8)
        reader = rig.reader(kind)
        for _ in range(3):
            assert reader.result(record) == lib.FLASH_READ_CORRUPT
        assert reader.result(records[0]) == lib.FLASH_READ_GOOD
        assert [rig.path_state(path).bad_records for path in range(2)] == [0, 3]
        assert [rig.path_state(path).read_errors for path in range(2)] == [0, 0]


def test_a_record_of_an_older_page(rig: Rig, kind: str) -> None:
    """Its checksum is right, but it is a leftover."""
    [record] = rig.write([b"x" * 300])
    leftover = os.pread(rig.file, 512, record.file_offset)
    rig.drop_page(record.page)
    [again] = rig.write([b"x" * 300])
    assert again.entry == record.entry
    os.pwrite(rig.file, leftover, again.file_offset)
    assert rig.reader(kind).result(again) == lib.FLASH_READ_CORRUPT


def test_what_is_bad_is_read_again(rig: Rig, kind: str) -> None:
    [record] = rig.write([b"x" * 300])
    reader = rig.reader(kind)
    place = record.file_offset + 100
    os.pwrite(rig.file, b"!", place)
    first = reader.begin(record)
    reader.finish(first)
    assert reader.state().memory_bytes == 0
    os.pwrite(rig.file, b"x", place)
    second = reader.begin(record)
    assert second != first
    reader.finish(second)
    assert (first.result, second.result) == (lib.FLASH_READ_CORRUPT, lib.FLASH_READ_GOOD)
    reader.release(first)
    reader.release(second)
    assert reader.is_idle()


def test_a_file_that_was_cut_off(rig: Rig, kind: str) -> None:
    [record] = rig.write([b"x" * 300])
    os.ftruncate(rig.file, 0)
    reader = rig.reader(kind)
    assert reader.result(record) == lib.FLASH_READ_FAILED
    assert rig.path_state().read_errors == rig.counters()["ext_read_errors"] == 1
    assert reader.is_idle()


class TestFaults:
    pytestmark = pytest.mark.debug

    @pytest.mark.parametrize(
        ("fault", "result"),
        [
            ("EIO", "FAILED"),
            ("SHORT", "FAILED"),
            ("AGAIN", "REFUSED"),
            ("TORN", "CORRUPT"),
            ("FLIP", "CORRUPT"),
        ],
    )
    def test_two_of_many(self, rig: Rig, kind: str, fault: str, result: str) -> None:
        records = rig.write([bytes([i]) * 8000 for i in range(20)])
        reader = rig.reader(kind)
        rig.fault(getattr(lib, f"FLASH_FAULT_{fault}"), skip=3, count=2)
        reads = [reader.begin(record) for record in records]
        for read in reads:
            reader.wait(read, read)
        reader.submit()
        reader.reap_all(len(reads))
        bad = [read for read in reads if read.result != lib.FLASH_READ_GOOD]
        assert [read.result for read in bad] == [getattr(lib, f"FLASH_READ_{result}")] * 2
        # What the system refused says nothing of the path.
        assert rig.path_state().read_errors == (2 if result == "FAILED" else 0)
        assert rig.path_state().bad_records == (2 if result == "CORRUPT" else 0)
        errors = 2 if result in ("FAILED", "REFUSED") else 0
        assert rig.counters()["ext_read_errors"] == errors
        for read in reads:
            reader.release(read)
        assert reader.is_idle()

    def test_a_slow_read_holds_up_nobody(self, rig: Rig, kind: str) -> None:
        records = rig.write_random(20, (100, 1000))
        reader = rig.reader(kind)
        rig.fault(lib.FLASH_FAULT_SLOW, skip=2, count=1, slow_us=100_000)
        reads = [reader.begin(record) for record in records]
        for read in reads:
            reader.wait(read, read)
        reader.submit()
        reader.reap_all(len(reads) - 1)
        [slow] = [read for read in reads if read.state == lib.FLASH_READ_UNDER_WAY]
        assert reader.reap_all(1) == [slow]
        assert slow.result == lib.FLASH_READ_GOOD
        # 2^16 us and longer.
        assert sum(rig.read_times()[17:]) == 1

    @pytest.mark.slow
    def test_slow_reads_are_counted(self, rig: Rig, kind: str) -> None:
        [record] = rig.write([b"x" * 300])
        reader = rig.reader(kind)
        rig.fault(lib.FLASH_FAULT_SLOW, count=1, slow_us=1_050_000)
        assert reader.result(record) == lib.FLASH_READ_GOOD
        assert reader.result(record) == lib.FLASH_READ_GOOD
        assert rig.path_state().slow_reads == 1

    def test_the_page_goes_while_a_read_is_slow(self, rig: Rig, kind: str) -> None:
        [record] = rig.write([b"x" * 300])
        reader = rig.reader(kind)
        rig.fault(lib.FLASH_FAULT_SLOW, count=1, slow_us=50_000)
        read = reader.begin(record)
        reader.wait(read, "it")
        reader.submit()
        rig.drop_page(record.page)
        [again] = rig.write([b"x" * 300])
        assert again.entry == record.entry
        assert reader.reap_all(1) == ["it"]
        assert rig.path_state().bad_records == 0
        assert read.result == lib.FLASH_READ_GONE
        reader.release(read)

    def test_close_waits_for_a_slow_read(self, rig: Rig, kind: str) -> None:
        records = rig.write_random(5, (100, 70000 // 2))
        reader = rig.reader(kind)
        rig.fault(lib.FLASH_FAULT_SLOW, slow_us=30_000)
        reads = [reader.begin(record) for record in records]
        reader.wait(reads[0], "it")
        reader.submit()
        reader.reap_some()
        reader.close()
