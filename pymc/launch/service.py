"""What systemd is told of the server (Type=notify): ready, reloading, stopping, alive."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

_MICROSECONDS = 1_000_000


class Service:
    """The channel to systemd; without one, as everywhere else, all of this does nothing.

    A message that cannot be sent is left out: whoever does not listen must not hold up the server.
    """

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads where systemd listens, and how often it wants to hear that the server lives."""
        self._clock = clock
        self._address = environ.get("NOTIFY_SOCKET", "").encode()
        if self._address.startswith(b"@"):
            self._address = b"\0" + self._address[1:]
        # Half the time that systemd waits, as it advises.
        self._pause_seconds = _pause_seconds(environ) if self._address else None
        self._told = clock()

    @property
    def due(self) -> float:
        """When alive() has something to say, on the monotonic clock; infinity for never."""
        return float("inf") if self._pause_seconds is None else self._told + self._pause_seconds

    def ready(self, status: str) -> None:
        """Tells that clients can connect, at the start or after a reload."""
        self._tell(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Tells that files are being read anew; ready() follows."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tells that the server ends."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Tells that the supervisor goes on, if that is due."""
        if self._clock() >= self.due:
            self._told = self._clock()
            self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError):
            channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            with channel:
                channel.setblocking(False)
                channel.sendto(message.encode(), self._address)


def _pause_seconds(environ: Mapping[str, str]) -> float | None:
    """How often systemd wants to hear of this process; None for never.

    It names the process that it started, which a daemon has left behind.
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    whose = environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (whose and whose != str(os.getpid())):
        return None
    return int(microseconds) / _MICROSECONDS / 2 or None
