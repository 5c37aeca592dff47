"""A store beside the reference: what operations came to is compared here."""

from collections.abc import Callable
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from tests.model import choices
from tests.model.actors import Actors
from tests.model.reference import Reference
from tests.support.core.driver import Found, Making, Mode, Outcome, Shape, Write

START_SECONDS = 100
# State bits of store_read, as csrc/item/item_inline.h has them.
STALE = 64
TOKEN_SENT = 128


class Comparison(RuleBasedStateMachine):
    """Every operation at once on both. Where memory is short the store may forget or refuse."""

    shape = Shape(live={"item_bytes_max": choices.ITEM_BYTES_MAX})
    may_forget = False
    may_refuse = False
    evicts = True

    def __init__(self) -> None:
        super().__init__()
        self.actors = Actors(self.shape)
        has_cas = bool(self.shape.live.get("cas_enabled", 1))
        self.reference = Reference(START_SECONDS, has_cas=has_cas)
        self.actors.turn(START_SECONDS)
        self.makings: list[tuple[int, bytes, bytes, Write, Making]] = []

    def teardown(self) -> None:
        while self.makings:
            slot, _key, _value, _want, making = self.makings.pop()
            self.actors.on(slot, making.abandon)
        for key in choices.KEYS + choices.CROWD:
            self.read(0, key)
        self.actors.call(0, "check")
        self.actors.close()

    # Comparing

    def expiry(self, lifetime: int | None) -> int:
        """A lifetime on the cache's clock."""
        if lifetime is None:
            return 0
        return 1 if lifetime < 0 else self.reference.now_seconds + lifetime

    def agree(
        self,
        key: bytes,
        outcome: Outcome,
        act: Callable[[], Outcome],
        fits: Callable[[], bool] = lambda: True,
    ) -> None:
        """Lets the reference act too; tries again as if the item had been forgotten."""
        before = self.reference.entries.get(key)
        highest = self.reference.cas_highest
        expected = act()
        if expected == outcome and fits():
            return
        self.reference.cas_highest = highest
        self.reference.entries.pop(key, None)
        if self.may_refuse and outcome == Outcome.NO_MEMORY:
            if before:
                self.reference.entries[key] = before
            return
        assert self.may_forget, f"{outcome!r} instead of {expected!r}"
        assert act() == outcome and fits(), f"{outcome!r} instead of {expected!r}"

    def read(self, slot: int, key: bytes) -> None:
        """One look at a key, compared in all that it says."""
        found = self.actors.call(slot, "look", key)
        entry = self.reference.find(key)
        if not isinstance(found, Found):
            assert entry is None or self.may_forget, f"{key!r} is lost"
            self.reference.entries.pop(key, None)
            return
        assert entry is not None, f"{key!r} came back"
        if entry.cas is None:
            self.reference.entries[key] = entry = self.reference.numbered(entry, found.cas)
        assert found.value == entry.value
        seen = (found.flags, found.expiry_seconds, found.cas)
        assert seen == (entry.flags, entry.expiry_seconds, entry.cas)
        assert bool(found.state & STALE) == entry.is_stale
        assert bool(found.state & TOKEN_SENT) == entry.is_token_sent

    def compare_cas(self, slot: int, key: bytes, how: str | None) -> int | None:
        """A number that stands to the item's CAS as wanted."""
        if how is None:
            return None
        entry = self.reference.find(key)
        if entry and entry.cas is None:
            self.read(slot, key)
            entry = self.reference.find(key)
        cas = (entry.cas if entry else None) or 7
        wanted = cas + {"same": 0, "older": -1, "newer": 1}[how]
        return wanted if 0 < wanted < 1 << 64 else cas

    def fill(self, slot: int, key: bytes, value: bytes | None) -> None:
        """Stores something where nothing is, so that the operation to come meets an item."""
        if value is not None and self.reference.find(key) is None:
            result = self.actors.call(slot, "put", key, value, Write())
            self.settle_put(key, value, Write(), result)

    def settle_put(self, key: bytes, value: bytes, want: Write, result: Any) -> None:
        """Compares what a write came to."""
        outcome = result.outcome
        joins = want.mode in (Mode.APPEND, Mode.PREPEND)

        def fits() -> bool:
            entry = self.reference.entries.get(key)
            return outcome != Outcome.STORED or bool(
                entry and len(entry.value) == result.value_bytes
            )

        if self.may_refuse and joins and outcome == Outcome.NOT_STORED:
            return  # For want of memory, or because there is nothing to join with.
        stored_cas = result.cas if outcome == Outcome.STORED else None
        self.agree(key, outcome, lambda: self.reference.put(key, value, want, stored_cas), fits)
        if outcome == Outcome.NO_MEMORY and want.mode == Mode.SET and want.cas_compare is None:
            self.reference.entries.pop(key, None)
