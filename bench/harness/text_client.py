"""A minimal blocking client of the text protocol, for counters and for idle connections."""

import socket
import time
from types import TracebackType
from typing import Self

TIMEOUT_SECONDS = 10
POLL_SECONDS = 0.05


class Client:
    """One connection to a server on 127.0.0.1."""

    def __init__(self, port: int, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_seconds)
        self._received = b""

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


def answers(port: int) -> bool:
    """Tells whether a server answers on this port."""
    try:
        with Client(port, timeout_seconds=2) as client:
            client.send(b"version\r\n")
            return client.read_line().startswith(b"VERSION")
    except OSError:
        return False


def stats(port: int) -> dict[str, str]:
    """The server's general counters."""
    with Client(port) as client:
        return client.stats()


def wait_until_settled(port: int, seconds_max: float = 10) -> None:
    """Waits until the server's hash table has stopped growing, so that it is not measured."""
    deadline = time.monotonic() + seconds_max
    with Client(port) as client:
        while client.stats().get("hash_is_expanding", "0") != "0":
            if time.monotonic() > deadline:
                return
            time.sleep(POLL_SECONDS)
