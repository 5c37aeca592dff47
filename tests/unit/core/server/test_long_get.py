"""A get of very many keys from a client that writes all of it before it reads anything."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.core.engine_server import Server

MIB = 1 << 20
AHEAD_BYTES_MAX = 32 * MIB
VALUE = b"v" * 100


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def write_all(server: Server, client: socket.socket, data: bytes) -> int:
    """Sends without reading until all is sent or nothing moves any more; how much was sent."""
    client.setblocking(False)
    sent = 0
    while sent < len(data):
        piece = server.send_some(client, data[sent : sent + MIB])
        sent += piece
        before = server.store.counters()["bytes_read"]
        server.serve()
        if not piece and server.store.counters()["bytes_read"] == before:
            break
    return sent


def read_to(server: Server, client: socket.socket, size: int) -> bytes:
    pieces = []
    missing = size
    while missing > 0:
        piece = server.receive_some(client, min(missing, MIB))
        pieces.append(piece)
        missing -= len(piece)
        server.turn()
    return b"".join(pieces)


def answer_of(key: bytes, count: int) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(VALUE), VALUE) * count + b"END\r\n"


@pytest.mark.parametrize(("count", "key_bytes"), [(40_000, 200), (200_000, 20)])
def test_it_is_read_to_its_end(server: Server, count: int, key_bytes: int) -> None:
    key = b"k" * key_bytes
    server.store.put(key, VALUE)
    client = server.connect(buffer_bytes=65536)
    line = b"get" + b" %s" % key * count + b"\r\n"
    assert write_all(server, client, line) == len(line)
    # The keys wait, and not their answers; of the line's buffer half may be free.
    assert 0 < server.store.counters()["read_buf_bytes"] <= 2 * len(line)
    expected = answer_of(key, count)
    is_equal = read_to(server, client, len(expected)) == expected
    assert is_equal
    client.setblocking(True)
    client.sendall(b"mn\r\n")
    server.serve()
    assert client.recv(100) == b"MN\r\n"
    counters = server.store.counters()
    assert (counters["read_buf_bytes"], counters["read_ahead_refused"]) == (0, 0)
    assert counters["response_buf_bytes"] == 0


def test_two_of_them_and_what_follows(server: Server) -> None:
    key = b"k" * 200
    server.store.put(key, VALUE)
    client = server.connect(buffer_bytes=65536)
    line = b"get" + b" %s" % key * 20_000 + b"\r\n"
    expected = answer_of(key, 20_000)
    assert write_all(server, client, line) == len(line)
    # What follows the line is not read before the client has read.
    sent = write_all(server, client, line + b"mn\r\n")
    assert sent < len(line)
    is_equal = read_to(server, client, len(expected)) == expected
    assert is_equal
    assert write_all(server, client, (line + b"mn\r\n")[sent:]) == len(line) + 4 - sent
    is_equal = read_to(server, client, len(expected) + 4) == expected + b"MN\r\n"
    assert is_equal


def test_the_bound(server: Server) -> None:
    """Beyond it the client is not read from until it reads; then it goes on as if nothing was."""
    key = b"k" * 250
    server.store.put(key, VALUE)
    client = server.connect(buffer_bytes=65536)
    count = (AHEAD_BYTES_MAX + 16 * MIB) // 251
    line = b"get" + b" %s" % key * count + b"\r\n"
    sent = write_all(server, client, line)
    counters = server.store.counters()
    assert AHEAD_BYTES_MAX <= sent < len(line)
    assert counters["read_ahead_refused"] == 1
    assert counters["read_buf_bytes"] <= AHEAD_BYTES_MAX
    expected = answer_of(key, count)
    received = []
    missing = len(expected)
    while missing > 0:
        piece = server.receive_some(client)
        received.append(piece)
        missing -= len(piece)
        sent += server.send_some(client, line[sent : sent + 65536])
        server.turn()
    is_equal = b"".join(received) == expected
    assert is_equal
    assert server.store.counters()["read_buf_bytes"] == 0


def test_a_limit_on_input_is_kept(server: Server) -> None:
    server.store.cache.set_live("read_buffer_limit_bytes", MIB)
    key = b"k" * 250
    server.store.put(key, VALUE)
    client = server.connect(buffer_bytes=65536)
    count = 8 * MIB // 251
    line = b"get" + b" %s" % key * count + b"\r\n"
    assert write_all(server, client, line) < len(line)
    counters = server.store.counters()
    assert counters["read_buf_bytes"] <= MIB
    assert counters["read_ahead_refused"] == 1


def test_who_leaves_takes_what_waited_with_him(server: Server) -> None:
    key = b"k" * 200
    server.store.put(key, VALUE)
    client = server.connect(buffer_bytes=65536)
    line = b"get" + b" %s" % key * 20_000
    assert write_all(server, client, line) == len(line)
    client.close()
    server.serve()
    counters = server.store.counters()
    assert (counters["read_buf_bytes"], counters["response_buf_bytes"]) == (0, 0)
    assert counters["curr_connections"] == 0


def test_who_says_no_more_still_gets_his_answers(server: Server) -> None:
    key = b"k" * 200
    server.store.put(key, VALUE)
    client = server.connect(buffer_bytes=65536)
    line = b"get" + b" %s" % key * 20_000 + b"\r\n"
    assert write_all(server, client, line) == len(line)
    client.shutdown(socket.SHUT_WR)
    server.serve()
    expected = answer_of(key, 20_000)
    is_equal = read_to(server, client, len(expected)) == expected
    assert is_equal
    server.serve()
    client.setblocking(True)
    assert client.recv(1) == b""
