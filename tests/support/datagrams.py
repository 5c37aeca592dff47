"""A client of UDP: requests and answers of memcached's datagrams."""

import socket
import struct
from collections.abc import Iterable

from tests.support.connection import Connection
from tests.support.deadline import scaled

HEADER = struct.Struct("!HHHH")
DATAGRAM_BYTES_MAX = 1400
RECEIVE_BYTES = 4 << 20


def request(body: bytes, *, number: int = 7, sequence: int = 0, total: int = 1) -> bytes:
    return HEADER.pack(number, sequence, total, 0) + body


def whole(datagrams: Iterable[bytes], number: int = 7) -> bytes:
    """The answer that the datagrams are parts of, whatever order they came in."""
    parts = {}
    totals = set()
    for datagram in datagrams:
        assert len(datagram) <= DATAGRAM_BYTES_MAX
        its_number, sequence, total, reserved = HEADER.unpack_from(datagram)
        assert (its_number, reserved) == (number, 0)
        assert sequence < total
        totals.add(total)
        parts[sequence] = datagram[HEADER.size :]
    assert len(totals) <= 1
    assert sorted(parts) == list(range(max(totals, default=0)))
    return b"".join(parts[sequence] for sequence in sorted(parts))


class DatagramConnection(Connection):
    """What is sent at once is a request of its own; the answers stand behind each other."""

    def __init__(self, port: int, timeout_seconds: float) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.socket.settimeout(timeout_seconds)
        self.socket.connect(("127.0.0.1", port))
        self.pending = b""

    def send(self, data: bytes) -> None:
        self.socket.send(request(data))

    def finish(self) -> bytes:
        """All that comes before the answer to one more request."""
        self.send(b"mn\r\n")
        while not self.pending.endswith(b"MN\r\n"):
            self._receive()
        return self.pending.removesuffix(b"MN\r\n")

    def _receive(self) -> None:
        self.pending += self.socket.recv(65536)[HEADER.size :]


class DatagramClient:
    """A socket that asks one address."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.socket.settimeout(scaled(10))
        self.socket.connect((host, port))
        self.number = 0

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "DatagramClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, body: bytes) -> bytes:
        """The whole answer to one request."""
        self.number += 1
        self.socket.send(request(body, number=self.number))
        datagrams = [self.socket.recv(65536)]
        total = HEADER.unpack_from(datagrams[0])[2]
        while len(datagrams) < total:
            datagrams.append(self.socket.recv(65536))
        return whole(datagrams, self.number)
