"""Reads from flash by both back ends: bytes, coalescing, pages that go, memory, waiters."""

import errno
import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_reader_rig import (
    BLOCK_BYTES,
    HEADER_BYTES,
    KIB,
    KINDS,
    MIB,
    Record,
    Rig,
    body_of,
    entry_of,
)
from tests.support.deadline import WAIT_SECONDS

pytestmark = pytest.mark.parametrize("kind", sorted(KINDS))


@pytest.fixture(params=[False, True], ids=["direct", "buffered"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path / "log", avoid_direct=request.param) as made:
        yield made


def test_one_read(rig: Rig, kind: str) -> None:
    [record] = rig.write([b"x" * 300])
    reader = rig.reader(kind)
    assert lib.flash_reader_kind(reader.reader) == KINDS[kind]
    read = reader.begin(record)
    assert (read.state, read.holds) == (lib.FLASH_READ_QUEUED, 1)
    reader.wait(read, "it")
    assert reader.submit() == 1
    assert read.state == lib.FLASH_READ_UNDER_WAY
    assert reader.reap_all(1) == ["it"]
    assert (read.state, read.result) == (lib.FLASH_READ_DONE, lib.FLASH_READ_GOOD)
    assert body_of(read, record) == record.body
    assert reader.submit() == 0
    reader.release(read)
    assert reader.is_idle()
    counters = rig.counters()
    assert counters["ext_objects_read"] == counters["ext_device_reads"] == 1
    assert counters["ext_bytes_read"] == 312
    assert counters["ext_device_bytes_read"] in (512, 1024, BLOCK_BYTES)
    assert sum(rig.read_times()) == 1


def test_records_of_all_sizes_at_all_places(rig: Rig, kind: str) -> None:
    """Across sectors and blocks, at the start of a page's data, and up to a page's last byte."""
    sizes = [16, 17, 100, 116, 117, 500, 501, 4084, 4085, 9000, 30000, 61428, 59000]
    bodies = [bytes([i]) * size for i, size in enumerate(sizes)]
    records = rig.write(bodies * 3)
    reader = rig.reader(kind)
    for record in records:
        assert record.file_offset % rig.page_bytes >= BLOCK_BYTES
        read = reader.begin(record)
        reader.finish(read)
        assert read.result == lib.FLASH_READ_GOOD
        assert body_of(read, record) == record.body
        reader.release(read)
    assert reader.is_idle()


def test_the_last_record_of_a_page(rig: Rig, kind: str) -> None:
    """Its size class reaches beyond the page, and on the last page beyond the file."""
    rest = 64 * KIB - 40000 - 1040
    records = []
    for _page in range(4):
        records += rig.write([b"f" * (60 * KIB - HEADER_BYTES)])
        for _buffer in range(3):
            records += rig.write([b"m" * (size - HEADER_BYTES) for size in (40000, rest, 1040)])
    last = [r for r in records if (r.file_offset + 1040) % rig.page_bytes == 0]
    assert len(last) == 4
    reader = rig.reader(kind)
    for record in last:
        assert reader.result(entry_of(record.entry & (1 << 36) - 1, 40000)) == lib.FLASH_READ_GOOD


def test_many_at_once(rig: Rig, kind: str) -> None:
    records = rig.write_random(600, (16, 900))
    # On a tmpfs a direct read takes whole blocks.
    reader = rig.reader(kind, depth=8, memory_bytes=8 * MIB)
    reads = {}
    for record in records:
        reads[record.entry] = reader.begin(record)
        reader.wait(reads[record.entry], record)
    assert reader.submit() == 600
    state = reader.state()
    assert (state.reads_under_way, state.reads_queued) == (8, 592)
    woken = reader.reap_all(600)
    assert sorted(r.entry for r in woken) == sorted(reads)
    for record in records:
        assert body_of(reads[record.entry], record) == record.body
        reader.release(reads[record.entry])
    assert reader.is_idle()


@pytest.mark.slow
def test_ten_thousand_random_reads(rig: Rig, kind: str) -> None:
    records = rig.write_random(900, (16, 1500), seed=5)
    source = random.Random(7)
    reader = rig.reader(kind, depth=16)
    begun = done = 0
    reads = {}
    while done < 10_000:
        while begun - done < 40 and begun < 10_000:
            record = records[source.randrange(len(records))]
            reads[begun] = (reader.begin(record), record)
            if reads[begun][0].state == lib.FLASH_READ_DONE:
                reader.release(reads.pop(begun)[0])
                continue
            reader.wait(reads[begun][0], begun)
            begun += 1
        reader.submit()
        for name in reader.reap_some():
            read, record = reads.pop(name)
            assert read.result == lib.FLASH_READ_GOOD
            assert body_of(read, record) == record.body
            reader.release(read)
            done += 1
    assert reader.is_idle()
    assert sum(rig.read_times()) == rig.counters()["ext_device_reads"]


def test_concurrent_reads_of_a_record_are_one(rig: Rig, kind: str) -> None:
    records = rig.write([b"a" * 200, b"b" * 200])
    reader = rig.reader(kind)
    first, second, other = (reader.begin(r) for r in (records[0], records[0], records[1]))
    assert first == second != other
    assert first.holds == 2
    for number, read in enumerate((first, other, second)):
        reader.wait(read, number)
    reader.submit()
    third = reader.begin(records[0])
    assert third == first
    woken = reader.reap_all(3)
    assert woken.index(0) < woken.index(2)
    fourth = reader.begin(records[0])
    assert (fourth, fourth.state) == (first, lib.FLASH_READ_DONE)
    counters = rig.counters()
    assert counters["ext_reads_coalesced"] == 2
    assert counters["ext_objects_read"] == counters["ext_device_reads"] == 2
    for read in (first, second, third, fourth):
        assert body_of(read, records[0]) == records[0].body
        reader.release(read)
    reader.release(other)
    assert reader.is_idle()
    assert reader.result(records[0]) == lib.FLASH_READ_GOOD
    assert rig.counters()["ext_device_reads"] == 3


def test_given_up_before_it_is_done(rig: Rig, kind: str) -> None:
    records = rig.write_random(3, (100, 100))
    reader = rig.reader(kind)
    queued, under_way, joined = (reader.begin(r) for r in records)
    reader.release(queued)
    waiter = reader.wait(under_way, "nobody")
    reader.submit()
    assert reader.state().reads_under_way == 2
    reader.unwait(waiter)
    reader.unwait(reader.wait(joined, "nobody"))
    reader.release(under_way)
    reader.release(joined)
    again = reader.begin(records[2])
    assert again == joined
    reader.finish(again)
    assert body_of(again, records[2]) == records[2].body
    reader.release(again)
    # The other one frees itself when its bytes are there.
    assert reader.result(records[1]) == lib.FLASH_READ_GOOD
    assert reader.is_idle()


def test_a_dropped_page_is_gone(rig: Rig, kind: str) -> None:
    [record] = rig.write([b"x" * 300])
    reader = rig.reader(kind)
    before, after = reader.begin(record), None
    reader.wait(before, "before")
    reader.submit()
    rig.drop_page(record.page)
    after = reader.begin(record)
    assert (after.state, after.result) == (lib.FLASH_READ_DONE, lib.FLASH_READ_GONE)
    reader.release(after)
    assert reader.reap_all(1) == ["before"]
    assert before.result == lib.FLASH_READ_GONE
    reader.release(before)
    assert reader.is_idle()


def test_a_reused_page_is_another(rig: Rig, kind: str) -> None:
    [old] = rig.write([b"o" * 300])
    reader = rig.reader(kind)
    before = reader.begin(old)
    reader.wait(before, "before")
    rig.drop_page(old.page)
    [new] = rig.write([b"n" * 300])
    assert new.entry == old.entry
    # Not submitted before: it will read the new record, but it is not what was asked for.
    now = reader.begin(new)
    assert now != before
    reader.wait(now, "now")
    reader.submit()
    assert sorted(reader.reap_all(2)) == ["before", "now"]
    assert (before.result, now.result) == (lib.FLASH_READ_GONE, lib.FLASH_READ_GOOD)
    assert body_of(now, new) == new.body
    reader.release(before)
    reader.release(now)
    assert reader.is_idle()


def test_a_path_out_of_service_is_not_read(rig: Rig, kind: str) -> None:
    [record] = rig.write([b"x" * 300])
    reader = rig.reader(kind)
    lib.flash_path_take_out(rig.flash, rig.proc, 0)
    assert reader.result(record) == lib.FLASH_READ_GONE
    assert rig.counters()["ext_device_reads"] == 0


def test_no_such_page(rig: Rig, kind: str) -> None:
    reader = rig.reader(kind)
    assert reader.result(entry_of((1 << 36) - 1, 100)) == lib.FLASH_READ_GONE
    assert reader.result(entry_of(0, 100)) == lib.FLASH_READ_GONE


def test_memory_is_bounded(rig: Rig, kind: str) -> None:
    records = rig.write_random(60, (3000, 3500))
    reader = rig.reader(kind, memory_bytes=64 * KIB)
    reads: list[Any] = []
    while (read := reader.begin(records[len(reads)])) is not None:
        reads.append(read)
    assert 1 < len(reads) <= 16
    assert reader.state().memory_bytes <= 64 * KIB
    assert reader.begin(records[0]) == reads[0]
    reader.release(reads[0])
    left = list(reversed(records[len(reads) :]))
    for record in reversed(left):
        reader.wait(None, record)
    order: list[Record] = []
    for read in reads:
        reader.finish(read)
        reader.release(read)
    while left:
        for record in reader.reap_some():
            order.append(record)
            read = reader.begin(record)
            assert read is not None
            left.remove(record)
            reader.finish(read)
            assert reader.state().memory_bytes <= 64 * KIB
            reader.release(read)
    assert order == records[len(reads) :]
    assert reader.is_idle()


def test_one_read_is_always_allowed(rig: Rig, kind: str) -> None:
    records = rig.write_random(3, (30000, 30000))
    reader = rig.reader(kind, memory_bytes=1000)
    first = reader.begin(records[0])
    assert first is not None
    assert reader.begin(records[1]) is None
    reader.wait(None, "second")
    assert reader.begin(records[2]) is None
    reader.wait(None, "third")
    reader.finish(first)
    assert not reader.reap()
    reader.release(first)
    assert reader.reap_some() == ["second"]
    # No read is under way whose end would tell.
    assert lib.flash_reader_has_done(reader.reader)
    # The one that was woken has gone away: the next one must not sleep for ever.
    assert reader.reap_some() == ["third"]
    assert reader.result(records[2]) == lib.FLASH_READ_GOOD
    assert reader.is_idle()


def test_nobody_overtakes_those_who_starve(rig: Rig, kind: str) -> None:
    [large, *small] = rig.write([b"l" * 30000, *(bytes([i]) * 600 for i in range(60))])
    reader = rig.reader(kind, memory_bytes=40 * KIB)
    held: list[Any] = []
    while reader.state().memory_bytes < 16 * KIB:
        held.append(reader.begin(small[len(held)]))
    assert reader.begin(large) is None
    reader.wait(None, "large")
    assert reader.begin(small[-1]) is None
    reader.wait(None, "small")
    for read in held:
        reader.finish(read)
    for read in held:
        reader.release(read)
    woken = reader.reap_some()
    assert woken[0] == "large"
    assert reader.begin(large) is not None


def test_large_reads_come_from_elsewhere(tmp_path: Path, kind: str) -> None:
    with Rig(tmp_path / "log", 2, 8 * MIB, 8 * MIB) as rig:
        records = rig.write_random(2, (3 * MIB, 3 * MIB))
        reader = rig.reader(kind, memory_bytes=16 * MIB)
        for record in records:
            read = reader.begin(record)
            reader.finish(read)
            assert body_of(read, record) == record.body
            reader.release(read)
        assert reader.is_idle()


@pytest.mark.parametrize("under_way", [0, 5])
def test_close_while_reads_are_under_way(rig: Rig, kind: str, under_way: int) -> None:
    records = rig.write_random(40, (16, 3000)) + rig.write_random(3, (50000, 60000))
    reader = rig.reader(kind, depth=4, memory_bytes=64 * KIB)
    reads = [reader.begin(record) for record in records[:under_way] + records[-3:]]
    if under_way:
        reader.submit()
        for read in reads[1:3]:
            reader.release(read)
    reader.close()


def test_each_end_is_a_new_edge(rig: Rig, kind: str) -> None:
    """Nothing but the descriptor is asked, and nothing is ever read from it."""
    records = rig.write_random(200, (16, 900))
    reader = rig.reader(kind)
    source = random.Random(11)
    while records:
        count = source.randint(1, 6)
        reads = [reader.begin(record) for record in records[:count]]
        for read in reads:
            reader.wait(read, read)
        reader.submit()
        woken = 0
        while woken < len(reads):
            assert reader.epoll.poll(WAIT_SECONDS)
            woken += len(reader.reap())
        for read in reads:
            reader.release(read)
        del records[:count]
    assert reader.is_idle()


def test_two_readers_do_not_know_each_other(rig: Rig, kind: str) -> None:
    [record] = rig.write([b"x" * 50])
    readers = [rig.reader(kind), rig.reader(kind)]
    reads = [reader.begin(record) for reader in readers]
    for reader, read in zip(readers, reads, strict=True):
        reader.finish(read)
        assert body_of(read, record) == record.body
        reader.release(read)
    assert rig.counters()["ext_reads_coalesced"] == 0


def test_without_io_uring(rig: Rig, kind: str) -> None:
    """A ring needs a second descriptor; with room for one, threads will do if they may."""
    options = ffi.new("struct flash_reader_options *")
    options.depth, options.threads, options.memory_bytes = 4, 1, MIB
    out = ffi.new("struct flash_reader **")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
    try:
        options.kind = lib.FLASH_READER_URING
        assert lib.flash_reader_open(rig.flash, rig.proc, options, out) == lib.PYMC_OS_ERROR
        assert ffi.errno == errno.EMFILE
        options.kind = lib.FLASH_READER_AUTO
        assert lib.flash_reader_open(rig.flash, rig.proc, options, out) == lib.PYMC_OK
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert lib.flash_reader_kind(out[0]) == lib.FLASH_READER_THREADS
    lib.flash_reader_close(out[0])


def test_options(rig: Rig, kind: str) -> None:
    options = ffi.new("struct flash_reader_options *")
    out = ffi.new("struct flash_reader **")
    for depth, bad_kind in ((0, 0), (5000, 0), (8, 3), (8, -1)):
        options.depth, options.kind, options.threads = depth, bad_kind, 1
        assert lib.flash_reader_open(rig.flash, rig.proc, options, out) == lib.PYMC_INVALID
        assert out[0] == ffi.NULL
    lib.flash_reader_close(ffi.NULL)
