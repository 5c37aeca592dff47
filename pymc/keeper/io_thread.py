"""Threads that wait for devices in the keeper's place: for each path one, so that none waits for
another path's device.
"""

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from pymc.logs import say_exception

T = TypeVar("T")

_Work = Callable[[], Callable[[], None]]


class _IoThread:
    """Runs one job after the other; what is to follow each goes to `done`."""

    def __init__(self, name: str, done: Callable[[Callable[[], None]], None]) -> None:
        self._done = done
        self._jobs: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        # When the job under way began; 0: there is none. The thread stores it, the loop reads it.
        self.begun = 0.0
        # It may wait for a device that never answers, and nobody waits for it.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: _Work) -> None:
        self._jobs.put(work)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._jobs.get()) is not None:
            self.begun = time.monotonic()
            finish = work()
            self.begun = 0.0
            self._done(finish)


class IoThreads:
    """A thread for each path that has had a job; what jobs give back is handed over in the loop."""

    def __init__(
        self, name: str, wake_fd: int, note: Callable[[int, bool], None] | None = None
    ) -> None:
        """Has no thread yet. `wake_fd` is an eventfd that becomes readable when a job is done.

        `note` is called in the loop's thread with a path and True when its first job comes, and
        with False when its last one has ended.
        """
        self._name = name
        self._wake_fd = wake_fd
        self._note = note
        self._threads: dict[int, _IoThread] = {}
        self._pending: dict[int, int] = {}
        self._done: deque[Callable[[], None]] = deque()

    def submit(self, path: int, work: Callable[[], T], finish: Callable[[T], None]) -> None:
        """Lets the path's thread do `work`, and finish() call `finish` with what it gave back.

        Work that raises is logged, and nothing is called.
        """
        thread = self._threads.get(path)
        if thread is None:
            thread = self._threads[path] = _IoThread(f"{self._name} {path}", self._hand_over)
        if not self._pending.get(path):
            self._pending[path] = 0
            if self._note:
                self._note(path, True)
        self._pending[path] += 1

        def run() -> Callable[[], None]:
            try:
                result = work()
            except Exception:
                say_exception("keeper: an I/O")
                return lambda: self._ended(path)

            def end() -> None:
                self._ended(path)
                finish(result)

            return end

        thread.submit(run)

    def finish(self) -> None:
        """Calls what belongs to the jobs that are done; call when the eventfd is readable."""
        while self._done:
            done = self._done.popleft()
            try:
                done()
            except Exception:
                say_exception("keeper: after an I/O")

    def pending(self, path: int) -> int:
        """Counts the jobs for the path that are not done yet."""
        return self._pending.get(path, 0)

    def late_seconds(self, path: int) -> float:
        """Returns for how many seconds the path's job has been under way; 0 when there is none."""
        thread = self._threads.get(path)
        begun = thread.begun if thread else 0.0
        return time.monotonic() - begun if begun else 0.0

    def close(self) -> None:
        """Waits for the jobs there are and ends the threads; a process that ends need not."""
        for thread in self._threads.values():
            thread.close()

    def _hand_over(self, finish: Callable[[], None]) -> None:
        self._done.append(finish)
        os.eventfd_write(self._wake_fd, 1)

    def _ended(self, path: int) -> None:
        self._pending[path] -= 1
        if not self._pending[path] and self._note:
            self._note(path, False)
