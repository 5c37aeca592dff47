"""Threads that wait for devices: one for each path, so that a job that hangs stops no other's."""

import os
import threading
from collections.abc import Iterator

import pytest

from pymc.keeper.io_thread import IoThreads
from tests.support.deadline import wait_until


class Rig:
    """Threads whose jobs may be made to hang, and what was heard of paths."""

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.noted: list[tuple[int, bool]] = []
        self.threads = IoThreads("test", self.wake_fd, lambda *note: self.noted.append(note))
        self.gates: list[threading.Event] = []
        self.done: list[object] = []

    def hang(self, path: int) -> threading.Event:
        """A job that ends when the gate is opened."""
        gate, begun = threading.Event(), threading.Event()
        self.gates.append(gate)

        def work() -> str:
            begun.set()
            gate.wait()
            return f"hung {path}"

        self.threads.submit(path, work, self.done.append)
        begun.wait()
        return gate

    def until_done(self, wanted: list[object]) -> None:
        def look() -> bool:
            self.threads.finish()
            return self.done == wanted

        wait_until(look, f"{wanted} are done")

    def close(self) -> None:
        for gate in self.gates:
            gate.set()
        self.threads.close()
        os.close(self.wake_fd)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def test_a_job_that_hangs_holds_up_its_own_path_only(rig: Rig) -> None:
    gate = rig.hang(1)
    rig.threads.submit(1, lambda: "behind it", rig.done.append)
    rig.threads.submit(0, lambda: "other", rig.done.append)
    rig.until_done(["other"])
    assert rig.threads.late_seconds(1) > 0
    assert rig.threads.late_seconds(0) == rig.threads.late_seconds(2) == 0
    assert [rig.threads.pending(path) for path in range(3)] == [0, 2, 0]
    gate.set()
    rig.until_done(["other", "hung 1", "behind it"])
    assert rig.threads.late_seconds(1) == 0


def test_a_job_under_way_grows_late(rig: Rig) -> None:
    rig.hang(0)
    first = rig.threads.late_seconds(0)
    wait_until(lambda: rig.threads.late_seconds(0) > first, "it is later")


def test_threads_are_made_when_they_are_needed(rig: Rig) -> None:
    before = threading.active_count()
    rig.hang(5)
    assert threading.active_count() == before + 1
    rig.threads.submit(5, lambda: None, rig.done.append)
    assert threading.active_count() == before + 1


def test_first_and_last_jobs_of_a_path_are_noted(rig: Rig) -> None:
    gate = rig.hang(1)
    rig.threads.submit(1, lambda: "second", rig.done.append)
    assert rig.noted == [(1, True)]
    gate.set()
    rig.until_done(["hung 1", "second"])
    assert rig.noted == [(1, True), (1, False)]


def test_a_job_that_raises_is_logged_and_over(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("no such job")

    rig.threads.submit(0, fail, rig.done.append)
    rig.threads.submit(0, lambda: "next", rig.done.append)
    rig.until_done(["next"])
    assert "no such job" in capfd.readouterr().err
    assert rig.threads.pending(0) == 0
    assert rig.noted[-1] == (0, False)
