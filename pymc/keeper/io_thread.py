"""Threads that wait for devices in the keeper's place, and tell its loop when they are done."""

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from pymc.logs import say_exception

T = TypeVar("T")


class IoThread:
    """Runs one job after the other. What a job gives back is handed over in the loop's thread."""

    def __init__(self, name: str, wake_fd: int) -> None:
        """Starts the thread; `wake_fd` is an eventfd that becomes readable when a job is done."""
        self._wake_fd = wake_fd
        self._jobs: queue.SimpleQueue[Callable[[], Callable[[], None]] | None] = queue.SimpleQueue()
        self._done: deque[Callable[[], None]] = deque()
        # Only the thread adds, only the loop reads.
        self.busy_seconds = 0.0
        # It may wait for a device that never answers, and nobody waits for it.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Waits for the jobs there are and ends the thread; a process that ends need not."""
        self._jobs.put(None)
        self._thread.join()

    def submit(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Lets the thread do `job`, and finish() call `done` with what it gave back."""

        def work() -> Callable[[], None]:
            result = job()
            return lambda: done(result)

        self._jobs.put(work)

    def finish(self) -> None:
        """Calls what belongs to the jobs that are done; call when the eventfd is readable."""
        while self._done:
            done = self._done.popleft()
            try:
                done()
            except Exception:
                say_exception("keeper: after an I/O")

    def _run(self) -> None:
        while (work := self._jobs.get()) is not None:
            started = time.monotonic()
            try:
                self._done.append(work())
            except Exception:
                say_exception("keeper: an I/O")
            self.busy_seconds += time.monotonic() - started
            os.eventfd_write(self._wake_fd, 1)


class IoThreads:
    """One thread for each path, made when it is first needed."""

    def __init__(self, name: str, wake_fd: int) -> None:
        """`wake_fd` is an eventfd that becomes readable when a job is done."""
        self._name = name
        self._wake_fd = wake_fd
        self._threads: dict[int, IoThread] = {}

    def submit(self, path: int, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Lets the path's thread do `job`, and finish() call `done` with what it gave back."""
        if path not in self._threads:
            self._threads[path] = IoThread(f"{self._name} {path}", self._wake_fd)
        self._threads[path].submit(job, done)

    def finish(self) -> None:
        """Calls what belongs to the jobs that are done."""
        for thread in self._threads.values():
            thread.finish()

    def close(self) -> None:
        """Waits for the jobs there are and ends the threads."""
        for thread in self._threads.values():
            thread.close()
