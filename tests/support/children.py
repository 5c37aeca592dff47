"""Forked children: how they ended, what they complained of, and never for longer than allowed."""

import mmap
import os
import signal
import struct
import tempfile
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.deadline import scaled

DEADLINE_SECONDS = scaled(30)


@dataclass(frozen=True)
class End:
    """How a child ended."""

    signal: int
    status: int
    text: str

    @property
    def was_killed(self) -> bool:
        return self.signal == signal.SIGKILL

    @property
    def is_fine(self) -> bool:
        return self.signal == 0 and self.status == 0


def in_a_process(scene: Callable[[], None], blocked: Iterable[signal.Signals] = ()) -> None:
    """Runs the scene in a process of its own, with these signals blocked; it has to end well."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
            scene()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


class Child:
    """A fork that runs `action` and ends with status 0, or 1 after an exception."""

    def __init__(
        self, action: Callable[[], object], deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        descriptor, name = tempfile.mkstemp(prefix="pymc-child-")
        self._text = Path(name)
        self.pid = os.fork()
        if self.pid == 0:
            _run(action, descriptor, deadline_seconds)
        os.close(descriptor)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> End:
        """Waits for the end; the alarm inside the child sees to it that there is one."""
        _, status = os.waitpid(self.pid, 0)
        text = self._text.read_text(errors="replace")
        self._text.unlink()
        if os.WIFSIGNALED(status):
            ended_by = os.WTERMSIG(status)
            if ended_by == signal.SIGALRM:
                text += "\nthe child hangs"
            return End(ended_by, 0, text)
        return End(0, os.WEXITSTATUS(status), text)


def _run(action: Callable[[], object], descriptor: int, deadline_seconds: float) -> None:
    status = 1
    try:
        os.dup2(descriptor, 2)
        # A hang inside C holds the interpreter, so the kernel has to end it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, deadline_seconds)
        action()
        status = 0
    except BaseException:
        os.write(descriptor, traceback.format_exc().encode())
    finally:
        os._exit(status)


def run_child(action: Callable[[], object], deadline_seconds: float = DEADLINE_SECONDS) -> End:
    """Runs `action` in a child to its end."""
    return Child(action, deadline_seconds).wait()


class Journal:
    """What a child tells its parent even beyond its death, and one word the other way round."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def begun(self) -> int:
        """How many operations were begun; all but the last one are complete."""
        return int(struct.unpack_from("Q", self._map)[0])

    @begun.setter
    def begun(self, count: int) -> None:
        struct.pack_into("Q", self._map, 0, count)

    @property
    def is_stopped(self) -> bool:
        """True when the parent wants the child to come to an end."""
        return bool(self._map[8])

    def stop(self) -> None:
        """Asks the child to come to an end."""
        self._map[8] = 1
