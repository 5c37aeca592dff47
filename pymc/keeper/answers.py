"""Long answers that the keeper gives in a worker's place, part by part, as fast as clients read."""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator

from pymc.control.answers import WAITING, Parts, Watching
from pymc.control.commands import answer_to
from pymc.core.store import Store
from pymc.logs import say_exception
from pymc.messages import AnswerEnded, End, send
from pymc.server_context import ServerContext

# So many at a time: each holds a part or two, and two descriptors. More are left to the workers.
ANSWERS_MAX = 64
# A slice of work, and the rest after it: a worker on the same core gets its turn then, whatever
# the system's scheduler makes of a process that is always busy. Other jobs wait for a whole step.
SLICE_SECONDS = 50e-6
REST_SECONDS = 100e-6
SLICES_PER_STEP = 5
_DEVICE_SECONDS = 0.001


class _Lent:
    """One answer under way: what is to come, and what the client has not read yet."""

    def __init__(self, client: socket.socket, asker: socket.socket) -> None:
        self.client = client
        self.asker = asker
        self.parts: Iterator[bytes | None] = iter(())
        self.unsent = memoryview(b"")
        self.is_begun = False


class Answers:
    """The answers under way, by turns. A client that does not read holds one part and no turn."""

    def __init__(
        self,
        context: ServerContext,
        store: Store,
        selector: selectors.BaseSelector,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Borrows all of them. In the selector, what is ready has the function to call as data."""
        self._context = context
        self._store = store
        self._selector = selector
        self._clock = clock
        self._sleep = sleep
        # Those that may go on, and those that wait for their clients.
        self._ready: deque[_Lent] = deque()
        self._slow: set[_Lent] = set()

    @property
    def count(self) -> int:
        """Counts the answers under way."""
        return len(self._ready) + len(self._slow)

    def take(self, line: bytes, client_fd: int, asker_fd: int) -> None:
        """Begins to answer; the descriptors are its own from now on."""
        lent = _Lent(socket.socket(fileno=client_fd), socket.socket(fileno=asker_fd))
        if self.count >= ANSWERS_MAX:
            self._end(lent, End.REFUSED)
            return
        try:
            answer = answer_to(line, self._context, self._store)
        except Exception:
            say_exception(f"keeper: answering {line!r}")
            self._end(lent, End.REFUSED)
            return
        assert not isinstance(answer, Watching)
        lent.parts = answer.parts if isinstance(answer, Parts) else iter([answer.text])
        lent.is_begun = True
        # Nobody writes there: it is readable when the worker or its connection is gone.
        self._selector.register(
            lent.asker, selectors.EVENT_READ, lambda: self._end(lent, End.BROKEN)
        )
        self._ready.append(lent)

    def step(self) -> float | None:
        """Works on them for a moment; returns the seconds to rest, None when nobody is ready."""
        for _ in range(SLICES_PER_STEP):
            if not self._run_slice():
                return _DEVICE_SECONDS if self._ready else None
            self._sleep(REST_SECONDS)
        return 0.0

    def _run_slice(self) -> bool:
        """Goes on with each in turn until the slice is over; False when all of them wait."""
        end = self._clock() + SLICE_SECONDS
        waiting = 0
        while waiting < len(self._ready):
            lent = self._ready.popleft()
            try:
                waiting += self._go_on(lent)
            except Exception:
                say_exception("keeper: an answer in parts")
                self._end(lent, End.BROKEN)
            if self._clock() >= end:
                return True
        return False

    def _go_on(self, lent: _Lent) -> bool:
        """Makes and sends a part, or the rest of the last one; True when it waits for a device."""
        if not lent.unsent:
            try:
                part = next(lent.parts)
            except StopIteration:
                self._end(lent, End.DONE)
                return False
            if not part:
                self._ready.append(lent)
                return part is WAITING
            lent.unsent = memoryview(part)
        try:
            sent = lent.client.send(lent.unsent, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end(lent, End.BROKEN)
            return False
        self._store.count("bytes_written", sent)
        lent.unsent = lent.unsent[sent:]
        if lent.unsent:
            self._slow.add(lent)
            self._selector.register(lent.client, selectors.EVENT_WRITE, lambda: self._wake(lent))
        else:
            self._ready.append(lent)
        return False

    def _wake(self, lent: _Lent) -> None:
        """Lets an answer go on whose client reads again, unless it has ended meanwhile."""
        if lent not in self._slow:
            return
        self._selector.unregister(lent.client)
        self._slow.discard(lent)
        self._ready.append(lent)

    def _end(self, lent: _Lent, how: End) -> None:
        """Says how it ended and lets go of everything; also of one whose client has left."""
        if lent in self._slow:
            self._slow.discard(lent)
            self._selector.unregister(lent.client)
        if lent in self._ready:
            self._ready.remove(lent)
        if lent.is_begun:
            self._selector.unregister(lent.asker)
        send(lent.asker, AnswerEnded(how))
        lent.client.close()
        lent.asker.close()
        # A walk over flash has memory and a thread to give back.
        lent.parts = iter(())
