"""Watching over processes that somebody else has started, until a signal ends them all."""

import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from pymc.auth_file import Users
from pymc.core.arena import Role
from pymc.core.engine import ListenerKind, ListenerOptions
from pymc.core.process import fork_child
from pymc.launch import Holdings
from pymc.launch.service import Service
from pymc.messages import Lifeline
from pymc.messages.signals import STOP_CHILD, WAITED_SIGNALS, SignalMessage
from pymc.record import replace
from pymc.server_context import ListeningAddress
from pymc.supervisor import watch as watch_module
from pymc.supervisor.children import Child, Children
from pymc.supervisor.watch import Watch
from tests.support.children import in_a_process
from tests.support.inprocess import in_process


def wait_for_end() -> int:
    """A process that does nothing until it is ended."""
    pid = fork_child()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITED_SIGNALS)
        while True:
            signal.pause()
    return pid


def test_processes_that_are_there_are_taken_over(capfd: pytest.CaptureFixture[str]) -> None:
    """As an upgrade finds them: an arena and running processes, and one of them dies."""

    def scene() -> None:
        started: list[tuple[Role, int]] = []

        def start(kind: Role, slot: int) -> int:
            started.append((kind, slot))
            # The replacement is there: enough was seen.
            os.kill(os.getpid(), signal.SIGTERM)
            return wait_for_end()

        with in_process() as server:
            holdings = Holdings(server.context, Lifeline.create())
            children = Children(start)
            pids = [wait_for_end(), wait_for_end()]
            for slot, pid in enumerate(pids):
                children.adopt(Role.WORKER, (slot,), pid)
            watch = Watch(holdings, children, Service({}))
            assert [child.pid for child in children.living] == pids
            os.kill(pids[1], signal.SIGKILL)
            watch.run()
            assert started == [(Role.WORKER, 1)]
            assert not children.living

    in_a_process(scene, WAITED_SIGNALS)
    said = capfd.readouterr().err
    assert "pymc: worker 1 (pid" in said and "was killed by SIGKILL; starting it again\n" in said


def test_who_does_not_stop_is_killed_and_the_listeners_are_closed_before() -> None:
    def scene() -> None:
        with in_process() as server, socket.create_server(("127.0.0.1", 0)) as listener:
            name = listener.getsockname()
            address = ListeningAddress(
                ListenerOptions(ListenerKind.TCP), name, socket.AF_INET, (listener,)
            )
            context = replace(server.context, addresses=(address,))
            deaf = wait_for_end()
            os.kill(deaf, signal.SIGSTOP)
            os.waitid(os.P_PID, deaf, os.WSTOPPED)
            children = Children(lambda kind, slot: 1 // 0)
            children.adopt(Role.KEEPER, (2,), deaf)
            sent: list[int] = []
            send = children.send

            def note(message: object, kind: Role | None = None) -> None:
                assert listener.fileno() == -1
                sent.append(message.number)  # type: ignore[attr-defined]
                send(message, kind)  # type: ignore[arg-type]

            children.send = note  # type: ignore[method-assign]
            os.kill(os.getpid(), signal.SIGTERM)
            Watch(Holdings(context, Lifeline.create()), children, Service({})).run()
            assert sent == [STOP_CHILD.number, signal.SIGKILL]
            assert not children.living and not children.absent[0].pid

    in_a_process(scene, WAITED_SIGNALS)


class Signals:
    """Signals that come one after the other while nobody is there; the last one ends the server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        self.numbers = list(numbers)
        monkeypatch.setattr(signal, "sigtimedwait", self.next)

    def next(self, signals: object, seconds: float) -> SimpleNamespace | None:
        number = self.numbers.pop(0)
        return SimpleNamespace(si_signo=number) if number else None


@pytest.mark.parametrize(
    ("number", "verbosity", "lines"),
    [
        (signal.SIGUSR1, 0, ["Gracefully stopping"]),
        (signal.SIGUSR1, 1, ["Gracefully stopping", "Exiting normally"]),
        (signal.SIGTERM, 0, []),
        (signal.SIGTERM, 1, ["Signal handled: Terminated.", "Exiting normally"]),
        (signal.SIGINT, 2, ["Signal handled: Interrupt.", "Exiting normally"]),
    ],
)
def test_what_a_stop_says_and_gives_back(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    number: signal.Signals,
    verbosity: int,
    lines: list[str],
) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text("1\n")
    said: list[str] = []
    monkeypatch.setattr(watch_module, "say", said.append)
    with in_process() as server:
        server.context.arena.set_live("verbosity", verbosity)
        holdings = Holdings(server.context, Lifeline.create(), str(pidfile))
        Signals(monkeypatch, number)
        Watch(holdings, Children(lambda kind, slot: 1 // 0), Service({})).run()
    assert said == lines
    assert not pidfile.exists()


def test_each_wake_up_notes_ends_starts_who_is_due_and_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class Recorded(Children):
        def reap(self) -> list[Child]:
            done.append("reap")
            return []

        def start_due(self) -> None:
            done.append("start")

    with in_process() as server:
        Signals(monkeypatch, 0, signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM)
        holdings = Holdings(server.context, Lifeline.create())
        watch = Watch(holdings, Recorded(lambda kind, slot: 1 // 0), Service({}))
        monkeypatch.setattr(watch._guard, "look", lambda: done.append("look"))
        watch.run()
    assert done == ["reap", "start", "look"] * 3


def test_the_server_ends_although_a_process_does_not_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for a device in the kernel is not gone when it was killed."""
    now = 100.0
    said: list[str] = []
    sent: list[tuple[float, int]] = []

    class Stuck(Children):
        living = property(lambda self: [Child(Role.KEEPER, 2, pid=77)])

        def reap(self) -> list[Child]:
            return []

        def send(self, message: SignalMessage, kind: Role | None = None) -> None:
            sent.append((round(now - 100.0, 3), message.number))

    def wait(signals: object, seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(watch_module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(watch_module, "say", said.append)
    with in_process() as server:
        children = Stuck(lambda kind, slot: 1 // 0)
        children.given_up.append(Child(Role.KEEPER, 3, pid=78))
        watch = Watch(Holdings(server.context, Lifeline.create()), children, Service({}))
        monkeypatch.setattr(signal, "sigtimedwait", wait)
        watch._stop(signal.SIGTERM)
    assert sent[:2] == [(0.0, signal.SIGTERM), (0.7, signal.SIGKILL)]
    assert {number for _, number in sent[1:]} == {signal.SIGKILL}
    assert now - 100.0 == pytest.approx(4.2)
    assert said == ["pymc: killed, but not gone yet: 77, 78"]


def test_only_workers_hear_of_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"a:b\n")
    said: list[str] = []
    monkeypatch.setattr(watch_module, "say", said.append)
    with in_process() as server:
        context = replace(server.context, users=Users(str(path)))
        children = Children(lambda kind, slot: 1 // 0)
        sent: list[tuple[int, Role | None]] = []
        children.send = lambda message, kind=None: sent.append((message.number, kind))  # type: ignore[method-assign]
        watch = Watch(Holdings(context, Lifeline.create()), children, Service({}))
        path.write_bytes(b"a:b\nc:d\n")
        watch._read_users()
        assert sent == [(signal.SIGHUP, Role.WORKER)]
        path.write_bytes(b"broken\n")
        watch._read_users()
        assert len(sent) == 1
    assert said[0].endswith("read again: 2 users")
    assert said[1].endswith("; 2 users read before it still count")


def test_a_wait_is_no_longer_than_the_next_start_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def wait(signals: object, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(signal, "sigtimedwait", wait)
    monkeypatch.setattr(watch_module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    with in_process() as server:
        children = Children(lambda kind, slot: 1 // 0)
        watch = Watch(Holdings(server.context, Lifeline.create()), children, Service({}))
        watch._guard.due = 100.5
        assert watch._wait() == 0
        children.add(Role.WORKER, (0,))
        for due in (100.25, 101.0, 90.0):
            children.absent[0].due = due
            watch._wait()
    assert waits == [0.5, 0.25, 0.5, 0.0]
