"""The engine with reads from flash: sockets that wait, close, send more, and read slowly."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_engine_server import KINDS, READ_SECONDS, Server, needs_faults, shown
from tests.support.deadline import WAIT_SECONDS, scaled, wait_until


@pytest.fixture(params=KINDS)
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(tmp_path, KINDS[request.param])
    yield made
    made.close()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Server]:
    """Its reads take a while; so what happens meanwhile can be seen."""
    made = Server(tmp_path, lib.FLASH_READER_THREADS)
    made.slow_reads(READ_SECONDS)
    yield made
    made.close()


def test_many_clients_read(server: Server) -> None:
    server.fill(300)
    clients = [server.connect() for _ in range(20)]
    for first in range(0, 300, 20):
        for number, client in enumerate(clients):
            key = first + number
            client.sendall(b"get k%d nothing k%d\r\nmn\r\n" % (key, (key + 7) % 300))
        for number, client in enumerate(clients):
            key = first + number
            want = shown(key) + shown((key + 7) % 300) + b"END\r\nMN\r\n"
            assert server.receive(client, b"MN\r\n") == want
    assert server.tier.counters()["items"] == 0


def test_a_long_pipeline(server: Server) -> None:
    server.fill(200)
    client = server.connect()
    lines = b"".join(b"get k%d\r\nmg k%d v\r\n" % (n, n) for n in range(200))
    want = b"".join(
        shown(n) + b"END\r\nVA 100\r\n%s\r\n" % (b"k%d" % n * 100)[:100] for n in range(200)
    )
    assert server.ask(client, lines + b"mn\r\n", b"MN\r\n") == want + b"MN\r\n"


def test_values_larger_than_the_socket(server: Server) -> None:
    server.fill(8, 400_000)
    client = server.connect(receive_bytes=100_000)
    line = b"get %s\r\n" % b" ".join(b"k%d" % n for n in range(8))
    want = b"".join(shown(n, 400_000) for n in range(8)) + b"END\r\nMN\r\n"
    assert server.ask(client, line + b"mn\r\n", b"MN\r\n") == want


def test_a_client_that_never_reads(server: Server) -> None:
    server.fill(40, 200_000)
    client = server.connect(receive_bytes=4096)
    other = server.connect()
    client.sendall(b"get %s\r\n" % b" ".join(b"k%d" % n for n in range(40)))
    assert server.ask(other, b"get k1\r\nquit\r\n", b"") == shown(1, 200_000) + b"END\r\n"
    state = ffi.new("struct flash_reader_state *")

    def has_no_memory() -> bool:
        server.turn(0.01)
        lib.engine_flash_state(server.engine, state)
        return int(state.memory_bytes) == 0

    wait_until(has_no_memory, "its reads are given back")


def test_a_joined_value_that_streams_in(server: Server) -> None:
    server.fill(1)
    client = server.connect()
    client.sendall(b"append k0 0 0 50000\r\n")
    server.turn(0.1)
    for _ in range(5):
        client.sendall(b"a" * 10_000)
        server.turn(0.1)
    assert server.ask(client, b"\r\n", b"STORED\r\n") == b"STORED\r\n"
    answer = server.ask(client, b"get k0\r\n", b"END\r\n")
    assert answer.startswith(b"VALUE k0 0 50100\r\n")


def test_little_memory_for_reads(tmp_path: Path) -> None:
    server = Server(tmp_path, lib.FLASH_READER_AUTO, memory_bytes=2000)
    server.fill(60, 900)
    clients = [server.connect() for _ in range(10)]
    for client in clients:
        client.sendall(b"get %s\r\n" % b" ".join(b"k%d" % n for n in range(60)))
    for client in clients:
        answer = server.receive(client, b"END\r\n")
        assert answer == b"".join(shown(n, 900) for n in range(60)) + b"END\r\n"
    server.close()


@needs_faults
def test_seen_in_stats_and_not_idle(slow: Server) -> None:
    slow.fill(1)
    client = slow.connect()
    slow.tier.set_live("idle_timeout_seconds", 1)
    client.sendall(b"get k0\r\n")
    slow.turn(1)
    assert slow.states() == [lib.CONNECTION_IO_QUEUE]
    slow.tier.set_now(slow.tier.now + 10)
    lib.engine_tick(slow.engine)
    assert slow.receive(client, b"END\r\n") == shown(0) + b"END\r\n"
    assert slow.states() == [lib.CONNECTION_READ]
    assert slow.tier.counters()["idle_kicks"] == 0


@needs_faults
def test_more_input_while_it_waits(slow: Server) -> None:
    slow.fill(3)
    client = slow.connect()
    client.sendall(b"get k0\r\n")
    slow.turn(1)
    client.sendall(b"get k1\r\nget k")
    slow.turn(1)
    client.sendall(b"2\r\nmn\r\n")
    want = b"".join(shown(n) + b"END\r\n" for n in range(3)) + b"MN\r\n"
    assert slow.receive(client, b"MN\r\n") == want


@needs_faults
def test_half_closed_while_it_waits(slow: Server) -> None:
    slow.fill(2)
    client = slow.connect()
    client.sendall(b"get k0 k1\r\n")
    slow.turn(1)
    client.shutdown(socket.SHUT_WR)
    slow.turn(1)
    assert slow.receive(client, b"") == shown(0) + shown(1) + b"END\r\n"


@needs_faults
def test_quit_behind_a_read(slow: Server) -> None:
    slow.fill(1)
    client = slow.connect()
    assert slow.ask(client, b"get k0\r\nquit\r\nget k0\r\n", b"") == shown(0) + b"END\r\n"


@needs_faults
def test_reset_while_it_waits(slow: Server) -> None:
    slow.fill(5)
    client = slow.connect()
    client.sendall(b"get k0 k1 k2 k3 k4\r\n")
    slow.turn(1)
    # No orderly end: a reset.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    end = time.monotonic() + WAIT_SECONDS
    while slow.states():
        assert time.monotonic() < end
        slow.turn(0.01)
    counters = slow.tier.counters()
    assert counters["get_aborted_extstore"] == counters["get_extstore"] == 5
    assert counters["curr_connections"] == 0


@needs_faults
def test_closed_with_reads_under_way(slow: Server) -> None:
    slow.fill(5)
    for _ in range(3):
        slow.connect().sendall(b"get k0 k1 k2 k3 k4\r\n")
    slow.turn(1)
    # The fixture closes the engine now.


@needs_faults
def test_memory_is_served_while_flash_is_slow(slow: Server) -> None:
    slow.fill(1)
    slow.tier.send(b"set hot 0 0 1\r\nh\r\n")
    cold, hot = slow.connect(), slow.connect()
    slow.slow_reads(scaled(1.0))
    cold.sendall(b"get k0\r\n")
    slow.turn(1)
    started = time.monotonic()
    for _ in range(100):
        assert slow.ask(hot, b"get hot\r\n", b"END\r\n") == b"VALUE hot 0 1\r\nh\r\nEND\r\n"
    assert time.monotonic() - started < scaled(0.9)
    assert slow.receive(cold, b"END\r\n") == shown(0) + b"END\r\n"
