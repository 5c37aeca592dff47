"""Leaving memory by age: with ext_item_age, items that are idle for so long stay on flash alone."""

import time

from pymc.core.arena import Arena
from pymc.core.maintain import Leave
from pymc.core.store import Store
from pymc.policy.pace import rest_seconds
from pymc.policy.write_out import NO_AGE

# A step is short, since a worker that shares the core waits for its end.
_CHUNKS_PER_STEP = 512
_SHARE = 0.1
# The setting may change at any time.
_LOOK_SECONDS = 1.0
# From one walk to the next: a part of the age, which nobody wants to be kept more exactly.
_AGE_PART = 8
_PAUSE_SECONDS_MAX = 60.0


class LeaveJob:
    """The keeper's job: one walk over memory after the other, as long as an age is set."""

    def __init__(self, store: Store) -> None:
        """Borrows the store."""
        self._store = store
        self._arena: Arena = store.arena
        self._walk: Leave | None = None
        self._ended = float("-inf")

    def step(self) -> float:
        """Looks at some chunks; returns the seconds to rest until the next step."""
        age_seconds = self._arena.live("ext_item_age_seconds")
        if age_seconds >= NO_AGE:
            self._walk = None
            return _LOOK_SECONDS
        started = time.monotonic()
        if self._walk is None:
            left = self._ended + pause_seconds(age_seconds) - started
            if left > 0:
                return min(left, _LOOK_SECONDS)
            if not self._store.counters()["items_with_copy"]:
                return _LOOK_SECONDS
            self._walk = Leave(self._store)
        goes_on = self._walk.step(_CHUNKS_PER_STEP, age_seconds)
        now = time.monotonic()
        if not goes_on:
            self._walk, self._ended = None, now
        return rest_seconds(now - started, _SHARE)


def pause_seconds(age_seconds: int) -> float:
    """Returns how many seconds after a walk the next one begins."""
    return min(max(age_seconds / _AGE_PART, _LOOK_SECONDS), _PAUSE_SECONDS_MAX)
