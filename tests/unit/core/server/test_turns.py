"""How many requests of one connection are served before others (-R); binary clients; dates."""

import os
import select
import socket
import time
from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, Cache

CONNECTIONS_MAX = 16
END = b"END\r\n"


class Server:
    """An engine on a loopback port that serves one round at a time and logs into a pipe."""

    def __init__(self, **live: int) -> None:
        more = lib.server_reserve_bytes(1, CONNECTIONS_MAX)
        self.cache = Cache(limit_bytes=4 * MIB, reserve_bytes_more=more, live=live)
        assert lib.server_create(self.cache.arena, 1, CONNECTIONS_MAX) == 0
        self.store = self.cache.open()
        self.log_fd, log_end = os.pipe()
        options = ffi.new("struct engine_options *")
        options.workers = 1
        options.inbox_fd = -1
        options.log_fd = log_end
        out = ffi.new("struct engine **")
        assert lib.engine_open(self.store.store, options, out) == 0
        self.engine = out[0]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        assert lib.engine_listen(self.engine, self.listener.fileno(), lib.ENGINE_TCP) == 0
        self.clients: list[socket.socket] = []
        self._log_end = log_end

    def close(self) -> None:
        lib.engine_close(self.engine)
        for client in self.clients:
            client.close()
        self.listener.close()
        os.close(self.log_fd)
        os.close(self._log_end)
        self.cache.close()

    def client(self) -> socket.socket:
        """One that the engine knows and has nothing to do for."""
        made = socket.create_connection(self.listener.getsockname())
        self.clients.append(made)
        before = self.store.counters()["total_connections"]
        while self.store.counters()["total_connections"] == before:
            self.turn()
        return made

    def turn(self) -> None:
        """One round, once there is something to do."""
        lib.engine_stay(self.engine, 0, 0)

    def serve_until_closed(self, client: socket.socket) -> bytes:
        received = b""
        client.setblocking(False)
        while True:
            lib.engine_stay(self.engine, 0, 0)
            if select.select([client], [], [], 0)[0]:
                try:
                    piece = client.recv(4096)
                except ConnectionResetError:
                    return received
                if not piece:
                    return received
                received += piece

    def counter(self, name: str) -> int:
        return self.store.counters()[name]

    def said(self) -> bytes:
        lib.engine_tick(self.engine)
        ready = select.select([self.log_fd], [], [], 0)[0]
        return os.read(self.log_fd, 65536) if ready else b""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(requests_per_event=5)
    yield made
    made.close()


def received(client: socket.socket) -> bytes:
    return client.recv(65536) if select.select([client], [], [], 0)[0] else b""


@pytest.mark.parametrize("request_line", [b"get none\r\n", b"mn\r\n", b"delete none\r\n"])
def test_one_that_asks_much_has_its_turn_like_others(server: Server, request_line: bytes) -> None:
    answer = {b"g": END, b"m": b"MN\r\n", b"d": b"NOT_FOUND\r\n"}[request_line[:1]]
    greedy, modest = server.client(), server.client()
    greedy.sendall(request_line * 23)
    modest.sendall(request_line)
    before = server.counter("requests")
    while server.counter("requests") == before:
        server.turn()
    # Each has been served in the first round, and nobody more than five times.
    assert received(greedy) == answer * 5
    assert received(modest) == answer
    for turn in range(2, 6):
        server.turn()
        assert received(greedy) == answer * min(5, 23 - 5 * (turn - 1))
    assert server.counter("conn_yields") == 4


def test_a_get_of_many_keys_is_one_request(server: Server) -> None:
    client = server.client()
    client.sendall(b"get" + b" none" * 100 + b"\r\n" + b"get none\r\n" * 4)
    before = server.counter("requests")
    while server.counter("requests") == before:
        server.turn()
    assert received(client) == END * 5
    assert server.counter("conn_yields") == 0


def test_without_a_bound_what_came_in_one_piece_is_one_turn() -> None:
    server = Server()
    try:
        client = server.client()
        client.sendall(b"get none\r\n" * 500)
        before = server.counter("requests")
        while server.counter("requests") == before:
            server.turn()
        assert received(client) == END * 500
        assert server.counter("conn_yields") == 0
    finally:
        server.close()


def test_a_binary_client_is_closed_and_told_of_once_a_minute(server: Server) -> None:
    lib.arena_clock_freeze(server.cache.arena, 1000)
    header = b"\x80\x0a" + bytes(22)
    for _ in range(3):
        client = server.client()
        client.sendall(header)
        assert server.serve_until_closed(client) == b""
    assert server.counter("binary_refused") == 3
    assert b"worker 0: closed 3 connections of clients that speak the binary" in server.said()
    client = server.client()
    client.sendall(header)
    server.serve_until_closed(client)
    assert server.said() == b""
    lib.arena_clock_freeze(server.cache.arena, 1060)
    assert b"worker 0: closed 1 connections" in server.said()


def test_only_the_first_byte_says_binary(server: Server) -> None:
    client = server.client()
    client.sendall(b"mn\r\n\x80\x0aget none\r\n")
    before = server.counter("requests")
    while server.counter("requests") < before + 3:
        server.turn()
    assert received(client) == b"MN\r\nERROR\r\n" + END


def test_with_ascii_only_the_first_byte_says_nothing() -> None:
    server = Server(protocol_negotiated=0)
    try:
        client = server.client()
        client.sendall(b"\x80\x0a")
        before = server.counter("requests")
        while server.counter("requests") == before:
            server.turn()
        assert received(client) == b"ERROR\r\n"
        assert server.counter("binary_refused") == 0
    finally:
        server.close()


def test_a_date_is_understood_by_the_present_wall_clock(server: Server) -> None:
    """The arena of this test was made with a wall clock that was wrong by years."""
    lib.engine_tick(server.engine)
    client = server.client()
    lib.engine_tick(server.engine)
    client.sendall(b"set a 0 %d 1\r\nx\r\nmg a t\r\n" % (int(time.time()) + 1000))
    before = server.counter("requests")
    while server.counter("requests") < before + 2:
        server.turn()
    answer = received(client)
    assert answer.startswith(b"STORED\r\nHD t")
    assert 990 <= int(answer.split(b"t")[-1]) <= 1001
