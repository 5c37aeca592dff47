"""A conversation over TLS: new keys in the middle of it, and what no client may change."""

import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificate_files import CertificateFiles
from tests.support.connection import Connection
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.tls_server import TlsServer

LARGE = b"0123456789abcdef" * 60_000


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(tmp_path)


@pytest.fixture
def server(pymc: Program, files: CertificateFiles) -> Iterator[TlsServer]:
    with TlsServer(pymc, files, ["-t", "2", "-vv"]) as started:
        yield started


class OpenSsl:
    """`openssl s_client`, which takes a line that begins with K, k or R for a command to itself."""

    def __init__(self, server: TlsServer, *args: str) -> None:
        self._said_path = server.files.folder / "said"
        with open(self._said_path, "wb") as said:
            self._process = subprocess.Popen(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-crlf", *args],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                bufsize=0,
            )
        self.wait_for(b"Verify return code", 1)

    def __enter__(self) -> "OpenSsl":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin
        self._process.stdin.close()

    def say(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + b"\n")

    def said(self) -> bytes:
        return self._said_path.read_bytes()

    def wait_for(self, text: bytes, times: int) -> None:
        wait_until(lambda: self.said().count(text) >= times, f"{text!r}, {times} times")

    def wait_end(self) -> None:
        wait_until(lambda: self._process.poll() is not None, "s_client ends")


@pytest.mark.parametrize("command", [b"K", b"k"])
def test_new_keys(server: TlsServer, command: bytes) -> None:
    """`K` asks the server for new keys too; both also while a large value is on its way."""
    with server.connect() as other:
        assert other.ask(b"set a 0 0 %d\r\n" % len(LARGE) + LARGE) == b"STORED"
    with OpenSsl(server, "-tls1_3") as client:
        for turn in range(1, 4):
            client.say(b"mn")
            client.wait_for(b"MN\r\n", turn)
            client.say(command)
            client.wait_for(b"KEYUPDATE", turn)
        client.say(b"get a")
        client.wait_for(b"VALUE a", 1)
        client.say(command)
        client.wait_for(LARGE + b"\r\nEND\r\n", 1)
        client.say(b"mn")
        client.wait_for(b"MN\r\n", 4)


def test_no_renegotiation(server: TlsServer) -> None:
    with server.connect() as other, OpenSsl(server, "-tls1_2") as client:
        client.say(b"mn")
        client.wait_for(b"MN\r\n", 1)
        client.say(b"R")
        client.wait_for(b"no renegotiation", 1)
        client.wait_end()
        assert other.ask(b"mn") == b"MN"


def test_too_many_clients_are_closed_without_a_word(pymc: Program, files: CertificateFiles) -> None:
    args = ["-t", "1", "-c", "2", "-o", "maxconns_fast"]
    with TlsServer(pymc, files, args) as server, server.connect() as one, server.connect():
        with pytest.raises(OSError):
            server.connect()
        with Connection(server.address, scaled(5.0)) as plain:
            assert plain.read_to_close() == b""
        assert one.ask(b"mn") == b"MN"
        assert int(one.stats()["rejected_connections"]) >= 2


def test_long_answers_come_from_the_worker(server: TlsServer) -> None:
    """Another process cannot encrypt: nothing is lent to it."""
    with server.connect() as client:
        for number in range(500):
            client.send(b"set key%d 0 0 1 noreply\r\nx\r\n" % number)
        assert client.ask(b"mn") == b"MN"
        client.send(b"lru_crawler metadump all\r\nmn\r\n")
        lines = 0
        while client.read_line() != b"END\r\n":
            lines += 1
        assert lines == 500
        assert client.read_line() == b"MN\r\n"


def test_workers_that_are_killed_in_handshakes(server: TlsServer) -> None:
    hello = _hello()
    for pid in server.worker_pids():
        halves = [Connection(server.address, scaled(5.0)) for _ in range(10)]
        for half in halves:
            half.send(hello[:100])
        os.kill(pid, signal.SIGKILL)
        for half in halves:
            half.close()
    wait_until(lambda: _answers(server), "it serves again")
    # What the dead had counted in is counted out again.
    wait_until(lambda: int(server.stats()["curr_connections"]) < 5, "no connection is left over")


def test_what_the_log_says(server: TlsServer) -> None:
    with Connection(server.address, scaled(5.0)) as client:
        client.send(b"get a\r\n")
        client.read_to_close()
    wait_until(lambda: "what came is not TLS" in server.stderr, "a line about it")
    assert "TLS handshake with 127.0.0.1:" in server.stderr


def _hello() -> bytes:
    out = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="a")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def _answers(server: TlsServer) -> bool:
    try:
        with server.connect() as client:
            return client.ask(b"mn") == b"MN"
    except OSError:
        return False
