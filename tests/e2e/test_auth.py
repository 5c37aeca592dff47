"""Authentication with -Y: the text protocol's token in a set, on pymc as on memcached."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.connection import Address, Connection
from tests.support.deadline import wait_until
from tests.support.programs import Program
from tests.support.server import Server


@pytest.fixture(params=["pymc", "memcached"])
def program(request: pytest.FixtureRequest) -> Program:
    name = "pymc" if request.param == "pymc" else "oracle"
    found = request.getfixturevalue(name)
    assert isinstance(found, Program)
    return found


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("alice:wonder\nbob:builder\n")
    return path


def log_in(connection: Connection, token: bytes) -> bytes:
    return connection.store("auth", token)


def test_only_tokens_open_the_door(program: Program, tokens: Path) -> None:
    with Server(program, ["-t", "2", "-Y", str(tokens)]) as server, server.connect() as connection:
        for command in ("get a", "version", "stats", "flush_all", "mg a", "mn"):
            assert connection.ask(command).startswith(b"CLIENT_ERROR unauthenticated"), command
        assert log_in(connection, b"alice wrong") == b"CLIENT_ERROR authentication failure"
        assert log_in(connection, b"alice") == b"CLIENT_ERROR bad authentication token format"
        assert log_in(connection, b"carol wonder") == b"CLIENT_ERROR authentication failure"
        assert log_in(connection, b"bob builder") == b"STORED"
        assert connection.store("a", b"1") == b"STORED"
        assert connection.fetch("a") == b"1"
        # The token itself was never stored.
        assert connection.fetch("auth") is None
        stats = connection.stats()
        # What has no password in it is not even a try.
        assert (stats["auth_cmds"], stats["auth_errors"]) == ("3", "2")
        assert connection.stats("settings")["auth_enabled_ascii"] != "no"


def test_each_connection_logs_in(program: Program, tokens: Path) -> None:
    with (
        Server(program, ["-t", "2", "-Y", str(tokens)]) as server,
        server.connect() as first,
        server.connect() as second,
    ):
        assert log_in(first, b"alice wonder") == b"STORED"
        assert second.ask("get a") == b"CLIENT_ERROR unauthenticated"


def test_every_door_asks(pymc: Program, tokens: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    doors = ["-s", str(path), "-o", "unix_and_tcp", "-p", "-1"]
    listen = ["-l", "127.0.0.1,proto[ascii]:127.0.0.2,tag[a]:127.0.0.3"]
    with Server(pymc, ["-t", "2", "-Y", str(tokens), *doors, *listen]) as server:
        ports = [port for _, port in server.ports]
        hosts = [f"127.0.0.{number}" for number in (1, 2, 3)]
        addresses: list[Address] = [str(path), *zip(hosts, ports, strict=True)]
        for address in addresses:
            with Connection(address) as connection:
                assert connection.ask("get a") == b"CLIENT_ERROR unauthenticated"
                connection.send(b"\r\n" * 1000)
                for _ in range(1000):
                    assert connection.read_line() == b"CLIENT_ERROR unauthenticated\r\n"
                assert log_in(connection, b"bob builder") == b"STORED"
                assert connection.fetch("a") is None
            with Connection(address) as connection:
                # The binary protocol has no login here, so it has no door.
                connection.send(b"\x80\x0a" + bytes(22))
                assert not connection.finish().startswith(b"\x81")
            with Connection(address) as connection:
                # Not even the line of a get may be endless here.
                connection.send(b"get " + b"a " * 1500)
                assert connection.finish() == b""


def test_sighup_reads_the_file_again(pymc: Program, tokens: Path) -> None:
    with Server(pymc, ["-t", "2", "-Y", str(tokens)]) as server:
        tokens.write_text("carol:singer\n")
        os.kill(server.pid, signal.SIGHUP)

        def carol_may() -> bool:
            with server.connect() as connection:
                return log_in(connection, b"carol singer") == b"STORED"

        def alice_may_not() -> bool:
            with server.connect() as connection:
                return log_in(connection, b"alice wonder").startswith(b"CLIENT_ERROR")

        wait_until(carol_may, "the new token counts")
        # Each worker reads the file for itself.
        wait_until(alice_may_not, "the old token counts no more")


def test_missing_file_is_refused(program: Program, tmp_path: Path) -> None:
    server = Server(program, ["-Y", str(tmp_path / "nothing")], wait=False)
    try:
        assert server.wait_exit() != 0
        assert server.stderr
    finally:
        server.stop(check=False)
