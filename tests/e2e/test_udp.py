"""UDP on whole servers: each worker has its socket, and memcached's clients find what they know."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.datagrams import DatagramClient
from tests.support.deadline import wait_until
from tests.support.programs import Program
from tests.support.server import Server


@pytest.fixture(params=["pymc", "memcached"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    name = "pymc" if request.param == "pymc" else "newest_oracle"
    program = request.getfixturevalue(name)
    with Server(program, ["-t", "2", "-U", "-1"]) as made:
        yield made


def test_it_stores_and_fetches(server: Server) -> None:
    with DatagramClient("127.0.0.1", server.udp_port) as client, server.connect() as connection:
        assert client.ask(b"set a 0 0 5\r\nvalue\r\n") == b"STORED\r\n"
        assert connection.fetch("a") == b"value"
        assert client.ask(b"get a\r\n") == b"VALUE a 0 5\r\nvalue\r\nEND\r\n"
        assert client.ask(b"nonsense\r\n") == b"ERROR\r\n"
        conns = connection.stats("conns")
        # memcached has a line for each thread.
        number = min(key.partition(":")[0] for key in conns if key.endswith(":UDP"))
        assert conns[f"{number}:addr"] == f"udp:127.0.0.1:{server.udp_port}"
        assert conns[f"{number}:state"] == "conn_read"


def test_statistics(server: Server) -> None:
    with server.connect(), DatagramClient("127.0.0.1", server.udp_port) as client:
        lines = client.ask(b"stats\r\n").split(b"\r\n")
        assert lines[-2:] == [b"END", b""]
        assert any(line.startswith(b"STAT curr_items ") for line in lines)
        settings = client.ask(b"stats settings\r\n")
        assert b"STAT udpport " in settings


def test_an_answer_of_a_hundred_datagrams(pymc: Program) -> None:
    # As much as fits into the buffer that Debian allows, with what the kernel adds to each.
    value = bytes(range(256)) * 586
    with Server(pymc, ["-t", "2", "-U", "-1"]) as server, server.connect() as connection:
        assert connection.store("large", value) == b"STORED"
        with DatagramClient("127.0.0.1", server.udp_port) as client:
            assert client.ask(b"get large\r\n") == b"VALUE large 0 %d\r\n%s\r\nEND\r\n" % (
                len(value),
                value,
            )


def test_nobody_administers_by_udp(pymc: Program) -> None:
    with (
        Server(pymc, ["-t", "1", "-A", "-U", "-1"]) as server,
        DatagramClient("127.0.0.1", server.udp_port) as client,
    ):
        for line in (b"flush_all", b"shutdown", b"watch", b"verbosity 2", b"lru mode flat"):
            assert client.ask(line + b"\r\n") == b"CLIENT_ERROR not permitted\r\n"
        assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_disabled_commands_are_disabled_here_too(pymc: Program) -> None:
    with (
        Server(pymc, ["-t", "1", "-U", "-1", "-o", "disable_commands=set"]) as server,
        DatagramClient("127.0.0.1", server.udp_port) as client,
    ):
        answer = client.ask(b"set a 0 0 1\r\nx\r\nmn\r\n")
        assert answer == b"CLIENT_ERROR set not allowed\r\nMN\r\n"


def test_a_unix_socket_turns_it_off(pymc: Program, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with Server(pymc, ["-t", "1", "-s", path, "-U", "-1"]) as server, server.connect() as client:
        assert not any(key.endswith(":UDP") for key in client.stats("conns"))
        wait_until(lambda: not server.ports, "there is no port")
