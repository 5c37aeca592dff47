"""Which write buffers the keeper sends off, when it tries again, and what it gives back."""

import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pymc.core.flash import Bucket
from pymc.core.writeout import STATUS_GOOD, STATUS_PAGE_GONE, BufferInfo, BufferState, WriteBuffers
from pymc.keeper import writer as writer_module
from pymc.keeper.flash_health import Health
from pymc.keeper.io_thread import IoThreads
from pymc.keeper.writer import Writer
from pymc.policy.path_recovery import FULL_SECONDS
from pymc.record import replace
from tests.support.path_rig import Rig

FAILED = 9


class Buffers:
    """Buffers without memory: each is what the test says."""

    wake_fd = -1

    def __init__(self, count: int) -> None:
        self.count = count
        self.infos = [
            BufferInfo(number, BufferState.FREE, 0, 0, 0, 0, False, False)
            for number in range(count)
        ]
        self.log: list[tuple[object, ...]] = []
        self.has_page = True
        self.is_being_filled = False

    def change(self, number: int, **changes: object) -> None:
        self.infos[number] = replace(self.infos[number], **changes)

    def read(self) -> list[BufferInfo]:
        return list(self.infos)

    def read_one(self, number: int) -> BufferInfo:
        return self.infos[number]

    def wanted(self) -> frozenset[int]:
        return frozenset()

    def begin(self, number: int, bucket: int) -> bool:
        if self.has_page:
            self.log.append(("begin", bucket))
            self.change(number, state=BufferState.FILLING, bucket=bucket)
        return self.has_page

    def close(self, number: int) -> None:
        self.log.append(("close", number))
        self.change(number, is_closed=True)

    def seal(self, number: int) -> int:
        if self.is_being_filled:
            return 0
        self.change(number, state=BufferState.SEALED)
        return 4096

    def write(self, number: int) -> tuple[int, int]:
        return STATUS_GOOD, 0

    def finish(self, number: int, status: int) -> int:
        self.log.append(("finish", number, status))
        self.change(number, state=BufferState.FREE, is_closed=False)
        return 0

    def release(self, kept: int) -> int:
        self.log.append(("release", kept))
        return 0


class Threads:
    """Writes that end when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[int, Callable[[tuple[int, int]], None]]] = []

    def submit(self, path: int, work: object, finish: Callable[[tuple[int, int]], None]) -> None:
        self.jobs.append((path, finish))

    def end(self, status: int = STATUS_GOOD, error: int = 0) -> None:
        self.jobs.pop(0)[1]((status, error))


class Heard:
    """Hears how writes went."""

    is_any_left = True

    def __init__(self) -> None:
        self.writes: list[tuple[int, bool]] = []
        self.full: list[int] = []

    def wrote(self, path: int, *, is_good: bool) -> None:
        self.writes.append((path, is_good))

    def was_full(self, path: int) -> None:
        self.full.append(path)

    def index_was_full(self) -> None:
        """Never, here."""


class Bench:
    """A writer with fake time and everything else faked around it."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.buffers, self.threads, self.health = Buffers(8), Threads(), Heard()
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(writer_module, "time", clock)
        threads, health = cast(Any, self.threads), cast(Any, self.health)
        self.writer = Writer(rig.store, rig.flash, cast(IoThreads, threads), cast(Health, health))
        self.writer._buffers = cast(WriteBuffers, cast(Any, self.buffers))

    def closed(self, number: int, path: int = 0) -> None:
        self.buffers.change(number, state=BufferState.FILLING, is_closed=True, path=path)


@pytest.fixture
def bench(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(rig, monkeypatch)


def test_a_closed_buffer_is_written_once_by_its_paths_thread(bench: Bench) -> None:
    bench.closed(3, path=1)
    assert bench.writer.step() == 0.25
    bench.writer.step()
    assert [path for path, _ in bench.threads.jobs] == [1]
    assert bench.writer.under_way == {3}
    bench.threads.end()
    assert ("finish", 3, STATUS_GOOD) in bench.buffers.log
    assert (bench.health.writes, bench.writer.under_way) == ([(1, True)], set())


def test_a_failed_write_is_over_and_said(bench: Bench) -> None:
    bench.closed(0)
    bench.writer.step()
    bench.threads.end(FAILED, errno.EIO)
    assert ("finish", 0, FAILED) in bench.buffers.log
    assert bench.health.writes == [(0, False)]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_what_found_no_room_keeps_its_buffer_and_is_tried_again_later(
    bench: Bench, error: int
) -> None:
    bench.closed(0)
    bench.writer.step()
    bench.threads.end(FAILED, error)
    assert not [entry for entry in bench.buffers.log if entry[0] == "finish"]
    assert (bench.health.full, bench.health.writes) == ([0], [])
    bench.now += FULL_SECONDS - 0.1
    bench.writer.step()
    assert not bench.threads.jobs
    bench.now += 0.2
    bench.writer.step()
    assert len(bench.threads.jobs) == 1
    bench.threads.end()
    assert ("finish", 0, STATUS_GOOD) in bench.buffers.log
    # What comes into that buffer next does not wait.
    bench.closed(0)
    bench.writer.step()
    assert len(bench.threads.jobs) == 1


def test_who_still_fills_a_buffer_is_waited_for(bench: Bench) -> None:
    bench.closed(0)
    bench.buffers.is_being_filled = True
    assert bench.writer.step() == 0.001
    assert not bench.threads.jobs
    bench.buffers.is_being_filled = False
    assert bench.writer.step() == 0.25
    assert len(bench.threads.jobs) == 1


def test_what_nobody_will_read_is_closed_and_not_written(bench: Bench) -> None:
    bench.buffers.change(0, state=BufferState.FILLING, is_page_gone=True)
    bench.writer.step()
    assert ("close", 0) in bench.buffers.log
    assert ("finish", 0, STATUS_PAGE_GONE) in bench.buffers.log
    assert not bench.threads.jobs


def test_memory_goes_back_once_nobody_has_filled_a_buffer_for_ten_seconds(bench: Bench) -> None:
    released = ("release", 1)
    bench.closed(0)
    bench.writer.step()
    bench.threads.end()
    bench.now += 9.9
    bench.writer.step()
    assert released not in bench.buffers.log
    bench.now += 0.2
    bench.writer.step()
    bench.now += 60
    bench.writer.step()
    # Once, as long as none is filled.
    assert bench.buffers.log.count(released) == 1
    bench.closed(0)
    bench.writer.step()
    bench.threads.end()
    bench.now += 11
    bench.writer.step()
    assert bench.buffers.log.count(released) == 2


def test_nothing_goes_back_before_a_buffer_was_filled(bench: Bench) -> None:
    bench.now += 60
    bench.writer.step()
    assert ("release", 1) not in bench.buffers.log


def test_waiting_for_a_page_is_counted_from_its_begin_and_only_while_asked(bench: Bench) -> None:
    bench.buffers.has_page = False
    bench.writer.step()
    assert bench.writer.needs_page
    bench.now += 0.2
    bench.writer.step()
    assert bench.writer.waits_seconds(rescues=False) == pytest.approx(0.2)
    assert bench.writer.waits_seconds(rescues=True) == 0.0
    bench.now += 0.3
    # Nobody has asked lately.
    assert bench.writer.waits_seconds(rescues=False) == 0.0
    bench.buffers.has_page = True
    bench.writer.step()
    assert ("begin", Bucket.DEFAULT) in bench.buffers.log
    assert bench.writer.waits_seconds(rescues=False) == 0.0


def test_rescues_wait_for_themselves(bench: Bench) -> None:
    bench.buffers.has_page = False
    bench.writer.want(Bucket.OLD)
    bench.writer.step()
    bench.now += 0.1
    bench.writer.want(Bucket.OLD)
    bench.writer.step()
    assert bench.writer.waits_seconds(rescues=True) == pytest.approx(0.1)


def test_without_a_path_nobody_waits_for_a_page(bench: Bench) -> None:
    bench.health.is_any_left = False
    bench.buffers.has_page = False
    bench.writer.step()
    assert not bench.writer.needs_page
    assert bench.writer.waits_seconds(rescues=False) == 0.0
