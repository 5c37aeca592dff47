"""Moves pages between slab classes, one at a time, a bounded number of chunks per step."""

import time
from collections import deque

from pymc.core.arena import Note
from pymc.core.maintain import PageMove, begin_move
from pymc.core.store import Store
from pymc.policy.pace import rest_seconds
from pymc.policy.shrink import Move
from pymc.server_context import ServerContext

_CHUNKS_PER_STEP = 512
_SHARE = 0.2
_QUEUED_MAX = 64
# A page whose last chunks stay in use is looked at again after these pauses.
_PAUSE_SECONDS = 0.005
_PAUSE_SECONDS_MAX = 0.25


class Mover:
    """The moves that are asked for or decided on, first come first served."""

    def __init__(self, context: ServerContext, store: Store) -> None:
        """Starts with nothing to do."""
        self._arena = context.arena
        self._store = store
        self._queue: deque[Move] = deque()
        self._move: PageMove | None = None
        self._show()

    @property
    def is_busy(self) -> bool:
        """Tells whether a page is on its way or waits for its turn."""
        return self._move is not None or bool(self._queue)

    def add(self, move: Move) -> None:
        """Takes a move up; too many at once are dropped, the policy decides anew each second."""
        single = Move(move.from_class, move.to_class, may_evict=move.may_evict)
        room = _QUEUED_MAX - len(self._queue)
        self._queue.extend([single] * min(move.pages, room))
        self._show()

    def step(self) -> float | None:
        """Works on the page; returns the seconds to rest, None when there is nothing to move."""
        started = time.monotonic()
        if self._move is None and not self._begin():
            self._show()
            return None
        move = self._move
        assert move is not None
        passes = move.passes
        if move.step(_CHUNKS_PER_STEP):
            self._move = None
        elif move.is_stuck:
            move.cancel()
            self._move = None
        elif move.passes > passes:
            return min(_PAUSE_SECONDS * 2.0**passes, _PAUSE_SECONDS_MAX)
        self._show()
        return rest_seconds(time.monotonic() - started, _SHARE)

    def cancel(self) -> None:
        """Leaves everything where it is."""
        self._queue.clear()
        if self._move is not None:
            self._move.cancel()
            self._move = None
        self._show()

    def _begin(self) -> bool:
        while self._queue and self._move is None:
            move = self._queue.popleft()
            self._move = begin_move(
                self._store, move.from_class, move.to_class, may_evict=move.may_evict
            )
        return self._move is not None

    def _show(self) -> None:
        self._arena.set_note(Note.SLAB_MOVE, int(self.is_busy))
