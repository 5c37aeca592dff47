"""A child that reads and checks the files of `ssl_*`, so that who serves neither waits nor grows.

It puts what it read into the shared memory, where it does not count yet, and says on a pipe what
the files were and what it thinks of them. Nobody else looks at them, so a file system that hangs
holds up nobody but the child.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from pymc.config import Settings
from pymc.config.settings_tls import KEY_IS_DER
from pymc.core.arena import Arena
from pymc.core.errors import CoreError
from pymc.core.process import forget_own, fork_child, hide_memory, keep_from_children
from pymc.tls.facts import as_text
from pymc.tls.files import MaterialError, look_at, read_all
from pymc.tls.material import OK, Material

# The library alone takes a third of a second where the machine is slow.
CHECK_SECONDS = 30.0
_VERDICT_BYTES_MAX = 4096
# With what the files are, which is shorter than a kilobyte.
_SAID_BYTES_MAX = 2 * _VERDICT_BYTES_MAX
# Files that change while they are checked may be half old and half new: they are checked again.
_CHECKS_MAX = 5
# The verdict when the files are what the caller knows already.
SAME = "SAME"
_FAILED = "Error checking the certificates: {}"
NO_LIBRARY = "TLS needs pyOpenSSL: pip install pyopenssl ({})"


class Check:
    """One check that is under way."""

    def __init__(self, pid: int, reader_fd: int) -> None:
        """Takes the pipe, which keep_from_children() knows."""
        self.pid = pid
        # With the verdict: what the files were that it is about, for the next check; "" when the
        # child did not come so far. What is in it is the child's affair.
        self.seen = ""
        self._fd = reader_fd
        self._said = b""

    def verdict(self) -> str | None:
        """OK, SAME, or one line that says what is wrong; None as long as it is not known."""
        if not self.is_gone():
            return None
        self.seen, _, verdict = self._said.decode("utf-8", "replace").partition("\n")
        return verdict or _FAILED.format("it ended without a verdict")

    def is_gone(self) -> bool:
        """Whether the child has ended; also one that was given up, which may take its time.

        Requires: it was not gone until now.
        """
        while True:
            try:
                piece = os.read(self._fd, _SAID_BYTES_MAX)
            except BlockingIOError:
                return False
            if not piece:
                break
            self._said = (self._said + piece)[:_SAID_BYTES_MAX]
        # Nobody but the child had the other end.
        forget_own(self._fd)
        os.close(self._fd)
        return True

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
        return _FAILED.format(f"it took longer than {CHECK_SECONDS:g} s")


def start_check(
    settings: Settings, material: Material, arena: Arena | None, known: str = ""
) -> Check:
    """Forks a child that checks what the files are now. Raises OSError.

    With an arena it makes a context as workers will. When the files are still what is `known` of
    them, as `seen` of an earlier check has it, the verdict is SAME; "" has them checked anyway.
    """
    return _start(
        lambda: _read_and_check(settings, material, arena),
        lambda: look_at(material.parts),
        known,
        may_dump=settings.core_dumps,
    )


def start_try(settings: Settings, material: Material, arena: Arena) -> Check:
    """Forks a child that makes a context of what counts now. Raises OSError."""

    def make() -> str:
        material.try_context(arena, material.generation)
        return OK

    return _start(make, may_dump=settings.core_dumps)


def _start(
    judge: Callable[[], str],
    look: Callable[[], str] = str,
    known: str = "",
    *,
    may_dump: bool = False,
) -> Check:
    reader_fd, writer_fd = os.pipe()
    os.set_blocking(reader_fd, False)
    keep_from_children(reader_fd)
    try:
        pid = fork_child()
    except OSError:
        forget_own(reader_fd)
        os.close(reader_fd)
        os.close(writer_fd)
        raise
    if pid == 0:
        _live(lambda: _look_and_judge(judge, look, known), writer_fd, may_dump)
    os.close(writer_fd)
    return Check(pid, reader_fd)


def _live(work: Callable[[], tuple[str, str]], writer_fd: int, may_dump: bool) -> NoReturn:
    """The whole life of the child; never returns to its parent's code."""
    try:
        if not may_dump:
            # At the start the server itself is not hidden yet.
            hide_memory()
        _close_others(writer_fd)
        seen, verdict = work()
        said = verdict.encode("utf-8", "replace")[:_VERDICT_BYTES_MAX]
        os.write(writer_fd, f"{seen}\n".encode() + said)
    finally:
        os._exit(0)


def _close_others(writer_fd: int) -> None:
    """Keeps nothing but the standard streams and the pipe: a process that hangs in a file system
    may not keep the server's ports, the locks of its files, or tell others that it lives.
    """
    os.closerange(3, writer_fd)
    os.closerange(max(3, writer_fd + 1), os.sysconf("SC_OPEN_MAX"))


def _look_and_judge(
    judge: Callable[[], str], look: Callable[[], str], known: str
) -> tuple[str, str]:
    """What the files were, and the verdict on them."""
    seen = look()
    if known and seen == known:
        return seen, SAME
    for _ in range(_CHECKS_MAX):
        judged, verdict = seen, _one_line(judge)
        seen = look()
        if seen == judged:
            break
    return judged, verdict


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
    # What an earlier look at files that changed since put there.
    material.wipe_other()
    material.write_next({**texts, "facts": as_text(facts)})
    if arena is not None:
        material.try_context(arena, material.generation + 1)
    return OK
