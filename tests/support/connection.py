"""A raw client connection: sends bytes, reads lines, knows when the server has read them."""

import contextlib
import fcntl
import socket
import termios
from types import TracebackType

from tests.support.deadline import WAIT_SECONDS, wait_until

Address = tuple[str, int] | str


class ClosedError(AssertionError):
    """The server closed the connection while a reply was expected."""


class Connection:
    """A blocking client connection that keeps what it has received but not used."""

    def __init__(self, address: Address, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Connects to (host, port) or to the path of a unix socket."""
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout_seconds)
            try:
                self.socket.connect(address)
            except OSError:
                self.socket.close()
                raise
        else:
            self.socket = socket.create_connection(address, timeout=timeout_seconds)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Sends all of `data`; raises ClosedError when the server is gone."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ClosedError(f"closed while sending {data[:80]!r}") from error

    def ask(self, command: bytes | str) -> bytes:
        """Sends one command line and returns the first line of the reply, without its end."""
        line = command.encode() if isinstance(command, str) else command
        self.send(line + b"\r\n")
        return self.read_line().rstrip(b"\r\n")

    def store(self, key: str, value: bytes, *, verb: str = "set", rest: str = "0 0") -> bytes:
        """Sends one storage command and returns the reply without its line end."""
        self.send(f"{verb} {key} {rest} {len(value)}\r\n".encode() + value + b"\r\n")
        return self.read_line().rstrip(b"\r\n")

    def fetch(self, key: str) -> bytes | None:
        """The value of `key` by `get`, or None."""
        self.send(f"get {key}\r\n".encode())
        line = self.read_line()
        if line == b"END\r\n":
            return None
        words = line.split()
        if len(words) != 4 or words[0] != b"VALUE" or words[1] != key.encode():
            raise AssertionError(f"get {key}: {line!r}")
        value = self.read_exactly(int(words[3]))
        tail = self.read_exactly(7)
        if tail != b"\r\nEND\r\n":
            raise AssertionError(f"get {key}: {tail!r} after the value")
        return value

    def stats(self, sub: str = "") -> dict[str, str]:
        """What `stats <sub>` says, in its order."""
        self.send(f"stats {sub}".rstrip().encode() + b"\r\n")
        found: dict[str, str] = {}
        while (line := self.read_line()) != b"END\r\n":
            words = line.decode().rstrip("\r\n").split(" ", 2)
            if words[0] != "STAT" or len(words) < 2:
                raise AssertionError(f"stats {sub}: {line!r}")
            found[words[1]] = words[2] if len(words) > 2 else ""
        return found

    def read_line(self) -> bytes:
        """The next line with its `\\n`; raises ClosedError at the end, TimeoutError in silence."""
        while b"\n" not in self.pending:
            self._receive()
        line, _, self.pending = self.pending.partition(b"\n")
        return line + b"\n"

    def read_exactly(self, count_bytes: int) -> bytes:
        """The next `count_bytes` bytes; raises as read_line does."""
        parts = [self.pending]
        have = len(self.pending)
        while have < count_bytes:
            self.pending = b""
            self._receive()
            parts.append(self.pending)
            have += len(self.pending)
        data = b"".join(parts)
        self.pending = data[count_bytes:]
        return data[:count_bytes]

    def read_to_close(self) -> bytes:
        """Everything up to the server's close (an abortive one counts); TimeoutError otherwise."""
        try:
            while True:
                self._receive()
        except ClosedError:
            data, self.pending = self.pending, b""
            return data

    def finish(self) -> bytes:
        """Ends the sending side and returns all that the server still had to say."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        return self.read_to_close()

    def wait_read_by_server(self) -> None:
        """Returns when the server has taken all bytes sent so far out of its socket (not IPv6)."""
        if self.socket.family == socket.AF_UNIX:
            wait_until(lambda: _unread_by_peer(self.socket) == 0, "the server reads all of it")
            return
        mine, theirs = self.socket.getsockname(), self.socket.getpeername()
        wait_until(lambda: _unread_bytes(theirs, mine) == 0, "the server reads all that was sent")

    def close(self) -> None:
        self.socket.close()

    def _receive(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            raise ClosedError(f"the server closed the connection; unused: {self.pending[:200]!r}")
        self.pending += data


def _unread_by_peer(sock: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), "little")


def _unread_bytes(local: tuple[str, int], remote: tuple[str, int]) -> int:
    """Bytes in flight to, or unread in, the socket with these ends; 0 when it is gone."""
    forward, back = f"{_hex(local)} {_hex(remote)}", f"{_hex(remote)} {_hex(local)}"
    unread = 0
    with open("/proc/net/tcp") as table:
        for row in table:
            words = row.split()
            ends = " ".join(words[1:3])
            if ends == forward:
                unread += int(words[4].split(":")[1], 16)
            elif ends == back:
                unread += int(words[4].split(":")[0], 16)
    return unread


def _hex(end: tuple[str, int]) -> str:
    packed = socket.inet_aton(end[0])
    return f"{int.from_bytes(packed, 'little'):08X}:{end[1]:04X}"
