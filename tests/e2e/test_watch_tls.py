"""What `watch` tells of encrypted connections: who they are, and why they came to nothing."""

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificate_files import CertificateFiles
from tests.support.certs import Pair
from tests.support.connection import Connection
from tests.support.deadline import wait_until
from tests.support.programs import Program
from tests.support.tls_server import TlsServer, client_context
from tests.support.watching import fields, watching

ALLOWED, DENIED = "spiffe://test/a", "spiffe://test/b"
ENCODED = b"spiffe%3A%2F%2Ftest%2F"


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(tmp_path)


@pytest.fixture
def server(pymc: Program, files: CertificateFiles) -> Iterator[TlsServer]:
    """Asks for certificates at one port; the first is plain, and where the watchers are."""
    ids = files.folder / "ids"
    ids.write_text(f"{ALLOWED}\n")
    options = f"ssl_verify_mode=2,ssl_allowed_ids={ids}"
    ports = "127.0.0.1:-1,notls:127.0.0.1:-1"
    client = files.root.client(uri=ALLOWED)
    with TlsServer(pymc, files, ["-t", "2", "-o", options, "-l", ports], client=client) as started:
        yield started


def plain(server: TlsServer) -> Connection:
    return Connection(("127.0.0.1", server.ports[1][1]))


def alone(*clients: Connection) -> None:
    """Whoever asked before, as whether the server is up, is gone; these are all there."""
    count = str(len(clients))
    wait_until(lambda: clients[0].stats()["curr_connections"] == count, "others are gone")


def test_who_a_client_is(server: TlsServer) -> None:
    with plain(server) as watcher:
        alone(watcher)
        watching(watcher, "connevents")
        with server.connect() as client:
            assert client.ask("mn") == b"MN"
            port = client.socket.getsockname()[1]
        begun, ended = (fields(watcher.read_line()) for _ in range(2))
    assert (begun[b"type"], ended[b"type"]) == (b"conn_new", b"conn_close")
    assert begun[b"identity"] == ended[b"identity"] == ENCODED + b"a"
    assert int(begun[b"rport"]) == int(ended[b"rport"]) == port
    assert (begun[b"transport"], ended[b"reason"]) == (b"tcp", b"normal")
    assert begun[b"cfd"] == ended[b"cfd"]


def refused(server: TlsServer, client: Pair | None) -> None:
    """A handshake that the server ends, by the certificate."""
    context = client_context(server.files, client)
    with contextlib.suppress(OSError), server.connect_as(context) as connection:
        connection.read_to_close()


def test_failed_handshakes(server: TlsServer) -> None:
    """Each is one line of its own, and for watchers of errors one more with the reason."""
    root = server.files.root
    with plain(server) as watcher, plain(server) as of_errors:
        alone(watcher, of_errors)
        watching(watcher, "connevents")
        watching(of_errors, "errors")
        refused(server, None)
        refused(server, root.client(uri=DENIED))
        with Connection(server.address) as silent:
            silent.send(b"get a\r\n")
            silent.read_to_close()
        lines = [fields(watcher.read_line()) for _ in range(3)]
        errors = [fields(of_errors.read_line()) for _ in range(3)]
    assert [line[b"type"] for line in lines] == [b"conn_close"] * 3
    assert [line[b"reason"] for line in lines] == [b"error"] * 3
    assert [line.get(b"identity") for line in lines] == [None, ENCODED + b"b", None]
    assert [line[b"cmd"] for line in errors] == [b"tls_handshake"] * 3
    assert [line[b"cfd"] for line in errors] == [line[b"cfd"] for line in lines]
    assert [line[b"rport"] for line in errors] == [line[b"rport"] for line in lines]
    assert ENCODED + b"b" in errors[1][b"reason"]
    assert len({line[b"reason"] for line in errors}) == 3


def test_plain_and_encrypted_in_turns(server: TlsServer) -> None:
    """Connections that follow each other have the same record, and nothing of each other."""
    with plain(server) as watcher:
        alone(watcher)
        watching(watcher, "connevents")
        for _ in range(30):
            with server.connect() as client:
                assert client.ask("mn") == b"MN"
            lines = [fields(watcher.read_line()) for _ in range(2)]
            assert [line[b"identity"] for line in lines] == [ENCODED + b"a"] * 2
            with plain(server) as client:
                assert client.ask("mn") == b"MN"
            lines = [fields(watcher.read_line()) for _ in range(2)]
            assert [line[b"type"] for line in lines] == [b"conn_new", b"conn_close"]
            assert not any(b"identity" in line for line in lines)
            refused(server, None)
            assert fields(watcher.read_line())[b"reason"] == b"error"


def test_a_watcher_may_be_encrypted(server: TlsServer) -> None:
    with server.connect() as watcher, plain(server) as other:
        assert isinstance(watcher.socket, ssl.SSLSocket)
        watching(watcher, "fetchers")
        for turn in range(50):
            keys = [b"k%d.%d" % (turn, number) for number in range(100)]
            other.send(b"".join(b"get %s\r\n" % key for key in keys))
            assert other.read_exactly(5 * 100) == b"END\r\n" * 100
            assert [fields(watcher.read_line())[b"key"] for _ in keys] == keys
