"""Very many clients that begin a handshake and fall silent: memory, others, and their end."""

import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.certificate_files import CertificateFiles
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.tls_server import TlsServer

CLIENTS = 20_000
HANDSHAKE_SECONDS = 300
MEBIBYTE = 1 << 20
# OpenSSL's state, its buffers of 34 KiB, and the beginning of the message.
CLIENT_BYTES_MAX = 56 * 1024


@pytest.fixture
def descriptors() -> Iterator[int]:
    """How many a process may have: as many as the clients need, where the machine allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, min(hard, CLIENTS + 2000))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def half_hello() -> bytes:
    out = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = out.read()
    return hello[: len(hello) // 2]


def private_bytes(server: TlsServer) -> int:
    return sum(psutil.Process(pid).memory_full_info().uss for pid in server.worker_pids())


@pytest.mark.slow
def test_many_half_open_handshakes(pymc: Program, tmp_path: Path, descriptors: int) -> None:
    count = min(CLIENTS, descriptors - 600)
    options = f"ssl_handshake_timeout={HANDSHAKE_SECONDS}"
    args = ["-t", "2", "-c", str(count + 100), "-o", options]
    half = half_hello()
    clients: list[socket.socket] = []
    files = CertificateFiles(tmp_path)
    with TlsServer(pymc, files, args) as server, server.connect() as bystander:
        assert bystander.store("bystander", b"here") == b"STORED"
        before = private_bytes(server)
        try:
            for number in range(count):
                client = socket.create_connection(("127.0.0.1", server.port), timeout=scaled(20))
                clients.append(client)
                client.send(half)
                if number % 500 == 0:
                    assert bystander.fetch("bystander") == b"here"
            wait_until(
                lambda: int(bystander.stats()["curr_connections"]) >= count + 1,
                "all are connected",
                timeout_seconds=scaled(60),
            )
            grown = private_bytes(server) - before
            assert grown < count * CLIENT_BYTES_MAX + 16 * MEBIBYTE, f"{grown // count} bytes each"
            with server.connect() as another:
                assert another.fetch("bystander") == b"here"
        finally:
            for client in clients:
                client.close()
        wait_until(
            lambda: int(bystander.stats()["curr_connections"]) <= 2,
            "those who left are forgotten",
            timeout_seconds=scaled(60),
        )
        assert bystander.fetch("bystander") == b"here"
