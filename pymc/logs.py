"""Lines for standard error that wait for nobody, each in one piece so that processes do not mix.

A full pipe that nobody reads must not stop a process: what does not fit is kept within a bound,
then counted, and the count is said once there is room. Workers' lines from C go the same way
(csrc/base/log.c).
"""

import contextlib
import os
import select
import socket
import stat
import sys
import time
import traceback

_STDERR = 2
_KEPT_BYTES_MAX = 65536
# What a pipe takes as a whole.
_PIECE_BYTES_MAX = 4096


class Log:
    """The log of one process; forked children go on with a copy of their own."""

    def __init__(self, fd: int = _STDERR) -> None:
        """Writes to a descriptor, which is borrowed and is best one that does not block."""
        self.fd = fd
        self.role = "supervisor"
        self.is_stamped = False
        self.dropped = 0
        self._dropped_said = 0
        self._kept = bytearray()
        self._kind = _kind(fd)

    def say(self, text: str) -> None:
        """Writes one line (or several, joined by line ends), or keeps or counts it."""
        self.flush()
        if self.dropped > self._dropped_said:
            lost = self.dropped - self._dropped_said
            # Said only when what follows can be said too.
            if self._kept or not self._keep(
                f"pymc: {lost} lines of the log were dropped: nobody read them"
            ):
                self.dropped += 1
                return
            self._dropped_said = self.dropped
        for each in text.split("\n"):
            if not self._keep(each):
                self.dropped += 1
        self.flush()

    def flush(self) -> None:
        """Tries to write what is kept."""
        while self._kept:
            end = len(self._kept)
            if end > _PIECE_BYTES_MAX:
                end = self._kept.rfind(b"\n", 0, _PIECE_BYTES_MAX) + 1 or _PIECE_BYTES_MAX
            try:
                written = self._write(bytes(self._kept[:end]))
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._kept.clear()  # Nobody will ever read it.
                return
            del self._kept[:written]

    def _keep(self, line: str) -> bool:
        stamp = ""
        if self.is_stamped:
            seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
            date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
            stamp = f"{date}.{microseconds:06}Z {self.role}: "
        whole = f"{stamp}{line}".encode(errors="replace")[: _PIECE_BYTES_MAX - 1] + b"\n"
        if len(self._kept) + len(whole) > _KEPT_BYTES_MAX:
            return False
        self._kept += whole
        return True

    def _write(self, piece: bytes) -> int:
        if self._kind == "socket":
            with socket.socket(fileno=os.dup(self.fd)) as stream:
                return stream.send(piece, socket.MSG_DONTWAIT)
        if self._kind == "blocking":
            poller = select.poll()
            poller.register(self.fd, select.POLLOUT)
            if not any(events & select.POLLOUT for _, events in poller.poll(0)):
                raise BlockingIOError
        return os.write(self.fd, piece)


def _kind(fd: int) -> str:
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode):
            return "socket"
        return "plain" if stat.S_ISREG(mode) or not os.get_blocking(fd) else "blocking"
    except OSError:
        return "plain"


_log = Log()


def attach() -> None:
    """Begins to write to what standard error is now: to be called when it has changed.

    A pipe or a terminal is opened anew, since whether a write waits is a matter of the open file,
    which other programs share. Where that is not allowed each write looks first.
    """
    global _log
    fd = _STDERR
    with contextlib.suppress(OSError):
        mode = os.fstat(_STDERR).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            fd = os.open(f"/proc/self/fd/{_STDERR}", flags)
    before, _log = _log, Log(fd)
    _log.role, _log.is_stamped = before.role, before.is_stamped
    if before.fd != _STDERR:
        os.close(before.fd)


def stamp(is_wanted: bool) -> None:
    """Lets lines begin with their time and who says them, or not."""
    _log.is_stamped = is_wanted


def set_role(role: str) -> None:
    """Names who says the lines from now on."""
    _log.role = role


def log_fd() -> int:
    """Where lines go, for what writes them in C."""
    return _log.fd


def say(text: str) -> None:
    """Writes one line (or several, joined by line ends). Never fails, never waits."""
    _log.say(text)


def say_exception(doing: str) -> None:
    """Writes what was being done and the exception that is being handled."""
    kind, error, trace = sys.exc_info()
    lines = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
    say(f"{doing}:\n{lines}")
