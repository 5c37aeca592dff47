"""Clients that stop in the middle of a value: whom the engine closes, when, and what it says."""

from collections.abc import Iterator

import pytest

from tests.support.core.driver import MIB
from tests.support.core.engine_server import TIMEOUT_SECONDS, VALUE_BYTES, Server


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
    told = (
        "worker 0: closed 1 clients that were silent for 60 s in the middle of a value or record\n"
    )
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
