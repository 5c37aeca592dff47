"""Authentication with -Y: the text protocol's token in a set, on pymc as on memcached."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.connection import Connection
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
