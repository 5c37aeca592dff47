"""The order of a start: what is waited for before the rest is loaded, and what ends the wait."""

import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pymc.core.arena import Role
from pymc.launch import Holdings
from pymc.messages import Lifeline
from pymc.record import replace
from pymc.server_context import ServerContext
from pymc.supervisor import startup
from pymc.supervisor.startup import children_of
from tests.support.inprocess import in_process


class Clock:
    """Fake time in which only sleeping takes any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        time = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(startup, "time", time)
        self.naps = 0
        monkeypatch.setattr(signal, "sigpending", set)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps += 1


def context_with(are_there: Callable[[], bool]) -> ServerContext:
    return cast(ServerContext, cast(Any, SimpleNamespace(are_workers_there=are_there)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_workers_are_given_half_a_second(clock: Clock) -> None:
    startup._give_way(context_with(lambda: False))
    assert clock.now == pytest.approx(0.5, abs=0.01)


def test_no_longer_than_until_they_are_there(clock: Clock) -> None:
    startup._give_way(context_with(lambda: clock.naps == 3))
    assert clock.naps == 3


def test_a_signal_that_waits_ends_the_wait(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        signal, "sigpending", lambda: {signal.SIGTERM} if clock.naps == 2 else {signal.SIGWINCH}
    )
    startup._give_way(context_with(lambda: False))
    assert clock.naps == 2


def test_writes_of_who_has_ended_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[int] = []
    flash = SimpleNamespace(forget_writes=forgotten.append)
    with in_process() as server:
        for one in (None, flash):
            holdings = Holdings(replace(server.context, flash=one), Lifeline.create())
            launcher = cast(Any, SimpleNamespace(start=lambda kind, slot: 1))
            children_of(holdings, launcher)._gone(3)
    assert forgotten == [3]


def test_the_launcher_starts_who_is_due() -> None:
    started: list[tuple[Role, int]] = []

    def start(kind: Role, slot: int) -> int:
        started.append((kind, slot))
        return 77

    with in_process() as server:
        holdings = Holdings(server.context, Lifeline.create())
        children = children_of(holdings, cast(Any, SimpleNamespace(start=start)))
        children.add(Role.WORKER, (0,))
        children.add(Role.KEEPER, (2, 3, 4))
        children.start_due()
        children.start_due()
    assert started == [(Role.WORKER, 0), (Role.KEEPER, 2)]
    assert [(child.name, child.pid) for child in children.living] == [
        ("worker 0", 77),
        ("keeper", 77),
    ]
