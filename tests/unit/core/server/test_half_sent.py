"""Clients that stop in the middle of a value: whom the engine closes, when, and what it says."""

import select
import socket
from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, Cache

CONNECTIONS_MAX = 64
TIMEOUT_SECONDS = 60
VALUE_BYTES = 600_000


class Server:
    """An engine on a loopback port whose clock stands still until the test moves it."""

    connections_max = CONNECTIONS_MAX

    def make_cache(self, limit_bytes: int, reserve_bytes_more: int) -> Cache:
        return Cache(limit_bytes=limit_bytes, reserve_bytes_more=reserve_bytes_more)

    def listen(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    def __init__(self, limit_bytes: int = 64 * MIB) -> None:
        more = lib.server_reserve_bytes(1, self.connections_max)
        self.cache = self.make_cache(limit_bytes, more)
        assert lib.server_create(self.cache.arena, 1, self.connections_max) == 0
        self.store = self.cache.open()
        options = ffi.new("struct engine_options *")
        options.workers = 1
        options.inbox_fd = -1
        out = ffi.new("struct engine **")
        assert lib.engine_open(self.store.store, options, out) == 0
        self.engine = out[0]
        self.listener = self.listen()
        self.listener.setblocking(False)
        assert lib.engine_listen(self.engine, self.listener.fileno(), lib.ENGINE_TCP) == 0
        self.clients: list[socket.socket] = []
        self.now = 1000
        self.pass_time(0)

    def close(self) -> None:
        lib.engine_close(self.engine)
        for client in self.clients:
            client.close()
        self.listener.close()
        self.store.check()
        self.cache.close()

    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        lib.arena_clock_freeze(self.cache.arena, self.now)
        lib.engine_tick(self.engine)

    def serve(self) -> None:
        """Turns until nothing is ready any more."""
        fd = lib.engine_fd(self.engine)
        while select.select([fd], [], [], 0.02)[0]:
            self.turn()

    def turn(self) -> None:
        """Serves what is ready; for loops that come again until they have what they want."""
        while lib.engine_turn(self.engine) & lib.ENGINE_AGAIN:
            pass

    def begin(self, key: bytes, sent_bytes: int) -> socket.socket:
        """A client that announces a value and sends so much of it."""
        client = socket.create_connection(self.listener.getsockname())
        self.clients.append(client)
        client.sendall(b"set %s 0 0 %d\r\n" % (key, VALUE_BYTES))
        client.sendall(b"x" * sent_bytes)
        self.serve()
        return client

    def connect(self, buffer_bytes: int = 0) -> socket.socket:
        """A client, with small buffers of the kernel if they are given."""
        client = socket.socket()
        self.clients.append(client)
        if buffer_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        client.connect(self.listener.getsockname())
        return client

    def send_some(self, client: socket.socket, data: bytes) -> int:
        try:
            return client.send(data)
        except BlockingIOError:
            return 0

    def receive_some(self, client: socket.socket, most_bytes: int = 1 << 20) -> bytes:
        try:
            return client.recv(most_bytes)
        except BlockingIOError:
            return b""

    def is_open(self, client: socket.socket) -> bool:
        client.setblocking(False)
        try:
            return client.recv(100) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            client.setblocking(True)

    def timeouts(self) -> int:
        return self.store.counters()["value_timeouts"]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def test_the_silent_are_closed_and_others_are_not(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    silent = server.begin(b"a", 20_000)
    slow = server.begin(b"b", 20_000)
    announced = server.begin(b"c", 20)
    server.pass_time(TIMEOUT_SECONDS - 1)
    slow.sendall(b"x")
    server.serve()
    assert server.is_open(silent)
    server.pass_time(1)
    assert [server.is_open(client) for client in (silent, slow, announced)] == [False, True, True]
    assert server.timeouts() == 1
    told = "worker 0: closed 1 clients that were silent for 60 s in the middle of a value\n"
    assert capfd.readouterr().err == told
    # One that goes on to the end is no longer looked at.
    slow.sendall(b"x" * (VALUE_BYTES - 20_001) + b"\r\n")
    server.serve()
    assert slow.recv(100) == b"STORED\r\n"
    server.pass_time(10 * TIMEOUT_SECONDS)
    assert server.is_open(slow)
    assert server.is_open(announced)
    assert server.timeouts() == 1


def test_what_is_said_is_limited(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        server.begin(b"%d" % number, 20_000)
        server.pass_time(TIMEOUT_SECONDS - 15)
    said = capfd.readouterr().err
    server.pass_time(TIMEOUT_SECONDS)
    server.pass_time(TIMEOUT_SECONDS)
    said += capfd.readouterr().err
    counts = [int(line.split()[3]) for line in said.splitlines()]
    assert sum(counts) == server.timeouts() == 4
    assert len(counts) < 4


def test_its_memory_comes_back(server: Server) -> None:
    for number in range(20):
        server.begin(b"%d" % number, 20_000)
    in_use = server.store.slab().pages_used
    server.pass_time(TIMEOUT_SECONDS)
    assert server.timeouts() == 20
    for number in range(20):
        server.begin(b"%d" % number, 20_000)
    assert server.store.slab().pages_used == in_use


def test_the_deadline_can_be_turned_off(server: Server) -> None:
    server.cache.set_live("value_timeout_seconds", 0)
    silent = server.begin(b"a", 20_000)
    server.pass_time(100 * TIMEOUT_SECONDS)
    assert server.is_open(silent)


def test_short_memory_makes_the_deadline_short() -> None:
    server = Server(limit_bytes=4 * MIB)
    server.cache.set_live("evictions_enabled", 0)
    silent = server.begin(b"a", 20_000)
    server.pass_time(TIMEOUT_SECONDS // 10)
    assert server.is_open(silent)
    loud = server.begin(b"b", 0)
    assert server.store.put(b"huge", b"x" * (8 * MIB)).outcome != 0
    assert server.store.counters()["store_no_memory"] > 0
    server.pass_time(0)
    assert not server.is_open(silent)
    assert server.is_open(loud)
    server.close()


def test_a_client_that_is_not_listened_to_is_not_silent(server: Server) -> None:
    """Its answers wait to be read, so nothing is read from it."""
    server.store.put(b"big", b"y" * (8 * MIB))
    client = server.begin(b"a", 20_000)
    client.sendall(b"x" * (VALUE_BYTES - 20_000) + b"\r\n")
    server.serve()
    client.sendall(b"get big\r\nget big\r\nset a 0 0 %d\r\n" % VALUE_BYTES + b"x" * 20_000)
    server.serve()
    server.pass_time(TIMEOUT_SECONDS)
    assert server.is_open(client)
