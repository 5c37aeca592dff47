"""How many requests of one connection are served before others (-R); closed doors; dates."""

import select
import socket
import time
from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.round_server import Server

END = b"END\r\n"


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


def test_who_speaks_a_protocol_that_is_not_open_is_closed_and_told_of_once_a_minute() -> None:
    server = Server(auth_required=1)
    try:
        check_closed_doors(server)
    finally:
        server.close()


def check_closed_doors(server: Server) -> None:
    lib.arena_clock_freeze(server.cache.arena, 1000)
    header = b"\x80\x0a" + bytes(22)
    for _ in range(3):
        client = server.client()
        client.sendall(header)
        assert server.serve_until_closed(client) == b""
    assert server.counter("protocol_refused") == 3
    assert b"worker 0: closed 3 connections of clients that speak a protocol" in server.said()
    client = server.client()
    client.sendall(header)
    server.serve_until_closed(client)
    assert server.said() == b""
    lib.arena_clock_freeze(server.cache.arena, 1060)
    assert b"worker 0: closed 1 connections" in server.said()


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
