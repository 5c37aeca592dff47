"""A worker whose clients meet a bucket another process holds: the others are served."""

import select
import socket
from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import Handle
from tests.support.core.engine_server import Server
from tests.support.deadline import WAIT_SECONDS, wait_until

ANSWER = b"VALUE held 0 1\r\n7\r\nEND\r\n"


class Rig:
    def __init__(self) -> None:
        self.server = Server()
        self.stopped: Handle = self.server.cache.open(1)
        assert self.stopped.put(b"held", b"7").outcome == lib.STORE_STORED

    def client(self) -> socket.socket:
        client = socket.create_connection(self.server.listener.getsockname())
        client.settimeout(WAIT_SECONDS)
        self.server.clients.append(client)
        return client

    def turn(self, turns: int = 5) -> None:
        for _ in range(turns):
            lib.engine_turn(self.server.engine)

    def answer(self, client: socket.socket, wanted: bytes) -> None:
        """Turns until it is there; what comes is that and nothing else."""
        got = b""

        def is_there() -> bool:
            nonlocal got
            self.turn(1)
            while select.select([client], [], [], 0)[0]:
                piece = client.recv(1 << 20)
                assert piece, "the connection was closed"
                got += piece
            return len(got) >= len(wanted)

        wait_until(is_there, f"an answer of {len(wanted)} bytes")
        assert got == wanted

    def waits(self) -> int:
        self.turn(1)
        return self.server.store.counters()["busy_waits"]

    def is_silent(self, client: socket.socket) -> bool:
        client.setblocking(False)
        try:
            client.recv(100)
        except BlockingIOError:
            return True
        finally:
            client.settimeout(WAIT_SECONDS)
        return False


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.server.close()


def test_others_are_served(rig: Rig) -> None:
    waiting, other = rig.client(), rig.client()
    rig.stopped.hold(b"held")
    waiting.sendall(b"mn\r\nget held\r\nmg held v\r\n")
    rig.answer(waiting, b"MN\r\n")
    wait_until(lambda: rig.waits() == 1, "the first one to wait")
    for number in range(20):
        other.sendall(b"set k%d 0 0 1\r\nx\r\nmn\r\n" % number)
        rig.answer(other, b"STORED\r\nMN\r\n")
    # What it says meanwhile waits too, and is not lost.
    waiting.sendall(b"mn\r\n")
    rig.turn()
    assert rig.is_silent(waiting)
    rig.stopped.release(b"held")
    rig.answer(waiting, ANSWER + b"VA 1\r\n7\r\nMN\r\n")
    assert rig.waits() == 1


def test_nobody_waits_in_line_for_the_lock(rig: Rig) -> None:
    """Only the first one waits for a moment; who comes later is put off at once."""
    clients = [rig.client() for _ in range(30)]
    rig.stopped.hold(b"held")
    clients[0].sendall(b"get held\r\n")
    wait_until(lambda: rig.waits() == 1, "the first one to wait")
    longest = rig.server.store.counters()["lock_longest_wait_us"]
    assert longest > 0
    for client in clients[1:]:
        client.sendall(b"get held\r\n")
    wait_until(lambda: rig.waits() == 30, "all to wait")
    counters = rig.server.store.counters()
    assert counters["lock_longest_wait_us"] == longest
    rig.stopped.release(b"held")
    for client in clients:
        rig.answer(client, ANSWER)


def test_a_large_value_waits_whole(rig: Rig) -> None:
    client, other = rig.client(), rig.client()
    value = b"0123456789" * 60_000
    rig.stopped.hold(b"held")
    client.sendall(b"set held 0 0 600000\r\n")
    sending = memoryview(value + b"\r\nget held\r\n")
    client.setblocking(False)

    def is_sent() -> bool:
        nonlocal sending
        rig.turn(1)
        if select.select([], [client], [], 0)[1]:
            sending = sending[client.send(sending) :]
        return not sending

    wait_until(is_sent, "the value to be taken")
    rig.turn(50)
    other.sendall(b"mn\r\n")
    rig.answer(other, b"MN\r\n")
    assert rig.is_silent(client)
    rig.stopped.release(b"held")
    rig.answer(client, b"STORED\r\nVALUE held 0 600000\r\n" + value + b"\r\nEND\r\n")


def test_who_goes_away_is_forgotten(rig: Rig) -> None:
    clients = [rig.client() for _ in range(5)]
    rig.stopped.hold(b"held")
    for client in clients:
        client.sendall(b"delete held\r\n")
    wait_until(lambda: rig.waits() == 5, "all to wait")
    for client in clients[::2]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

    def connections() -> int:
        rig.turn(1)
        return rig.server.store.counters()["curr_connections"]

    wait_until(lambda: connections() == 2, "the lost ones to be closed")
    rig.stopped.release(b"held")
    rig.answer(clients[1], b"DELETED\r\n")
    rig.answer(clients[3], b"NOT_FOUND\r\n")


def test_the_wait_has_an_end(rig: Rig) -> None:
    client = rig.client()
    rig.stopped.hold(b"held")
    client.sendall(b"get held\r\nmn\r\n")
    wait_until(lambda: rig.waits() == 1, "it to wait")
    rig.server.pass_time(9)
    rig.turn()
    assert rig.is_silent(client)
    rig.server.pass_time(1)
    rig.answer(client, b"SERVER_ERROR busy\r\nMN\r\n")
    rig.stopped.release(b"held")
