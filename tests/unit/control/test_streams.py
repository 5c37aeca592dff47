"""Answers in parts: each is sent when the last one has gone, and failures end them cleanly."""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from pymc.control.answers import WAITING, Command, Parts
from pymc.control.commands import HANDLERS
from pymc.control.control import SLICE_SECONDS, Control
from pymc.core.engine import Engine, ReplyKind, Request
from pymc.messages import AnswerEnded, AnswerMessage, End, WakeMessage, receive, send
from tests.support.inprocess import InProcess, in_process

DONE, MORE, CLOSE = ReplyKind.DONE, ReplyKind.MORE, ReplyKind.CLOSE
BIG = b"x" * 40_000


class Sent:
    """Stands where the engine does and keeps what is sent."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, bytes, ReplyKind]] = []
        self.later: list[Callable[[], None]] = []
        self.waiting: list[Callable[[], None]] = []
        self.is_open = True
        self.now = 0.0
        # What a connection's descriptor is (None: it cannot be lent), and where its end is said.
        self.client_fd: int | None = None
        self.end_fds: list[int] = []

    def lend(self, connection: int, end_fd: int) -> int | None:
        self.end_fds.append(end_fd)
        return self.client_fd

    def reply(self, connection: int, answer: bytes, kind: ReplyKind = DONE) -> bool:
        self.replies.append((connection, answer, kind))
        return self.is_open


def control_on(server: InProcess, sent: Sent) -> Control:
    engine = cast(Engine, cast(Any, sent))
    return Control(
        server.context,
        server.store,
        engine,
        sent.later.append,
        sent.waiting.append,
        lambda: sent.now,
    )


def answer_with(
    monkeypatch: pytest.MonkeyPatch, parts: Callable[[], Iterator[bytes | None]]
) -> None:
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


def test_a_slice_lets_others_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def slow() -> Iterator[bytes]:
        nonlocal made
        for part in [b""] * 20 + [b"a"] * 20:
            made += 1
            sent.now += SLICE_SECONDS / 4
            yield part

    answer_with(monkeypatch, slow)
    with in_process() as server:
        sent = Sent()
        control = control_on(server, sent)
        control.answer(Request(5, b"stats", False))
        while sent.later:
            before = made
            assert not sent.replies
            sent.later.pop()()
            # One more where fractions of a second do not add up.
            assert made - before in (4, 5)
        while sent.replies[-1][2] is MORE:
            before = made
            control.resume(5, True)
            assert made - before <= 5
        assert b"".join(text for _, text, _ in sent.replies) == b"a" * 20
        assert len(sent.replies) >= 5


def walk_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(command: Command) -> Parts:
        return Parts(iter([b"own"]), is_walk=True)

    monkeypatch.setitem(HANDLERS, b"stats", handler)


@pytest.mark.parametrize(
    ("end", "reply"),
    [
        (End.DONE, (b"", DONE)),
        (End.BROKEN, (b"", CLOSE)),
        (None, (b"", CLOSE)),
        (End.REFUSED, (b"own", DONE)),
    ],
)
def test_a_walk_is_the_keepers(
    monkeypatch: pytest.MonkeyPatch, end: End | None, reply: tuple[bytes, ReplyKind]
) -> None:
    walk_with(monkeypatch)
    with in_process() as server, socket.socket() as client:
        sent = Sent()
        sent.client_fd = client.fileno()
        control = control_on(server, sent)
        control.answer(Request(5, b"stats", False))
        message, descriptors = receive(server.context.keeper_inbox.reader)
        assert message == AnswerMessage(b"stats")
        assert os.fstat(descriptors[0]).st_ino == os.fstat(client.fileno()).st_ino
        os.close(descriptors[0])
        with socket.socket(fileno=descriptors[1]) as asker:
            if end:
                assert send(asker, AnswerEnded(end))
        assert not sent.replies
        control.resume(5, True)
        assert sent.replies == [(5, *reply)]
        # Nothing is left of it.
        with pytest.raises(OSError):
            os.fstat(sent.end_fds[0])
        control.resume(5, True)
        assert len(sent.replies) == 1


def test_a_client_that_leaves_is_told_to_the_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    walk_with(monkeypatch)
    with in_process() as server, socket.socket() as client:
        sent = Sent()
        sent.client_fd = client.fileno()
        control = control_on(server, sent)
        control.answer(Request(5, b"stats", False))
        _, descriptors = receive(server.context.keeper_inbox.reader)
        os.close(descriptors[0])
        with socket.socket(fileno=descriptors[1]) as asker:
            control.resume(5, False)
            assert asker.recv(1) == b""
        assert not sent.replies


@pytest.mark.parametrize("why", ["backlog", "full inbox"])
def test_without_the_keeper_the_worker_walks(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    walk_with(monkeypatch)
    with in_process() as server, socket.socket() as client:
        sent = Sent()
        if why == "full inbox":
            sent.client_fd = client.fileno()
            while send(server.context.keeper_inbox.writer, WakeMessage()):
                pass
        control = control_on(server, sent)
        control.answer(Request(5, b"stats", False))
        if why == "full inbox":
            # The engine had watched the channel, and takes the connection back before that closes.
            assert sent.replies.pop() == (5, b"", MORE)
            control.resume(5, True)
        assert sent.replies == [(5, b"own", DONE)]
        with pytest.raises(OSError):
            os.fstat(sent.end_fds[0])


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


def test_who_waits_for_another_process_looks_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_with(monkeypatch, lambda: iter([WAITING, WAITING, b"end"]))
    with in_process() as server:
        sent = Sent()
        control_on(server, sent).answer(Request(5, b"stats", False))
        assert (len(sent.waiting), sent.later, sent.replies) == (1, [], [])
        sent.waiting.pop()()
        sent.waiting.pop()()
        assert (sent.replies, sent.waiting) == ([(5, b"end", DONE)], [])
