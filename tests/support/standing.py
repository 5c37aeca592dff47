"""Threads of which each does one thing after the other, so that a test says who goes on when."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

from tests.support.deadline import WAIT_SECONDS

T = TypeVar("T")


class Deed(Generic[T]):
    """Something a worker was told to do."""

    def __init__(self, action: Callable[[], T]) -> None:
        self._action = action
        self._done = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result.append(self._action())
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def result(self) -> T:
        """Waits for the end, within the usual deadline."""
        assert self._done.wait(WAIT_SECONDS), "the worker does not come to an end"
        if self._error:
            raise self._error
        return self._result[0]


class Worker:
    """A thread that does what it is told, in order."""

    def __init__(self) -> None:
        self._deeds: SimpleQueue[Deed[object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (deed := self._deeds.get()) is not None:
            deed.run()

    def begin(self, action: Callable[[], T]) -> Deed[T]:
        """Tells the worker, and does not wait."""
        deed = Deed(action)
        self._deeds.put(deed)  # type: ignore[arg-type]
        return deed

    def do(self, action: Callable[[], T]) -> T:
        """Tells the worker and waits for the result."""
        return self.begin(action).result()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._deeds.put(None)
        self._thread.join(WAIT_SECONDS)
