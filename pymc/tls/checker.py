"""A child that reads and checks the files of `ssl_*`, so that who serves neither waits nor grows.

It puts what it read into the shared memory, where it does not count yet, and says on a pipe what it
thinks of it. A file system that hangs holds up nobody but the child.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from pymc.config import Settings
from pymc.config.settings_tls import KEY_IS_DER
from pymc.core.arena import Arena
from pymc.core.errors import CoreError
from pymc.core.process import fork_child
from pymc.tls.facts import as_text
from pymc.tls.files import MaterialError, read_all
from pymc.tls.material import OK, Material

# The library alone takes a third of a second where the machine is slow.
CHECK_SECONDS = 30.0
_VERDICT_BYTES_MAX = 4096
_FAILED = "Error checking the certificates: {}"
NO_LIBRARY = "TLS needs pyOpenSSL: pip install pyopenssl ({})"


class Check:
    """One check that is under way."""

    def __init__(self, pid: int, reader_fd: int) -> None:
        """Takes the pipe."""
        self.pid = pid
        self._fd = reader_fd
        self._said = b""

    def verdict(self) -> str | None:
        """OK, or one line that says what is wrong; None as long as it is not known."""
        while True:
            try:
                piece = os.read(self._fd, _VERDICT_BYTES_MAX)
            except BlockingIOError:
                return None
            if not piece:
                break
            self._said = (self._said + piece)[:_VERDICT_BYTES_MAX]
        self._close()
        return self._said.decode("utf-8", "replace") or _FAILED.format("it ended without a verdict")

    def wait(self, seconds: float) -> str:
        """Waits for the verdict, so long at most. Requires: nobody else reaps children."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        while (said := self.verdict()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return self.give_up()
            poller.poll(left * 1000)
        # Whoever started the server may have ignored SIGCHLD: then it is gone without a trace.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        return said

    def give_up(self) -> str:
        """Ends it; returns what is to be said. Requires: verdict() was None until now."""
        os.kill(self.pid, signal.SIGKILL)
        self._close()
        return _FAILED.format(f"it took longer than {CHECK_SECONDS:g} s")

    def _close(self) -> None:
        os.close(self._fd)


def start_check(
    settings: Settings, material: Material, arena: Arena | None, close_fds: Sequence[int] = ()
) -> Check:
    """Forks a child that checks what the files are now. Raises OSError.

    With an arena it makes a context as workers will. `close_fds` are those that it must not keep.
    """
    return _start(lambda: _read_and_check(settings, material, arena), close_fds)


def start_try(material: Material, arena: Arena) -> Check:
    """Forks a child that makes a context of what counts now. Raises OSError."""

    def make() -> str:
        material.try_context(arena, material.generation)
        return OK

    return _start(make, ())


def _start(judge: Callable[[], str], close_fds: Sequence[int]) -> Check:
    reader_fd, writer_fd = os.pipe()
    os.set_blocking(reader_fd, False)
    try:
        pid = fork_child()
    except OSError:
        os.close(reader_fd)
        os.close(writer_fd)
        raise
    if pid == 0:
        _live(judge, writer_fd, (reader_fd, *close_fds))
    os.close(writer_fd)
    return Check(pid, reader_fd)


def _live(judge: Callable[[], str], writer_fd: int, close_fds: Sequence[int]) -> NoReturn:
    """The whole life of the child; never returns to its parent's code."""
    try:
        for fd in close_fds:
            os.close(fd)
        os.write(writer_fd, _one_line(judge).encode("utf-8", "replace")[:_VERDICT_BYTES_MAX])
    finally:
        os._exit(0)


def _one_line(judge: Callable[[], str]) -> str:
    try:
        return judge()
    except (MaterialError, CoreError) as error:
        said = str(error)
    except Exception as error:
        said = _FAILED.format(f"{type(error).__name__}: {error}")
    return " ".join(said.split()) or "unknown"


def _read_and_check(settings: Settings, material: Material, arena: Arena | None) -> str:
    try:
        from pymc.tls.check import check
    except ImportError as error:
        raise MaterialError(NO_LIBRARY.format(error)) from None
    texts = read_all(material.parts)
    facts = check(
        material.parts,
        texts,
        time.time(),
        key_is_der=settings.tls_key_format == KEY_IS_DER,
    )
    material.write_next({**texts, "facts": as_text(facts)})
    if arena is not None:
        material.try_context(arena, material.generation + 1)
    return OK
