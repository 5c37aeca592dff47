"""Hostile clients: memory stays bounded, the answer is exact or a close, others never notice."""

import contextlib
import random
import resource
import socket
import struct
from collections.abc import Iterator

import psutil
import pytest

from tests.support.connection import ClosedError, Connection
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

pytestmark = pytest.mark.tcp_memory

SEED = 77_001
MEBIBYTE = 1 << 20
# What an undisturbed client may wait for an answer, on a machine that is busy with other tests.
ANSWER_SECONDS = scaled(5.0)


def private_bytes(server: Server) -> int:
    """Memory that the processes of the server do not share; the arena is shared."""
    total = 0
    for process in [psutil.Process(server.pid), *server.children()]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().uss
    return total


def restarts(server: Server) -> int:
    stats = server.stats("pymc")
    return sum(int(value) for key, value in stats.items() if key.endswith("_restarts"))


@pytest.fixture
def bystander(server: Server) -> Iterator[Connection]:
    """A client that must never notice; checked at the end once more."""
    with server.connect(ANSWER_SECONDS) as connection:
        assert connection.store("bystander", b"here") == b"STORED"
        yield connection
        assert connection.fetch("bystander") == b"here"
        assert restarts(server) == 0
        assert server.stderr == ""


def abort(connection: Connection) -> None:
    """Closes with a reset instead of an orderly end."""
    linger = struct.pack("ii", 1, 0)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def test_half_closed_socket_gets_its_answers(server: Server, bystander: Connection) -> None:
    with server.connect() as client:
        client.send(b"set a 0 0 1\r\nx\r\nget a\r\nversi")
        assert client.finish() == b"STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n"
    with server.connect() as client:
        client.send(b"set half 0 0 10\r\n12345")
        assert client.finish() == b""
    assert bystander.fetch("half") is None
    wait_until(lambda: bystander.stats()["curr_connections"] == "1", "they are gone")


def test_reset_in_the_middle_of_a_value(server: Server, bystander: Connection) -> None:
    for size in (100, 100_000, 1_000_000):
        client = server.connect()
        client.send(f"set broken 0 0 {size}\r\n".encode() + b"x" * (size // 2))
        client.wait_read_by_server()
        abort(client)
    wait_until(lambda: bystander.stats()["curr_connections"] == "1", "they are gone")
    assert bystander.fetch("broken") is None
    assert bystander.stats()["curr_items"] == "1"
    # The chunks of the half-made items are free again.
    slabs = bystander.stats("slabs")
    used = sum(int(value) for key, value in slabs.items() if key.endswith(":used_chunks"))
    assert used == 1


def test_reset_while_replies_wait(server: Server, bystander: Connection) -> None:
    assert bystander.store("big", b"x" * 1_000_000) == b"STORED"
    for _ in range(20):
        client = server.connect()
        client.send(b"get big\r\n" * 50)
        abort(client)
    wait_until(lambda: bystander.stats()["curr_connections"] == "1", "they are gone")
    # Nothing holds the item any more: it can go, and its memory serves others.
    assert bystander.ask("delete big") == b"DELETED"
    slabs = bystander.stats("slabs")
    assert sum(int(v) for key, v in slabs.items() if key.endswith(":used_chunks")) == 1


def test_random_garbage(server: Server, bystander: Connection) -> None:
    random_bytes = random.Random(SEED)
    words = [b"get ", b"set ", b"mg ", b"ms ", b"\r\n", b"\n", b" 0 0 5\r\n", b" v k", b"incr "]
    for _ in range(200):
        pieces = [
            random_bytes.choice(words)
            if random_bytes.random() < 0.6
            else random_bytes.randbytes(random_bytes.randrange(1, 40))
            for _ in range(random_bytes.randrange(1, 60))
        ]
        # Only a whole word could end the server or flush it; chance does not make one.
        with server.connect() as client, contextlib.suppress(ClosedError, TimeoutError):
            client.send(b"".join(pieces))
            client.finish()
        assert bystander.ask("mn") == b"MN", f"seed {SEED}"


@pytest.mark.parametrize("start", [b"x", b"set ", b"mg ", b"gat 0 ", b"\xff", b"\0"])
def test_endless_line_is_closed(server: Server, bystander: Connection, start: bytes) -> None:
    with server.connect() as client:
        with contextlib.suppress(ClosedError):
            client.send(start + b"y" * MEBIBYTE)
        assert client.read_to_close() == b""
    assert bystander.ask("mn") == b"MN"


def test_endless_get_is_bounded(server: Server, bystander: Connection) -> None:
    before = private_bytes(server)
    with server.connect(ANSWER_SECONDS) as client:
        # A server may close it, answer it, or stop reading it; it may not keep it all.
        client.socket.setblocking(False)
        left = 64
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while left:
                try:
                    client.socket.send(b"get " if left == 64 else b"k" * MEBIBYTE)
                except BlockingIOError:
                    assert bystander.ask("mn") == b"MN"
                left -= 1
        assert bystander.ask("mn") == b"MN"
        assert private_bytes(server) - before < 32 * MEBIBYTE


def unread_pipeline(server: Server, requests: bytes, count: int) -> Connection:
    """A client that sends many requests, as far as the server takes them, and reads nothing."""
    client = server.connect()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(count):
            client.socket.send(requests)
    client.socket.settimeout(ANSWER_SECONDS)
    return client


def test_slow_reader_of_large_values(server: Server, bystander: Connection) -> None:
    value = random.Random(SEED).randbytes(1_000_000)
    assert bystander.store("big", value) == b"STORED"
    before = private_bytes(server)
    client = server.connect()
    client.send(b"get big\r\n" * 200)
    for _ in range(50):
        assert bystander.fetch("bystander") == b"here"
    assert private_bytes(server) - before < 32 * MEBIBYTE
    # It may go on at any time, and gets all of it.
    for _ in range(200):
        assert client.read_exactly(len(b"VALUE big 0 1000000\r\n")) == b"VALUE big 0 1000000\r\n"
        assert client.read_exactly(len(value) + 2) == value + b"\r\n"
        assert client.read_exactly(5) == b"END\r\n"
    client.close()


def test_slow_reader_of_a_deleted_value(server: Server, bystander: Connection) -> None:
    value = random.Random(SEED + 1).randbytes(900_000)
    assert bystander.store("big", value) == b"STORED"
    with server.connect() as client:
        client.send(b"get big\r\n" * 20)
        first = client.read_exactly(1000)
        # What is on its way stays as it was, or the key is missing from then on; never a mixture.
        assert bystander.ask("delete big") == b"DELETED"
        for number in range(30):
            assert bystander.store(f"other{number}", b"z" * 900_000) == b"STORED"
        rest = first + client.finish()
    whole = b"VALUE big 0 900000\r\n" + value + b"\r\nEND\r\n"
    copies = 0
    while rest.startswith(whole):
        rest = rest[len(whole) :]
        copies += 1
    assert rest == b"END\r\n" * (20 - copies)
    assert copies >= 1


def test_many_requests_without_reading(server: Server, bystander: Connection) -> None:
    before = private_bytes(server)
    clients = [unread_pipeline(server, b"get bystander\r\n" * 1000, 500) for _ in range(10)]
    try:
        for _ in range(50):
            assert bystander.fetch("bystander") == b"here"
        assert private_bytes(server) - before < 32 * MEBIBYTE
    finally:
        for client in clients:
            abort(client)


def test_pipeline_does_not_starve_others(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server, server.connect(ANSWER_SECONDS) as other:
        assert other.store("a", b"x" * 100) == b"STORED"
        with server.connect() as greedy:
            greedy.send(b"get a\r\n" * 100_000)
            for _ in range(20):
                assert other.fetch("a") == b"x" * 100
            wanted = b"VALUE a 0 100\r\n" + b"x" * 100 + b"\r\nEND\r\n"
            assert greedy.read_exactly(len(wanted) * 100_000) == wanted * 100_000


@pytest.mark.slow
def test_many_connections_with_one_byte(pymc: Program) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 11_000 <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
        soft = min(hard, 20_000)
    # Client and server have the same limit, and each has some other descriptors, too.
    count = min(10_000, soft - 600)
    clients: list[socket.socket] = []
    try:
        with Server(pymc, ["-t", "2", "-c", str(count + 100)]) as server:
            bystander = server.connect(ANSWER_SECONDS)
            assert bystander.store("bystander", b"here") == b"STORED"
            before = private_bytes(server)
            for number in range(count):
                client = socket.create_connection(("127.0.0.1", server.port), timeout=scaled(20))
                clients.append(client)
                client.send(b"g")
                if number % 500 == 0:
                    assert bystander.fetch("bystander") == b"here"
            wait_until(
                lambda: int(bystander.stats()["curr_connections"]) == count + 1,
                "all are connected",
                timeout_seconds=scaled(60),
            )
            grown = private_bytes(server) - before
            assert grown < count * 4096 + 16 * MEBIBYTE, f"{grown // count} bytes a connection"
            # Every one of them still works.
            for client in clients[::97]:
                client.sendall(b"et bystander\r\n")
            for client in clients[::97]:
                connection_answer = client.recv(100)
                assert connection_answer.startswith(b"VALUE bystander 0 4\r\n")
            while clients:
                clients.pop().close()
            wait_until(
                lambda: int(bystander.stats()["curr_connections"]) == 1,
                "all are gone",
                timeout_seconds=scaled(60),
            )
            assert restarts(server) == 0
            bystander.close()
    finally:
        for client in clients:
            client.close()
