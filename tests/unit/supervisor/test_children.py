"""What the supervisor notes of its children: stopped, going on, killed by whom."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from pymc.core.arena import Role
from pymc.core.process import fork_child
from pymc.messages.signals import KILL_CHILD
from pymc.supervisor import children as children_module
from pymc.supervisor.children import Child, Children
from tests.support.children import in_a_process
from tests.support.deadline import wait_until


def start(kind: Role, slot: int) -> int:
    """Forks a process as a launcher does, one that stops itself."""
    pid = fork_child()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        signal.pause()
        os._exit(0)
    return pid


# Slots of processes that have ended, in the process of the scene.
GONE: list[int] = []


def in_a_supervisor(scene: Callable[[Children, Child], None]) -> None:
    """Runs the scene in a process of its own, whose only child stops itself."""

    def with_a_child() -> None:
        children = Children(start, GONE.append)
        children.add(Role.WORKER, (0, 7))
        children.start_due()
        (child,) = children.living
        scene(children, child)

    in_a_process(with_a_child)


def until(children: Children, condition: Callable[[], bool], what: str) -> None:
    def look() -> bool:
        children.reap()
        return condition()

    wait_until(look, what)


def test_a_stop_is_noted_and_its_end() -> None:
    def scene(children: Children, child: Child) -> None:
        until(children, lambda: child.is_stopped, "it is stopped")
        assert children.living == [child]
        os.kill(child.pid, signal.SIGCONT)
        until(children, lambda: not child.is_stopped, "it goes on")
        os.kill(child.pid, signal.SIGKILL)
        until(children, lambda: children.absent == [child], "it is gone")

    in_a_supervisor(scene)


def test_a_child_that_is_not_ready_survives_a_hangup() -> None:
    """Workers are told by a signal that the users were read again, and one may just be starting."""

    def scene(children: Children, child: Child) -> None:
        until(children, lambda: child.is_stopped, "it is stopped")
        os.kill(child.pid, signal.SIGHUP)
        os.kill(child.pid, signal.SIGCONT)
        until(children, lambda: not child.is_stopped, "it goes on, or dies")
        assert children.living == [child]
        os.kill(child.pid, signal.SIGSTOP)
        until(children, lambda: child.is_stopped or not children.living, "it is there, or dead")
        assert children.living == [child]
        os.kill(child.pid, signal.SIGKILL)
        until(children, lambda: children.absent == [child], "it is gone")

    in_a_supervisor(scene)


def test_the_watchdogs_kill_is_a_crash() -> None:
    """A kill from outside ends a row of crashes after a tenth of a second."""

    def scene(children: Children, child: Child) -> None:
        child.deaths_in_row = 1
        child.started -= 1.0
        children.kill(child)
        until(children, lambda: child.deaths_in_row == 2, "it counts")
        children.start_due()
        child.started -= 1.0
        os.kill(child.pid, signal.SIGKILL)
        until(children, lambda: child.deaths_in_row == 1, "it does not")

    in_a_supervisor(scene)


def test_of_the_watchdogs_kill_there_is_one_line_already(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(children_module, "say", said.append)

    def scene(children: Children, child: Child) -> None:
        children.kill(child)
        until(children, lambda: not child.pid, "it is gone")
        assert said == []
        # When it is not started at once that is said all the same.
        child.due = 0.0
        child.deaths_in_row = 5
        children.start_due()
        children.kill(child)
        until(children, lambda: not child.pid, "it is gone")
        assert len(said) == 1 and "starting it again in" in said[0]
        # A stop of the server says nothing.
        child.due = 0.0
        children.start_due()
        children.is_stopping = True
        os.kill(child.pid, signal.SIGKILL)
        until(children, lambda: not child.pid, "it is gone")
        assert len(said) == 1

    in_a_supervisor(scene)


def test_who_was_stopped_and_died_is_not_stopped() -> None:
    def scene(children: Children, child: Child) -> None:
        until(children, lambda: child.is_stopped, "it is stopped")
        children.kill(child)
        until(children, lambda: not child.pid, "it is gone")
        assert not child.is_stopped

    in_a_supervisor(scene)


class Memory:
    """Tells of kills for want of memory as a kernel counts them."""

    def __init__(self) -> None:
        self.has_run_out = False

    def has_risen(self) -> bool:
        risen, self.has_run_out = self.has_run_out, False
        return risen

    def advice(self) -> str:
        return "buy some"


def test_who_was_killed_for_want_of_memory_waits_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(children_module, "say", said.append)

    def scene() -> None:
        memory = Memory()
        children = Children(start, oom=memory)
        children.add(Role.WORKER, (0,))
        children.add(Role.WORKER, (1,))
        children.start_due()
        first, second = children.living
        pauses = []
        for child in (first, second):
            memory.has_run_out = True
            died = time.monotonic()
            os.kill(child.pid, signal.SIGKILL)
            until(children, lambda one=child: not one.pid, "it is gone")  # type: ignore[misc]
            pauses.append(child.due - died)
        assert 1.0 <= pauses[0] < 2.0 <= pauses[1]
        assert said[0].endswith(
            "was killed by SIGKILL because memory ran out (buy some); starting it again in 1.00 s"
        )
        # Long after the last such kill the next one is the first again.
        second.due = 0.0
        children.start_due()
        children._oom_killed -= 120.0
        memory.has_run_out = True
        os.kill(second.pid, signal.SIGKILL)
        until(children, lambda: not second.pid, "it is gone")
        assert said[-1].endswith("(buy some); starting it again in 1.00 s")
        # Somebody else's kill costs no time, and says nothing of memory.
        first.due = 0.0
        children.start_due()
        first.started -= 10.0
        os.kill(first.pid, signal.SIGKILL)
        until(children, lambda: not first.pid, "it is gone")
        assert said[-1].endswith("was killed by SIGKILL; starting it again")
        children.send(KILL_CHILD)

    in_a_process(scene)


def test_who_is_killed_and_does_not_go_gets_a_successor() -> None:
    """A process that waits for a device in the kernel cannot be made here: one that is stopped and
    not killed yet looks the same to its parent.
    """

    def scene(children: Children, child: Child) -> None:
        until(children, lambda: child.is_stopped, "it is stopped")
        stuck = child.pid
        child.was_killed = True
        children.give_up(child)
        assert [(one.pid, one.slot) for one in children.given_up] == [(stuck, 0)]
        assert (child.slot, child.spare_slots, child.was_killed) == (7, [], False)
        children.start_due()
        assert children.living == [child]
        assert child.pid not in (0, stuck)
        assert GONE == []
        os.kill(stuck, signal.SIGKILL)
        until(children, lambda: not children.given_up, "it is gone")
        # Its slot is there for the next one.
        assert (child.slot, child.spare_slots, GONE) == (7, [0], [0])
        os.kill(child.pid, signal.SIGKILL)
        until(children, lambda: children.absent == [child], "its successor is gone too")
        assert GONE == [0, 7]

    in_a_supervisor(scene)
