"""Clients that do not take their answers: others go on, and who is closed when memory is short."""

import socket
from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import MIB, Cache
from tests.support.core.engine_server import Server as HalfSentServer
from tests.support.core.pin_holder import PINS_MAX, VALUE, PinHolder, roomy_cache

CONNECTIONS_MAX = 300
BUFFER_BYTES = 4096
COPIED_AFTER_SECONDS = 2
CLOSED_AFTER_SECONDS = 10
# Too large to be copied out in one go.
HUGE_BYTES = 5 * MIB


class Server(HalfSentServer):
    """Its sockets take little, so that nearly all of an answer waits."""

    connections_max = CONNECTIONS_MAX

    def make_cache(self, limit_bytes: int, reserve_bytes_more: int) -> Cache:
        return roomy_cache(limit_bytes, reserve_bytes_more=reserve_bytes_more)

    def listen(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        listener.bind(("127.0.0.1", 0))
        listener.listen(CONNECTIONS_MAX)
        return listener

    def slow(self, line: bytes) -> socket.socket:
        """A client that asks and does not read."""
        client = self.connect(BUFFER_BYTES)
        client.sendall(line)
        self.serve()
        return client

    def ask(self, client: socket.socket, line: bytes, end: bytes = b"END\r\n") -> bytes:
        client.sendall(line)
        client.setblocking(False)
        said = b""
        for _ in range(100_000):
            self.turn()
            said += self.receive_some(client)
            if said.endswith(end):
                return said
        raise AssertionError(f"no end: {said[-100:]!r}")

    def count(self, name: str) -> int:
        return self.store.counters()[name]

    def open_ones(self, clients: list[socket.socket]) -> list[bool]:
        """Which the server has not closed."""
        return [self.is_open_still(client) for client in clients]

    def is_open_still(self, client: socket.socket) -> bool:
        """Throws away what waits in its buffers."""
        client.setblocking(False)
        try:
            while client.recv(1 << 20):
                pass
        except BlockingIOError:
            return True
        except ConnectionResetError:
            pass
        return False


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(224 * MIB)
    yield made
    made.close()


def shown(key: bytes, value: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value)


def store_huge(server: Server, keys: list[bytes]) -> None:
    for key in keys:
        assert server.store.put(key, b"h" * HUGE_BYTES).outcome == lib.STORE_STORED


def test_two_hundred_that_do_not_read(server: Server) -> None:
    """64 values of 20 KiB each, the same for all: they share their pins."""
    keys = [b"k%d" % number for number in range(64)]
    value = b"v" * 20 * 1024
    for key in keys:
        server.store.put(key, value)
    line = b"get " + b" ".join(keys) + b"\r\n"
    slow = [server.slow(line) for _ in range(200)]
    assert 0 < server.store.chunks()["pins"] <= len(keys)
    assert server.ask(server.connect(), b"get k7\r\n") == shown(b"k7", value) + b"END\r\n"
    server.pass_time(1000)
    assert server.count("get_copied_for_claims") == 0
    assert server.count("readers_closed") == server.count("readers_copied") == 0
    assert all(server.open_ones(slow))


def test_two_hundred_that_ask_for_more_than_there_are_pins(server: Server) -> None:
    keys = [b"k%d" % number for number in range(200 * 48)]
    for key in keys:
        server.store.put(key, VALUE)
    slow = []
    for first in range(0, len(keys), 48):
        slow.append(server.slow(b"get " + b" ".join(keys[first : first + 48]) + b"\r\n"))
    assert PINS_MAX // 2 < server.store.chunks()["pins"] < PINS_MAX * 3 // 4
    client = server.connect()
    some = keys[:: len(keys) // 40]
    answer = b"".join(shown(key, VALUE) for key in some) + b"END\r\n"
    assert server.ask(client, b"get " + b" ".join(some) + b"\r\n") == answer
    assert server.ask(client, b"set k1 0 0 1\r\nx\r\n", b"\r\n") == b"STORED\r\n"
    server.pass_time(1000)
    assert server.count("get_copied_for_claims") == 0
    assert server.count("readers_closed") == 0
    assert all(server.open_ones(slow))


class TestUnlinkedValues:
    """What readers keep from being freed takes more than a quarter of the limit."""

    @pytest.fixture
    def server(self) -> Iterator[Server]:
        made = Server(64 * MIB)
        yield made
        made.close()

    def test_the_oldest_are_closed_until_it_is_enough(self, server: Server) -> None:
        keys = [b"h%d" % number for number in range(5)]
        store_huge(server, keys)
        slow = []
        for key in keys:
            slow.append(server.slow(b"get %s\r\n" % key))
            server.pass_time(1)
        for key in keys:
            server.store.delete(key)
        assert server.store.limbo_step() == 5
        # The first asked 5 s ago.
        server.pass_time(CLOSED_AFTER_SECONDS - 6)
        assert server.count("readers_closed") == 0
        server.pass_time(1)
        assert server.count("readers_closed") == 1
        server.pass_time(1)
        assert server.count("readers_closed") == 2
        # 15 of 64 MiB are less than a quarter.
        server.pass_time(1000)
        assert server.count("readers_closed") == 2
        assert server.open_ones(slow) == [False, False, True, True, True]

    def test_who_takes_something_stays(self, server: Server) -> None:
        keys = [b"h%d" % number for number in range(4)]
        store_huge(server, keys)
        slow = [server.slow(b"get %s\r\n" % key) for key in keys]
        for key in keys:
            server.store.delete(key)
        for _ in range(5):
            server.pass_time(CLOSED_AFTER_SECONDS - 1)
            for client in slow:
                client.setblocking(False)
                taken = 0
                while taken < 64 * 1024:
                    taken += len(server.receive_some(client, 16_384))
                    server.turn()
        assert server.count("readers_closed") == 0
        server.pass_time(CLOSED_AFTER_SECONDS)
        assert server.count("readers_closed") == 1

    def test_linked_values_are_nobodys_trouble(self, server: Server) -> None:
        keys = [b"h%d" % number for number in range(5)]
        store_huge(server, keys)
        slow = [server.slow(b"get %s\r\n" % key) for key in keys]
        server.store.delete(keys[0])
        server.pass_time(1000)
        assert server.count("readers_closed") == 0
        assert all(server.open_ones(slow))

    def test_smaller_ones_are_copied_out_and_sent_whole(self, server: Server) -> None:
        keys = [b"k%d" % number for number in range(7 * 40)]
        value = b"w" * 64_000
        for key in keys:
            server.store.put(key, value)
        slow = []
        for first in range(0, len(keys), 40):
            slow.append(server.slow(b"get " + b" ".join(keys[first : first + 40]) + b"\r\n"))
        for key in keys:
            server.store.delete(key)
        held = server.store.limbo_step()
        server.pass_time(COPIED_AFTER_SECONDS - 1)
        assert server.count("readers_copied") == 0
        server.pass_time(1)
        assert server.count("readers_copied") == 1
        assert server.store.limbo_step(0) == held - 40
        server.pass_time(1000)
        assert server.count("readers_closed") == 0
        # Each goes on where it was.
        for number, client in enumerate(slow):
            asked = keys[number * 40 : number * 40 + 40]
            is_equal = server.ask(client, b"") == (
                b"".join(shown(key, value) for key in asked) + b"END\r\n"
            )
            assert is_equal
        assert server.store.limbo_step(0) == 0
        assert server.count("response_buf_bytes") == 0


class TestPins:
    """Less than a quarter of the pins is left."""

    def test_values_are_copied_out(self, server: Server) -> None:
        server.store.put(b"one", VALUE)
        slow = server.slow(b"get one\r\n")
        holder = PinHolder(server.store)
        holder.hold(PINS_MAX * 3 // 4 - 1)
        server.pass_time(COPIED_AFTER_SECONDS)
        assert server.count("readers_copied") == 0
        holder.hold(1)
        before = server.store.chunks()["pins"]
        server.pass_time(1)
        assert server.count("readers_copied") == 1
        assert server.store.chunks()["pins"] == before - 1
        assert server.ask(slow, b"") == shown(b"one", VALUE) + b"END\r\n"
        holder.close()

    def test_who_cannot_be_copied_out_is_closed(self, server: Server) -> None:
        store_huge(server, [b"h"])
        slow = server.slow(b"get h\r\n")
        holder = PinHolder(server.store)
        holder.hold(PINS_MAX * 3 // 4)
        server.pass_time(CLOSED_AFTER_SECONDS - 1)
        assert server.count("readers_closed") == 0
        server.pass_time(1)
        assert server.count("readers_closed") == 1
        assert not server.is_open_still(slow)
        holder.close()


def test_copies_that_wait_are_given_up_too(server: Server) -> None:
    """A reply of copies is closed when nearly all memory for copies waits for slow clients."""
    holder = PinHolder(server.store)
    holder.hold_all()
    slow = server.slow(b"get %s\r\n" % holder.key_without_pin)
    server.pass_time(1000)
    assert server.count("readers_closed") == 0
    holder.hold_copies()
    server.pass_time(1)
    assert server.count("readers_closed") == 1
    assert not server.is_open_still(slow)
    holder.close()


def test_it_is_told_once_a_minute(capfd: pytest.CaptureFixture[str]) -> None:
    server = Server(64 * MIB)
    keys = [b"h%d" % number for number in range(5)]
    store_huge(server, keys)
    for key in keys:
        server.slow(b"get %s\r\n" % key)
    for key in keys:
        server.store.delete(key)
    server.pass_time(CLOSED_AFTER_SECONDS)
    server.close()
    told = [line for line in capfd.readouterr().err.splitlines() if "took nothing" in line]
    assert told == [
        "worker 0: closed 2 clients that took nothing of their answers for 10 s and held memory"
        " that others lacked"
    ]
