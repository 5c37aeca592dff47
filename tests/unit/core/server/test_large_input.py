"""Large values over sockets: received in pieces and with what follows, sent while they change."""

import itertools
import random
import socket
from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.engine_server import TIMEOUT_SECONDS, Server

SEED = 5_511
MIB = 1 << 20
# In the input, larger than it, of one part, at the end of a part, of many parts.
SIZES = [8193, 16_384, 32_768, 70_000, 524_288, 600_000]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def value_of(size: int, name: str = "") -> bytes:
    return random.Random(f"{SEED} {size} {name}").randbytes(size)


def exchange(server: Server, pieces: list[bytes]) -> bytes:
    """What the server says to these pieces, each served before the next is sent; then to `mn`."""
    client = server.connect()
    client.setblocking(False)
    received = b""
    for piece in [*pieces, b"mn\r\n"]:
        sent = 0
        while sent < len(piece):
            sent += server.send_some(client, piece[sent : sent + MIB])
            server.turn()
            received += server.receive_some(client)
        server.serve()
    while not received.endswith(b"MN\r\n"):
        server.turn()
        received += server.receive_some(client)
    return received


def give(server: Server, client: socket.socket, data: bytes) -> None:
    """Sends it all; comes back when the server has read it."""
    until = server.store.counters()["bytes_read"] + len(data)
    client.setblocking(False)
    while server.store.counters()["bytes_read"] < until:
        data = data[server.send_some(client, data) :] if data else data
        server.turn()


def take(server: Server, client: socket.socket, count: int) -> bytes:
    """So many bytes of the answers, or some more."""
    received = b""
    client.setblocking(False)
    while len(received) < count:
        server.turn()
        received += server.receive_some(client)
    return received


def part_bytes(server: Server) -> int:
    """How much of a large value one part holds."""
    making = server.store.begin(b"p", MIB)
    span = int(lib.store_making_span(server.store.store, making.making, ffi.new("char **")))
    making.abandon()
    return span


@pytest.mark.parametrize("size", SIZES)
def test_wherever_the_bytes_are_cut(server: Server, size: int) -> None:
    value = value_of(size)
    line = b"set k 0 0 %d\r\n" % size
    whole = line + value + b"\r\nmg k v\r\nget nothing\r\n"
    expected = b"STORED\r\nVA %d\r\n%s\r\nEND\r\nMN\r\n" % (size, value)
    ends = len(line) + size
    cuts = [1, len(line), len(line) + 5000, len(line) + 8192, len(line) + 8700]
    cuts += [ends - 1, ends, ends + 1, ends + 2, ends + 3, len(whole)]
    for cut in cuts:
        is_equal = exchange(server, [whole[:cut], whole[cut:]]) == expected
        assert is_equal, f"{size} bytes cut at {cut}"
    middle = [whole[: ends + 1], whole[ends + 1 : ends + 2], whole[ends + 2 :]]
    is_equal = exchange(server, middle) == expected
    assert is_equal, f"{size} bytes, each byte of the end alone"


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 9])
def test_one_byte_at_a_time_around_the_ends_of_parts(server: Server, parts: int) -> None:
    """A client that stops exactly there, too; once with what is before it all at once."""
    part = part_bytes(server)
    for size in (parts * part, parts * part + 1):
        value = value_of(size)
        line = b"set k 0 0 %d\r\n" % size
        whole = line + value + b"\r\nmg k v\r\n"
        expected = b"STORED\r\nVA %d\r\n%s\r\nMN\r\n" % (size, value)
        end = len(line) + parts * part
        cuts = [0, *range(end - 2, end + 5), len(whole)]
        if parts < 4:
            before = [len(line) + n * part for n in range(1, parts)]
            cuts = sorted([*cuts, *(at + n for at in before for n in (-1, 0, 1))])
        pieces = [whole[a:b] for a, b in itertools.pairwise(cuts)]
        is_equal = exchange(server, pieces) == expected
        assert is_equal, f"{size} bytes"


def test_only_what_has_come_takes_parts(server: Server) -> None:
    """Many parts are received at once, but no more are taken than have bytes."""
    part = part_bytes(server)
    for come in (8192, part - 1, part + 1, 2 * part + 100, 4 * part - 1):
        client = server.connect()
        # The line comes alone: what is behind it lies in the socket when the value begins.
        give(server, client, b"set k 0 0 %d\r\n" % (20 * part))
        give(server, client, b"x" * come)
        assert server.store.chunks()["making"] == 1 + (come + part - 1) // part
        server.pass_time(TIMEOUT_SECONDS)
        assert server.store.chunks()["making"] == 0
        assert not server.is_open(client)


@pytest.mark.parametrize("come", [0, 20, 480, 512, 5000, 8191])
def test_announced_after_a_large_value(server: Server, come: int) -> None:
    """Where only the line is received at first: an announced value still takes nothing."""
    first, second = value_of(100_000, "first"), value_of(600_000, "second")
    client = server.connect()
    give(server, client, b"set k 0 0 %d\r\n" % len(first) + first + b"\r\n")
    assert take(server, client, 8) == b"STORED\r\n"
    give(server, client, b"set k 0 0 %d\r\n" % len(second) + second[:come])
    assert server.store.chunks()["making"] == 0
    give(server, client, second[come:8192])
    assert server.store.chunks()["making"] == 2
    give(server, client, second[8192:] + b"\r\nmg k v\r\n")
    expected = b"STORED\r\nVA %d\r\n%s\r\n" % (len(second), second)
    is_equal = take(server, client, len(expected)) == expected
    assert is_equal


def test_small_ones_after_a_large_value(server: Server) -> None:
    """What was found to have come behind one command says nothing about the next."""
    large = value_of(100_000)
    small = b"".join(b"set s%d 0 0 50\r\n%s\r\n" % (n, b"x" * 50) for n in range(200))
    client = server.connect()
    give(server, client, b"set k 0 0 %d\r\n" % len(large) + large + b"\r\n")
    give(server, client, small + b"set h 0 0 600000\r\n")
    assert take(server, client, 201 * 8) == b"STORED\r\n" * 201
    assert server.store.chunks()["making"] == 0
    give(server, client, b"x" * 600)
    assert server.store.chunks()["making"] == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("command", [b"set k 0 0 %d\r\n", b"ms k %d\r\n"])
def test_many_in_a_row(server: Server, size: int, command: bytes) -> None:
    """More than are received in one turn, a small one between, and a read of each."""
    done = {b"set": b"STORED\r\n", b"ms ": b"HD\r\n"}[command[:3]]
    sent, expected = b"", b""
    for number in range(11):
        value = value_of(size, f"row{number}")
        sent += command % size + value + b"\r\nget k\r\nset s 0 0 2\r\nok\r\n"
        expected += done + b"VALUE k 0 %d\r\n%s\r\nEND\r\nSTORED\r\n" % (size, value)
    is_equal = exchange(server, [sent]) == expected + b"MN\r\n"
    assert is_equal


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("end", [b"xx", b"\rx", b"x\n", b"\n\r"])
def test_a_wrong_end(server: Server, size: int, end: bytes) -> None:
    """What follows the two bytes is a command again, and the old value stays."""
    server.store.put(b"k", b"old")
    line = b"set k 0 0 %d\r\n" % size
    whole = line + value_of(size) + end + b"get k\r\n"
    expected = b"CLIENT_ERROR bad data chunk\r\nVALUE k 0 3\r\nold\r\nEND\r\nMN\r\n"
    assert exchange(server, [whole]) == expected
    cut = len(line) + size + 1
    assert exchange(server, [whole[:cut], whole[cut:]]) == expected


def test_no_room_for_the_rest() -> None:
    """The answer comes at once, the rest is thrown away, and what follows is served."""
    server = Server(limit_bytes=2 * MIB)
    server.store.cache.set_live("evictions_enabled", 0)
    value = value_of(3 * MIB)
    whole = b"set k 0 0 %d\r\n" % len(value) + value + b"\r\nget k\r\n"
    expected = b"SERVER_ERROR out of memory storing object\r\nEND\r\nMN\r\n"
    assert exchange(server, [whole]) == expected
    server.close()


@pytest.mark.parametrize("size", [5000, 10_000, 16_384])
def test_a_slow_reader_gets_the_old_bytes(server: Server, size: int) -> None:
    """A reply that waits for its reader, of values that are overwritten and deleted meanwhile."""
    count = 300
    keys = [b"k%d" % number for number in range(count)]
    values = [value_of(size, f"slow{number}") for number in range(count)]
    for key, value in zip(keys, values, strict=True):
        server.store.put(key, value)
    client = server.connect(buffer_bytes=8192)
    client.sendall(b"get " + b" ".join(keys) + b"\r\n")
    server.serve()
    asked = 40  # What one reply holds at most is 64 values; these were all asked for by now.
    for key in keys[:asked]:
        server.store.put(key, b"n" * size)
        server.store.delete(key)
    for number in range(200):
        server.store.put(b"other%d" % number, b"o" * size)
    client.setblocking(False)
    received = b""
    while not received.endswith(b"END\r\n"):
        server.turn()
        received += server.receive_some(client, 3000)
    expected = b"".join(
        b"VALUE %s 0 %d\r\n%s\r\n" % (key, size, value)
        for key, value in zip(keys, values, strict=True)
    )
    is_equal = received == expected + b"END\r\n"
    assert is_equal
    assert server.store.limbo_step(0) == 0


def test_answers_in_order_beside_other_clients(server: Server) -> None:
    """Clients of one turn: what is deferred for one leaves before what follows its large value."""
    value = value_of(60_000)
    whole = b"set s 0 0 1\r\nx\r\nset k 0 0 %d\r\n" % len(value) + value + b"\r\nmn\r\nget k\r\n"
    expected = b"STORED\r\nSTORED\r\nMN\r\nVALUE k 0 %d\r\n%s\r\nEND\r\n" % (len(value), value)
    clients = [server.connect() for _ in range(4)]
    server.serve()
    for client in clients:
        client.setblocking(False)
        assert server.send_some(client, whole) == len(whole)
    for client in clients:
        received = b""
        while len(received) < len(expected):
            server.turn()
            received += server.receive_some(client)
        is_equal = received == expected
        assert is_equal
