"""Connections on the way of kernel TLS: records that the socket takes in part, and new keys.

The machine's kernel need not encrypt: OpenSSL does then, by the same calls.
"""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pymc.core.ffi import ffi, lib
from pymc.core.tls import TlsContext, TlsMaterial, TlsRules
from tests.support.core.engine_server import Server
from tests.support.core.tls_conn import authority, client_context, server_pair
from tests.support.deadline import wait_until

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
LITTLE_BYTES = 4096
LARGE = bytes(range(256)) * 4000


class KernelServer(Server):
    """An engine whose one listener is encrypted."""

    def __init__(self, pretends: bool) -> None:
        super().__init__()
        self.door = socket.create_server(("127.0.0.1", 0))
        self.door.setblocking(False)
        arena: Any = SimpleNamespace(pointer=self.cache.arena)
        pair = server_pair()
        material = TlsMaterial(chain=pair.chain_pem, key=pair.key_pem, ca=authority().pem)
        self.context = TlsContext(arena, material, TlsRules(uses_kernel=True))
        assert lib.engine_set_tls(self.engine, self.context.pointer) == 0
        if pretends:
            lib.engine_pretend_kernel_tls(self.engine)
        options = ffi.new(
            "struct engine_listener_options *",
            {"kind": lib.ENGINE_TCP, "tls": lib.ENGINE_TLS_SERVER},
        )
        assert lib.engine_listen(self.engine, self.door.fileno(), options) == 0

    def close(self) -> None:
        super().close()
        self.door.close()
        self.context.release()

    def counter(self, name: str) -> int:
        return self.store.counters()[name]


class TlsClient:
    """A client whose records the test brings over, so that it may take as little as it likes."""

    def __init__(self, server: KernelServer, version: ssl.TLSVersion, buffer_bytes: int = 0):
        self.server = server
        self.socket = socket.socket()
        if buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.socket.connect(server.door.getsockname())
        self.socket.setblocking(False)
        server.clients.append(self.socket)
        self._in = ssl.MemoryBIO()
        self.out = ssl.MemoryBIO()
        self.tls = client_context(version).wrap_bio(self._in, self.out)
        self.has_ended = False
        wait_until(self._greets, "handshake")
        self.bring()

    def _greets(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.bring()
            self.take()
            return False
        return True

    def bring(self) -> None:
        """Sends what waits, and lets the server look at it."""
        data = self.out.read()
        while data:
            data = data[self.server.send_some(self.socket, data) :]
            self.server.turn()
        self.server.turn()

    def take(self, most_bytes: int = 1 << 20) -> None:
        """Receives some ciphertext."""
        try:
            data = self.socket.recv(most_bytes)
        except BlockingIOError:
            return
        self._in.write(data)
        self.has_ended = not data

    def say(self, data: bytes) -> None:
        for at in range(0, len(data), 16_384):
            self.tls.write(data[at : at + 16_384])
        self.bring()

    def read(self) -> bytes:
        got = b""
        while True:
            try:
                data = self.tls.read(1 << 20)
            except ssl.SSLWantReadError:
                return got
            if not data:
                return got
            got += data

    def hear(self, count_bytes: int, step_bytes: int = 1 << 20) -> bytes:
        """So many bytes, received in steps."""
        got = bytearray()

        def has_all() -> bool:
            self.server.turn()
            self.take(step_bytes)
            got.extend(self.read())
            return len(got) >= count_bytes

        wait_until(has_all, f"{count_bytes} bytes", pause_seconds=0)
        return bytes(got)


@pytest.fixture(params=[True, False], ids=["kernel", "given_up"])
def server(request: pytest.FixtureRequest) -> Iterator[KernelServer]:
    made = KernelServer(request.param)
    yield made
    made.close()


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def client(server: KernelServer, request: pytest.FixtureRequest) -> TlsClient:
    return TlsClient(server, request.param, LITTLE_BYTES)


def store(client: TlsClient, key: bytes, value: bytes) -> None:
    client.say(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
    assert client.hear(8) == b"STORED\r\n"


def shown(key: bytes, value: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value)


def test_a_conversation(client: TlsClient) -> None:
    client.say(b"mn\r\nversion\r\n")
    assert client.hear(20) == b"MN\r\nVERSION 1.6.38\r\n"
    store(client, b"a", b"x" * 3000)
    client.say(b"get a b a\r\n")
    once = shown(b"a", b"x" * 3000)
    assert client.hear(2 * len(once) + 5) == once * 2 + b"END\r\n"


def test_replies_that_are_not_taken(client: TlsClient) -> None:
    """Records that the socket takes in part are gone on with: the same bytes, in their order."""
    store(client, b"large", LARGE)
    store(client, b"none", b"")
    client.say((b"get large none\r\nmn\r\n") * 20)
    expected = (shown(b"large", LARGE) + shown(b"none", b"") + b"END\r\nMN\r\n") * 20
    assert client.hear(len(expected), step_bytes=50_000) == expected
    client.say(b"mn\r\n")
    assert client.hear(4) == b"MN\r\n"


def test_leaves_within_a_record(server: KernelServer, client: TlsClient) -> None:
    store(client, b"large", LARGE)
    client.say(b"get large\r\n" * 20)
    client.take(100)
    client.socket.close()
    server.serve()
    assert server.counter("curr_connections") == 0


def test_ends_properly(server: KernelServer, client: TlsClient) -> None:
    client.say(b"mn\r\nquit\r\n")
    server.serve()
    assert client.hear(4) == b"MN\r\n"
    assert client.tls.read(1) == b""


@pytest.mark.parametrize("server", [True], indirect=True)
def test_new_keys_are_not_for_the_kernel(server: KernelServer, tmp_path: Path) -> None:
    """Who wants the server to send with other keys is closed properly: the kernel has one."""
    said = tmp_path / "said"
    with open(said, "wb") as out:
        openssl = subprocess.Popen(
            ["openssl", "s_client", "-tls1_3", "-crlf"]
            + ["-connect", f"127.0.0.1:{server.door.getsockname()[1]}"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            bufsize=0,
        )

    def wait_for(text: bytes, times: int = 1) -> None:
        def is_said() -> bool:
            server.serve()
            return said.read_bytes().count(text) >= times

        wait_until(is_said, f"{text!r}, {times} times")

    def has_ended() -> bool:
        server.serve()
        return openssl.poll() is not None

    with openssl:
        assert openssl.stdin
        wait_for(b"Verify return code")
        # New keys of the client's own are no matter of the kernel's.
        for line, answer, times in (
            (b"mn\n", b"MN\r\n", 1),
            (b"k\n", b"KEYUPDATE", 1),
            (b"mn\n", b"MN\r\n", 2),
            (b"K\n", b"KEYUPDATE", 2),
        ):
            openssl.stdin.write(line)
            wait_for(answer, times)
        assert server.counter("tls_kernel_old_keys") == 0
        openssl.stdin.write(b"mn\n")
        wait_until(has_ended, "its end")
    assert server.counter("tls_kernel_old_keys") == 1
    assert server.counter("curr_connections") == 0
    assert b"unexpected eof" not in said.read_bytes()
