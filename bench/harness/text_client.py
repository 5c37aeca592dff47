"""A minimal blocking client of the text protocol, for counters and for idle connections."""

import socket
import struct
import time
from types import TracebackType
from typing import Self

from bench.harness import certificates

TIMEOUT_SECONDS = 10
POLL_SECONDS = 0.05
Endpoint = int | str | certificates.TlsPort
"""Where a server listens: a port of 127.0.0.1, plain or over TLS, or the path of a unix socket."""
IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; Python 3.11 has no name for it


class Client:
    """One connection to a server on this machine."""

    def __init__(
        self,
        endpoint: Endpoint,
        timeout_seconds: float = TIMEOUT_SECONDS,
        source: str = "127.0.0.1",
    ) -> None:
        family = socket.AF_UNIX if isinstance(endpoint, str) else socket.AF_INET
        self._socket: socket.socket = socket.socket(family)
        self._socket.settimeout(timeout_seconds)
        self._received = b""
        try:
            if isinstance(endpoint, str):
                self._socket.connect(endpoint)
            elif isinstance(endpoint, int):
                self._connect(endpoint, source)
            else:
                self._connect(endpoint.port, source)
                self._begin_tls(endpoint)
        except OSError:
            self._socket.close()
            raise

    def _connect(self, port: int, source: str) -> None:
        # The port is then chosen by connect, not by a slow search in bind.
        self._socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        # Closing resets: ten thousand ports left in TIME_WAIT would be missing in the next run.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.bind((source, 0))
        self._socket.connect(("127.0.0.1", port))

    def _begin_tls(self, port: certificates.TlsPort) -> None:
        context = certificates.client_context(port)
        self._socket = context.wrap_socket(self._socket, server_hostname="127.0.0.1")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def send(self, request: bytes) -> None:
        """Sends bytes as they are."""
        self._socket.sendall(request)

    def read_line(self) -> bytes:
        """The next line without its end. Raises ConnectionError at the end of the stream."""
        while b"\n" not in self._received:
            piece = self._socket.recv(65536)
            if not piece:
                raise ConnectionError("the server closed the connection")
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        return line.rstrip(b"\r")

    def read_until(self, end: bytes) -> int:
        """Reads a long answer up to its last bytes and drops it; how many bytes it had."""
        tail, total = self._received, len(self._received)
        self._received = b""
        while not tail.endswith(end):
            piece = self._socket.recv(1 << 18)
            if not piece:
                raise ConnectionError("the server closed the connection")
            total += len(piece)
            tail = (tail + piece)[-len(end) :]
        return total

    def stats(self, group: str = "") -> dict[str, str]:
        """The counters of `stats` or `stats <group>`."""
        self.send(f"stats {group}".strip().encode() + b"\r\n")
        found = {}
        while (line := self.read_line()) != b"END":
            parts = line.decode().split(" ", 2)
            if parts[0] != "STAT" or len(parts) < 3:
                raise ConnectionError(f"not an answer to stats: {line!r}")
            found[parts[1]] = parts[2]
        return found


def answers(endpoint: Endpoint) -> bool:
    """Tells whether a server answers there."""
    try:
        with Client(endpoint, timeout_seconds=2) as client:
            client.send(b"version\r\n")
            return client.read_line().startswith(b"VERSION")
    except OSError:
        return False


def stats(endpoint: Endpoint) -> dict[str, str]:
    """The server's general counters."""
    with Client(endpoint) as client:
        return client.stats()


def wait_until_settled(endpoint: Endpoint, seconds_max: float = 10) -> None:
    """Waits until the server's hash table has stopped growing, so that it is not measured."""
    deadline = time.monotonic() + seconds_max
    with Client(endpoint) as client:
        while client.stats().get("hash_is_expanding", "0") != "0":
            if time.monotonic() > deadline:
                return
            time.sleep(POLL_SECONDS)
