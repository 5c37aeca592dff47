"""Reads that the device never answers: deadlines, what others keep, and what comes back."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymc.core.ffi import ffi, lib, text
from tests.support.core.flash_reader_rig import KIB, KINDS, Reader, Record, Rig, body_of
from tests.support.deadline import wait_until

pytestmark = [
    pytest.mark.parametrize("kind", sorted(KINDS)),
    pytest.mark.debug,
    pytest.mark.debug,
]

# One thread for each path, so that it is known which reads hang at the device.
AT_DEVICE = {"io_uring": 4, "threads": 1}
NEVER = 2**64 - 1
# Who comes later than this to a deadline, or more, stood still itself.
SPARE_US = 100_000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path / "log", more_paths=1) as made:
        yield made
        made.fault(lib.FLASH_FAULT_NONE)
        for reader in made.readers:
            drain(reader)


def open_reader(rig: Rig, kind: str, **changes: Any) -> Reader:
    return rig.reader(kind, **{"depth": 4, "threads": 1, **changes})


def records_on(
    rig: Rig, each: int, sizes: tuple[int, int] = (500, 900)
) -> tuple[list[Record], list[Record]]:
    """So many records on each of the two paths."""
    found: tuple[list[Record], list[Record]] = ([], [])
    while min(map(len, found)) < each:
        seed = len(found[0]) + len(found[1])
        for record in rig.write_random(max(1, 200_000 // sizes[1]), sizes, seed):
            found[rig.path_of(record)].append(record)
    return found[0][:each], found[1][:each]


def begin_all(reader: Reader, records: list[Record]) -> list[Any]:
    """Begins a read of each, waits for it by itself as a name, and hands them over."""
    reads = [reader.begin(record) for record in records]
    for read in reads:
        reader.wait(read, read)
    reader.submit()
    return reads


def due_us(reader: Reader, met: int = 1) -> int:
    """The first deadline, once so many reads hang at the device."""
    wait_until(lambda: lib.flash_fault_met(reader.rig.flash) >= met, "a read is at the device")
    return reader.due_us()


def release_all(reader: Reader, reads: list[Any]) -> None:
    for read in reads:
        reader.release(read)


def drain(reader: Reader) -> None:
    """Until the device has nothing any more."""

    def is_drained() -> bool:
        reader.reap()
        state = reader.state()
        return bool(state.reads_given_up == state.reads_under_way == 0)

    if reader.reader != ffi.NULL:
        wait_until(is_drained, "the device gives back what it has")


def hang(rig: Rig, **changes: int) -> None:
    rig.fault(lib.FLASH_FAULT_HANG, **{"path": 0, **changes})


def test_a_path_that_hangs_keeps_no_other(rig: Rig, kind: str) -> None:
    stuck, healthy = records_on(rig, 20)
    reader = open_reader(rig, kind)
    hang(rig)
    hung = begin_all(reader, stuck)
    for record in healthy:
        read = reader.begin(record)
        reader.finish(read)
        assert body_of(read, record) == record.body
        reader.release(read)
    assert {read.state for read in hung} == {lib.FLASH_READ_UNDER_WAY, lib.FLASH_READ_QUEUED}
    reader.reap(due_us(reader))
    release_all(reader, hung)


def test_at_the_deadline_all_who_wait_go_on(rig: Rig, kind: str) -> None:
    """Also those whose read never came to the device; what it has stays allocated."""
    stuck, _healthy = records_on(rig, 10)
    reader = open_reader(rig, kind)
    hang(rig)
    reads = begin_all(reader, stuck)
    due = due_us(reader)
    assert reader.reap(due - 1) == []
    assert not rig.path_state().is_late
    assert sorted(map(id, reader.reap(due))) == sorted(map(id, reads))
    assert {(read.state, read.result) for read in reads} == {
        (lib.FLASH_READ_DONE, lib.FLASH_READ_LATE)
    }
    assert all(read.record == ffi.NULL for read in reads)
    state, path = reader.state(), rig.path_state()
    assert (state.reads_under_way, state.reads_queued) == (0, 0)
    assert state.reads_given_up == path.late_reads == AT_DEVICE[kind]
    # A read of them takes one slot or the next larger one.
    assert AT_DEVICE[kind] * KIB <= state.memory_bytes <= AT_DEVICE[kind] * 8 * KIB
    assert (path.is_late, path.times_late, path.read_errors) == (True, 1, 0)
    assert not rig.path_state(1).is_late
    assert reader.due_us() == NEVER
    assert reader.submit() == 0
    release_all(reader, reads)


def test_what_was_given_up_comes_back(rig: Rig, kind: str) -> None:
    """Also where somebody holds the read all the time."""
    stuck, _healthy = records_on(rig, 6)
    reader = open_reader(rig, kind)
    hang(rig)
    reads = begin_all(reader, stuck)
    reader.reap(due_us(reader))
    assert reader.state().memory_bytes > 0
    release_all(reader, reads[1:])
    rig.fault(lib.FLASH_FAULT_NONE)
    drain(reader)
    assert reader.is_idle()
    assert reads[0].result == lib.FLASH_READ_LATE
    reader.release(reads[0])
    # That is the keeper's to say.
    assert rig.path_state().is_late
    assert lib.flash_path_set_late(rig.flash, 0, False)
    assert not lib.flash_path_set_late(rig.flash, 0, False)
    assert [reader.result(record) for record in stuck] == [lib.FLASH_READ_GOOD] * 6
    assert rig.path_state().times_late == 1


def test_a_late_path_is_left_alone(rig: Rig, kind: str) -> None:
    stuck, healthy = records_on(rig, 3)
    reader = open_reader(rig, kind)
    known = reader.begin(stuck[0])
    reader.finish(known)
    assert lib.flash_path_set_late(rig.flash, 0, True)
    before = rig.counters()["ext_device_reads"]
    # What has been read is there, late or not.
    assert reader.begin(stuck[0]) == known
    late = reader.begin(stuck[1])
    assert (late.state, late.result) == (lib.FLASH_READ_DONE, lib.FLASH_READ_LATE)
    assert rig.counters()["ext_device_reads"] == before
    assert reader.result(healthy[0]) == lib.FLASH_READ_GOOD
    release_all(reader, [known, known, late])
    assert reader.is_idle()


def test_another_process_finds_it_late(rig: Rig, kind: str) -> None:
    """What waits its turn here goes on; what the device has may still be answered."""
    stuck, _healthy = records_on(rig, 6)
    reader = open_reader(rig, kind, depth=1)
    hang(rig)
    reads = begin_all(reader, stuck)
    assert lib.flash_path_set_late(rig.flash, 0, True)
    assert sorted(map(id, reader.reap())) == sorted(map(id, reads[1:]))
    rig.fault(lib.FLASH_FAULT_NONE)
    assert reader.reap_all(1) == [reads[0]]
    assert reads[0].result == lib.FLASH_READ_GOOD
    release_all(reader, reads)


def test_one_of_many_says_it(rig: Rig, kind: str) -> None:
    """Once, with the path's name, however many reads and readers meet it."""
    stuck, _healthy = records_on(rig, 3)
    told, told_to = os.pipe()
    log = lib.log_open(told_to, b"worker 0")
    readers = [open_reader(rig, kind, log=log) for _ in range(3)]
    hang(rig)
    held = [begin_all(reader, stuck) for reader in readers]
    for reader, reads in zip(readers, held, strict=True):
        reader.reap(due_us(reader, len(readers)))
        release_all(reader, reads)
    assert rig.path_state().late_reads == 3 * min(AT_DEVICE[kind], 3)
    assert rig.path_state().times_late == 1
    os.close(told_to)
    with os.fdopen(told, "rb") as lines:
        said = lines.read().splitlines()
    lib.log_close(log)
    assert len(said) == 1
    assert b"/log: a read was not answered within 1000 ms" in said[0]


def test_what_was_given_up_may_leave_nothing_to_read_with(rig: Rig, kind: str) -> None:
    """The keeper says that the device answers, but this reader's own reads still hang."""
    stuck, healthy = records_on(rig, 6)
    reader = open_reader(rig, kind)
    hang(rig, count=AT_DEVICE[kind])
    release_all(reader, begin_all(reader, stuck[: AT_DEVICE[kind]]))
    reader.reap(due_us(reader))
    lib.flash_path_set_late(rig.flash, 0, False)
    assert reader.state().reads_given_up == AT_DEVICE[kind]
    assert reader.result(stuck[5]) == lib.FLASH_READ_LATE
    assert reader.result(healthy[5]) == lib.FLASH_READ_GOOD
    rig.fault(lib.FLASH_FAULT_NONE)
    drain(reader)
    assert reader.result(stuck[5]) == lib.FLASH_READ_GOOD


def test_each_path_has_memory_of_its_own(rig: Rig, kind: str) -> None:
    stuck, healthy = records_on(rig, 9, (7000, 7500))
    reader = open_reader(rig, kind, depth=8, threads=1, memory_bytes=2 * 64 * KIB)
    hang(rig)
    reads = begin_all(reader, stuck[:4])
    assert reader.begin(stuck[4]) is None
    reader.wait(None, "starving")
    assert [reader.result(record) for record in healthy] == [lib.FLASH_READ_GOOD] * 9
    woken = reader.reap(due_us(reader))
    assert "starving" in woken
    assert len(woken) == 5
    assert reader.result(stuck[4]) == lib.FLASH_READ_LATE
    release_all(reader, reads)


def test_memory_that_only_the_device_can_give_back_is_not_waited_for(rig: Rig, kind: str) -> None:
    stuck, _healthy = records_on(rig, 3, (50000, 60000))
    reader = open_reader(rig, kind, depth=8, threads=2, memory_bytes=2 * 64 * KIB)
    hang(rig, count=1)
    release_all(reader, begin_all(reader, stuck[:1]))
    reader.reap(due_us(reader))
    lib.flash_path_set_late(rig.flash, 0, False)
    assert reader.result(stuck[1]) == lib.FLASH_READ_LATE
    rig.fault(lib.FLASH_FAULT_NONE)
    drain(reader)
    assert reader.result(stuck[1]) == lib.FLASH_READ_GOOD


def test_who_stood_still_itself_looks_again(rig: Rig, kind: str) -> None:
    stuck, _healthy = records_on(rig, 3)
    reader = open_reader(rig, kind)
    hang(rig)
    reads = begin_all(reader, stuck)
    now = due_us(reader) + SPARE_US + 1
    assert reader.reap(now) == []
    assert reader.due_us() == now + SPARE_US
    assert reader.reap(now + SPARE_US - 1) == []
    assert len(reader.reap(now + 10 * SPARE_US)) == 3
    release_all(reader, reads)


def test_the_deadline_is_a_live_setting(rig: Rig, kind: str) -> None:
    stuck, _healthy = records_on(rig, 1)
    reader = open_reader(rig, kind)
    hang(rig)
    reads = begin_all(reader, stuck)
    before = due_us(reader)
    rig.arena.set_live("ext_read_timeout_ms", 1500)
    assert reader.due_us() == before + 500_000
    assert reader.reap(before) == []
    assert len(reader.reap(before + 500_000)) == 1
    release_all(reader, reads)


def test_what_nobody_wants_any_more_hangs_too(rig: Rig, kind: str) -> None:
    stuck, _healthy = records_on(rig, 6)
    reader = open_reader(rig, kind)
    hang(rig)
    reads = [reader.begin(record) for record in stuck]
    reader.submit()
    release_all(reader, reads)
    assert reader.reap(due_us(reader)) == []
    assert reader.state().reads_given_up == AT_DEVICE[kind]
    assert rig.path_state().is_late


@pytest.mark.skipif(
    text(lib.pymc_build_variant()) == "tsan", reason="it wants no threads in forked processes"
)
@pytest.mark.parametrize("is_given_up", [False, True])
def test_closing_does_not_wait_for_ever(rig: Rig, kind: str, is_given_up: bool) -> None:
    stuck, _healthy = records_on(rig, 6)
    child = os.fork()
    if child == 0:
        # What still hangs is left to the end of the process.
        reader = open_reader(rig, kind)
        hang(rig)
        release_all(reader, begin_all(reader, stuck))
        if is_given_up:
            reader.reap(due_us(reader))
        lib.flash_reader_close(reader.reader)
        os._exit(0)
    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended.extend([status] if pid else [])
        return bool(pid)

    wait_until(has_ended, "the reader is closed")
    assert ended == [0]
