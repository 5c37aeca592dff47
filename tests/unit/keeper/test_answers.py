"""Answers that the keeper gives: slices, clients that do not read or leave, and how they end."""

import contextlib
import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pymc.control.answers import WAITING, Command, Parts
from pymc.control.commands import HANDLERS
from pymc.keeper.answers import ANSWERS_MAX, SLICE_SECONDS, SLICES_PER_STEP, Answers
from pymc.messages import AnswerEnded, End, Inbox, receive
from pymc.messages.declared import TO_ASKER
from tests.support.inprocess import InProcess, in_process

STEPS_MAX = 10_000
PART = b"x" * 32768


class Asked:
    """A client and the worker that asked for it, and fake time for the keeper."""

    def __init__(self, server: InProcess) -> None:
        self.selector = selectors.DefaultSelector()
        self.now = 0.0
        self.rests = 0
        self.sockets: list[socket.socket] = []
        self.answers = Answers(
            server.context, server.store, self.selector, lambda: self.now, self._rest
        )

    def _rest(self, seconds: float) -> None:
        self.rests += 1

    def ask(self, line: bytes) -> tuple[socket.socket, socket.socket]:
        """The client's end, and where the worker hears how it ended; both without waiting."""
        client, theirs = socket.socketpair()
        channel = Inbox.create()
        client.setblocking(False)
        theirs.setblocking(False)
        self.sockets += [client, channel.reader]
        self.answers.take(line, theirs.detach(), channel.writer.detach())
        return client, channel.reader

    def close(self) -> None:
        """Everybody leaves; nothing of what was under way stays."""
        for one in self.sockets:
            one.close()
        for key, _ in self.selector.select(0):
            key.data()
        assert self.answers.count == 0
        self.selector.close()

    def turn(self) -> float | None:
        """One turn of the keeper's loop."""
        for key, _ in self.selector.select(0):
            key.data()
        return self.answers.step()


@contextmanager
def asked(args: list[str] | None = None) -> Iterator[tuple[InProcess, Asked]]:
    with in_process(args or []) as server:
        one = Asked(server)
        try:
            yield server, one
        finally:
            one.close()


def answer_with(monkeypatch: pytest.MonkeyPatch, parts: Iterator[bytes | None]) -> None:
    monkeypatch.setitem(HANDLERS, b"stats", lambda command: Parts(parts, is_walk=True))


def end_in(channel: socket.socket) -> End:
    message, _ = receive(channel, TO_ASKER)
    assert isinstance(message, AnswerEnded)
    return message.end


def read_all(one: Asked, client: socket.socket, channel: socket.socket) -> tuple[bytes, End]:
    text = b""
    for _ in range(STEPS_MAX):
        one.turn()
        try:
            text += client.recv(1 << 20)
        except BlockingIOError:
            pass
        try:
            end = end_in(channel)
        except BlockingIOError:
            continue
        client.setblocking(True)
        while more := client.recv(1 << 20):
            text += more
        return text, end
    raise AssertionError("it never ends")


def test_a_dump_names_each_key() -> None:
    with asked() as (server, one):
        server.fill("k", 5000, 10)
        before = server.store.counters()["bytes_written"]
        text, end = read_all(one, *one.ask(b"lru_crawler metadump all"))
        names = [line.split()[0] for line in text.splitlines()[:-1]]
        assert sorted(names) == sorted(b"key=k%d" % number for number in range(5000))
        assert text.endswith(b"\nEND\r\n") and end is End.DONE
        assert server.store.counters()["bytes_written"] - before == len(text)
        assert one.answers.count == 0


def test_one_that_ended_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker is gone and its client reads again at one look of the keeper."""
    answer_with(monkeypatch, iter([PART] * 100))
    with asked() as (_server, one):
        client, channel = one.ask(b"stats walk")
        while len(one.selector.get_map()) == 1:
            one.turn()
        with contextlib.suppress(BlockingIOError):
            while client.recv(1 << 20):
                pass
        channel.close()
        ready = one.selector.select(0)
        assert len(ready) == 2
        # The worker's channel first.
        for key, _events in sorted(ready, key=lambda found: found[0].events):
            key.data()
        assert one.answers.count == 0


def test_two_dumps_at_once_are_both_whole() -> None:
    with asked() as (server, one):
        server.fill("k", 3000, 10)
        first, second = one.ask(b"lru_crawler mgdump all"), one.ask(b"lru_crawler mgdump all")
        assert one.answers.count == 2
        for client in (first, second):
            text, end = read_all(one, *client)
            assert (text.count(b"mg k"), text[-4:], end) == (3000, b"EN\r\n", End.DONE)


def test_a_slice_ends_and_is_followed_by_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def parts() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            one.now += SLICE_SECONDS / 2
            yield b""

    answer_with(monkeypatch, parts())
    with asked() as (_, one):
        one.ask(b"stats")
        assert one.turn() == 0.0
        assert (made, one.rests) == (2 * SLICES_PER_STEP, SLICES_PER_STEP)


def test_who_does_not_read_holds_one_part_and_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def endless() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            one.now += SLICE_SECONDS
            yield PART

    answer_with(monkeypatch, endless())
    with asked() as (server, one):
        client, channel = one.ask(b"stats")
        while one.turn() is not None:
            assert made < 1000
        stopped_at = made
        assert one.turn() is None and made == stopped_at
        # Others are answered meanwhile.
        server.fill("k", 10, 10)
        text, end = read_all(one, *one.ask(b"lru_crawler mgdump all"))
        assert (text.count(b"mg k"), end) == (10, End.DONE)
        assert made == stopped_at
        client.recv(1 << 24)
        one.turn()
        assert made > stopped_at
        with pytest.raises(BlockingIOError):
            end_in(channel)


@pytest.mark.parametrize("who", ["client", "worker", "worker of a slow client"])
def test_who_leaves_ends_it(monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    is_closed = False

    def endless() -> Iterator[bytes]:
        nonlocal is_closed
        try:
            while True:
                one.now += SLICE_SECONDS
                yield PART
        finally:
            is_closed = True

    monkeypatch.setitem(HANDLERS, b"stats", lambda command: Parts(endless(), is_walk=True))
    with asked() as (_, one):
        client, channel = one.ask(b"stats")
        one.turn()
        if who == "client":
            client.close()
        else:
            while who == "worker of a slow client" and one.turn() is not None:
                pass
            channel.close()
        for _ in range(10):
            one.turn()
        assert (one.answers.count, is_closed) == (0, True)
        assert not one.selector.get_map()
        if who == "client":
            assert end_in(channel) is End.BROKEN


def test_too_many_are_left_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(command: Command) -> Parts:
        return Parts(iter(lambda: b"", None), is_walk=True)

    monkeypatch.setitem(HANDLERS, b"stats", forever)
    with asked() as (_, one):
        others = [one.ask(b"stats") for _ in range(ANSWERS_MAX)]
        client, channel = one.ask(b"stats")
        assert end_in(channel) is End.REFUSED
        assert client.recv(1) == b""
        assert one.answers.count == len(others)


def test_a_device_that_is_waited_for_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, iter([WAITING, WAITING, b"end"]))
    with asked() as (_, one):
        client, channel = one.ask(b"stats")
        pause = one.turn()
        assert pause is not None and pause > 0
        assert one.rests == 0
        assert read_all(one, client, channel) == (b"end", End.DONE)


def test_a_failure_breaks_off(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def failing() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("in the middle")

    answer_with(monkeypatch, failing())
    with asked() as (_, one):
        assert read_all(one, *one.ask(b"stats")) == (b"some", End.BROKEN)
        assert "in the middle" in capfd.readouterr().err


def test_what_has_no_parts_is_sent_as_it_is() -> None:
    with asked(["-X"]) as (_, one):
        answer = read_all(one, *one.ask(b"lru_crawler metadump all"))
        assert answer == (b"ERROR metadump not allowed\r\n", End.DONE)
