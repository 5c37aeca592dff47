"""Answers in parts: each is sent when the last one has gone, and failures end them cleanly."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from pymc.control.answers import Command, Parts
from pymc.control.control import HANDLERS, Control
from pymc.core.engine import Engine, ReplyKind, Request
from tests.unit.inprocess import InProcess, in_process

DONE, MORE, CLOSE = ReplyKind.DONE, ReplyKind.MORE, ReplyKind.CLOSE
BIG = b"x" * 40_000


class Sent:
    """Stands where the engine does and keeps what is sent."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, bytes, ReplyKind]] = []
        self.later: list[Callable[[], None]] = []
        self.is_open = True

    def reply(self, connection: int, answer: bytes, kind: ReplyKind = DONE) -> bool:
        self.replies.append((connection, answer, kind))
        return self.is_open


def control_on(server: InProcess, sent: Sent) -> Control:
    engine = cast(Engine, cast(Any, sent))
    return Control(server.context, server.store, engine, sent.later.append)


def answer_with(monkeypatch: pytest.MonkeyPatch, parts: Callable[[], Iterator[bytes]]) -> None:
    def handler(command: Command) -> Parts:
        return Parts(parts())

    monkeypatch.setitem(HANDLERS, b"stats", handler)


def test_small_parts_become_one_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda: iter([b"a", b"", b"b"]))
    with in_process() as server:
        sent = Sent()
        control_on(server, sent).answer(Request(5, b"stats", False))
        assert sent.replies == [(5, b"ab", DONE)]


def test_large_answers_wait_for_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda: iter([BIG, BIG, b"end"]))
    with in_process() as server:
        sent = Sent()
        control = control_on(server, sent)
        control.answer(Request(5, b"stats", False))
        assert sent.replies == [(5, BIG, MORE)]
        control.resume(6, True)
        control.resume(5, True)
        control.resume(5, True)
        assert sent.replies[1:] == [(5, BIG, MORE), (5, b"end", DONE)]
        control.resume(5, True)
        assert len(sent.replies) == 3


def test_nothing_yet_lets_others_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda: iter([b""] * 100 + [b"end"]))
    with in_process() as server:
        sent = Sent()
        control_on(server, sent).answer(Request(5, b"stats", False))
        turns = 0
        while sent.later:
            assert not sent.replies
            sent.later.pop()()
            turns += 1
        assert sent.replies == [(5, b"end", DONE)]
        assert turns > 5


def test_a_client_that_goes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, lambda: iter([BIG, b"end"]))
    with in_process() as server:
        sent = Sent()
        control = control_on(server, sent)
        control.answer(Request(5, b"stats", False))
        control.resume(5, False)
        control.resume(5, True)
        sent.is_open = False
        control.answer(Request(6, b"stats", False))
        control.resume(6, True)
        assert [connection for connection, _, _ in sent.replies] == [5, 6]


def failing() -> Iterator[bytes]:
    yield BIG
    raise RuntimeError("in the middle")


def test_a_failure_in_the_middle_closes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    answer_with(monkeypatch, failing)
    with in_process() as server:
        sent = Sent()
        control = control_on(server, sent)
        control.answer(Request(5, b"stats", False))
        control.resume(5, True)
        assert sent.replies[-1] == (5, b"", CLOSE)
        assert "in the middle" in capfd.readouterr().err


def test_a_failure_at_once_is_an_error_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def handler(command: Command) -> Parts:
        raise RuntimeError("at once")

    monkeypatch.setitem(HANDLERS, b"stats", handler)
    with in_process() as server:
        sent = Sent()
        control_on(server, sent).answer(Request(5, b"stats", False))
        assert sent.replies == [(5, b"SERVER_ERROR internal error\r\n", DONE)]
        assert "at once" in capfd.readouterr().err


def test_words_that_are_no_command() -> None:
    with in_process() as server:
        sent = Sent()
        control = control_on(server, sent)
        control.answer(Request(5, b"nothing", False))
        control.answer(Request(5, b"  ", False))
        assert sent.replies == [(5, b"ERROR\r\n", DONE)] * 2
