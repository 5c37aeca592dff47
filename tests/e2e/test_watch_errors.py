"""`watch errors` on a whole server: doors that were closed, logins, datagrams, binary requests."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.connection import Connection
from tests.support.datagrams import DatagramClient
from tests.support.packets import HEADER, request, storing
from tests.support.programs import Program
from tests.support.server import Server
from tests.support.watching import fields, watching


@contextmanager
def errors_of(server: Server) -> Iterator[Connection]:
    with server.connect() as watcher:
        watching(watcher, "errors")
        yield watcher


def test_refused_connections(pymc: Program) -> None:
    args = ["-t", "2", "-c", "4", "-o", "maxconns_fast"]
    with Server(pymc, args) as server, ExitStack() as stack:
        watcher = stack.enter_context(errors_of(server))
        while True:
            client = stack.enter_context(server.connect())
            client.send(b"mn\r\n")
            if client.read_line() != b"MN\r\n":
                break
        line = fields(watcher.read_line())
        assert line[b"cmd"] == b"connect"
        assert line[b"reason"] == b"ERROR%20Too%20many%20open%20connections"
        assert int(line[b"rport"]) == client.socket.getsockname()[1]
        assert b"cfd" not in line


def test_failed_logins(pymc: Program, tmp_path: Path) -> None:
    """Through the door of each protocol."""
    users = tmp_path / "users"
    users.write_text("alice:wonder\n")
    env = {"MEMCACHED_SASL_PWDB": str(users)}
    with Server(pymc, ["-t", "2", "-S", "-Y", str(users)], env=env) as server, ExitStack() as stack:
        watcher, text, binary = (stack.enter_context(server.connect()) for _ in range(3))
        assert watcher.store("auth", b"alice wonder") == b"STORED"
        watching(watcher, "errors")
        assert text.store("auth", b"alice wrong").startswith(b"CLIENT_ERROR")
        binary.send(request("sasl_auth", b"PLAIN", b"\0alice\0wrong"))
        lines = [fields(watcher.read_line()) for _ in range(2)]
    assert [line[b"cmd"] for line in lines] == [b"set", b"sasl_auth"]
    assert [line[b"reason"] for line in lines] == [
        b"CLIENT_ERROR%20authentication%20failure",
        b"Auth%20failure.",
    ]
    assert not any(b"wrong" in line[b"key"] for line in lines)


def test_errors_of_datagrams(pymc: Program) -> None:
    with Server(pymc, ["-t", "2", "-U", "-1"]) as server, errors_of(server) as watcher:
        with DatagramClient("127.0.0.1", server.udp_port) as client:
            assert client.ask(b"nonsense\r\n") == b"ERROR\r\n"
            port = client.socket.getsockname()[1]
        line = fields(watcher.read_line())
        assert (line[b"cmd"], line[b"transport"]) == (b"nonsense", b"udp")
        assert int(line[b"rport"]) == port


def test_errors_of_binary_requests(pymc: Program) -> None:
    """Also that of a value which came in pieces, and found no room for the rest."""
    args = ["-t", "1", "-M", "-m", "32", "-I", "16m"]
    with Server(pymc, args) as server, errors_of(server) as watcher, server.connect() as client:
        client.send(request("0x7f") + request("incr", b"k"))
        lines = [fields(watcher.read_line()) for _ in range(2)]
        assert (lines[0][b"cmd"], lines[0][b"reason"]) == (b"unknown", b"Unknown%20command")
        assert (lines[1][b"cmd"], lines[1][b"key"]) == (b"incr", b"k")
        assert lines[1][b"reason"] == b"Invalid%20arguments"
    value = b"x" * (15 << 20)
    with Server(pymc, args) as server, errors_of(server) as watcher, server.connect() as client:
        for number in range(3):
            client.send(storing("set", b"large%d" % number, value))
            header = client.read_exactly(HEADER.size)
            if header[6:8] != bytes(2):
                break
        line = fields(watcher.read_line())
    assert (line[b"cmd"], line[b"key"]) == (b"set", b"large%d" % number)
    assert line[b"reason"] == b"Out%20of%20memory"
