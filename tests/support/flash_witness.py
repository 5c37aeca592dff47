"""A client that reads items in memory all the time, while others meet a bad flash device."""

import threading
import time
from types import TracebackType

from tests.support.connection import Connection
from tests.support.deadline import wait_until
from tests.support.server import Server

# Below ext_item_size, so that they never leave memory.
_VALUE_BYTES = 30
_KEYS = 30


def _value(number: int) -> bytes:
    return (b"%d." % number * _VALUE_BYTES)[:_VALUE_BYTES]


def store_still_items(server: Server) -> None:
    """Stores what witnesses read; to be done while there is memory for one more size."""
    with server.connect() as connection:
        for number in range(_KEYS):
            assert connection.store(f"still{number}", _value(number)) == b"STORED"


class Witness:
    """Reads the still items, and no get may find another value; knows the longest answer.

    Where it is starved itself its items are those that nobody reads, and go; it stores them again.
    """

    def __init__(self, server: Server) -> None:
        """Connects to each worker: two of four connections may share one, not all of them."""
        self._connections = [server.connect() for _ in range(4)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness")
        self._error: BaseException | None = None
        self.rounds = 0
        self.longest_seconds = 0.0

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        for connection in self._connections:
            connection.close()
        if kind is None and self._error:
            raise self._error

    def forget(self) -> None:
        """Begins to measure anew."""
        self.longest_seconds = 0.0

    def wait_rounds(self, count: int) -> None:
        """Until each connection was answered so many times more."""
        goal = self.rounds + count
        wait_until(lambda: self.rounds >= goal or self._error, "items in memory are read")
        assert self._error is None, self._error

    def _watch(self) -> None:
        try:
            number = 0
            while not self._over.is_set():
                for connection in self._connections:
                    self._ask(connection, number % _KEYS)
                    number += 1
                self.rounds += 1
                # A thread of the tests that never rests would starve the server.
                self._over.wait(0.002)
        except BaseException as error:
            self._error = error

    def _ask(self, connection: Connection, number: int) -> None:
        begun = time.monotonic()
        found = connection.fetch(f"still{number}")
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - begun)
        if found is None:
            assert connection.store(f"still{number}", _value(number)) == b"STORED"
        else:
            assert found == _value(number), (number, found)
