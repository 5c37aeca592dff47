"""Failed logins over sockets: their address is told, once a minute at most, and counts."""

import socket
from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.engine_server import Server

FAILED = b"CLIENT_ERROR authentication failure\r\n"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    lines = b"alice:wonder\n"
    assert lib.engine_set_auth(made.engine, lines, len(lines)) == 0
    yield made
    made.close()


def _fail(server: Server, address: str) -> socket.socket:
    client = socket.create_connection(server.listener.getsockname(), source_address=(address, 0))
    server.clients.append(client)
    client.sendall(b"set x 0 0 11\r\nalice wrong\r\n")
    server.serve()
    return client


def test_each_address_waits_for_itself(server: Server) -> None:
    clients = [_fail(server, f"127.0.0.{host}") for host in (1, 1, 1, 2)]
    heard = [b""] * 4
    for second in range(1, 5):
        server.pass_time(1)
        for number, client in enumerate(clients):
            if server.is_readable(client):
                assert client.recv(100) == FAILED
                heard[number] = b"%d" % second
    assert heard == [b"1", b"2", b"4", b"1"]


def test_what_is_said_is_limited(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    for host in (1, 1, 2):
        _fail(server, f"127.0.0.{host}")
    server.pass_time(1)
    assert capfd.readouterr().err == "worker 0: 3 failed logins, the last one from 127.0.0.2\n"
    _fail(server, "127.0.0.3")
    server.pass_time(30)
    assert capfd.readouterr().err == ""
    server.pass_time(30)
    assert capfd.readouterr().err == "worker 0: 1 failed logins, the last one from 127.0.0.3\n"


def test_who_waits_is_not_idle(server: Server) -> None:
    server.cache.set_live("idle_timeout_seconds", 1)
    clients = [_fail(server, "127.0.0.1") for _ in range(5)]
    server.pass_time(15)
    assert server.store.counters()["logins_delayed"] == 1
    server.pass_time(1)
    assert clients[4].recv(100) == FAILED


def test_many_come_and_go(server: Server) -> None:
    # Who left without a reset is let go with the answer.
    for _ in range(4):
        for client in [_fail(server, "127.0.0.1") for _ in range(50)]:
            client.close()
        server.serve()
        server.pass_time(100)
        server.serve()
    counters = server.store.counters()
    assert (counters["auth_errors"], counters["logins_delayed"]) == (200, 0)
    assert counters["curr_connections"] == 0
