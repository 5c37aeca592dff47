"""The state machine that runs operations on a store and on the reference."""

from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from pymc.core.ffi import lib
from tests.model import choices
from tests.model.comparison import Comparison
from tests.model.reference import Clear, Count
from tests.support.core.driver import Making, Mode, Outcome, Write

MOVE_TURNS_MAX = 50


def fills(making: Making, value: bytes) -> bool:
    """Whether there was room for all of it; else it is given up."""
    while value:
        taken = making.fill(value)
        if not taken:
            lib.store_give_up(making.handle.store, making.write, making.making)
            return False
        value = value[taken:]
    return True


class StoreMachine(Comparison):
    """Every operation at once on both, from either of two process slots."""

    # Rules: one key

    @rule(slot=choices.slots, key=choices.keys)
    def look(self, slot: int, key: bytes) -> None:
        self.read(slot, key)

    @rule(
        slot=choices.slots,
        key=choices.keys,
        value=choices.values,
        mode=choices.modes,
        flags=choices.flags,
        lifetime=choices.lifetimes,
        token=st.booleans(),
    )
    def put(
        self,
        slot: int,
        key: bytes,
        value: bytes,
        mode: Mode,
        flags: int,
        lifetime: int | None,
        token: bool,
    ) -> None:
        want = Write(mode, flags, self.expiry(lifetime), token_sent=token)
        result = self.actors.call(slot, "put", key, value, want)
        self.settle_put(key, value, want, result)

    @rule(
        slot=choices.slots,
        key=choices.keys,
        value=choices.pieces,
        mode=choices.modes,
        compare=choices.compares,
        cas_new=choices.cas_numbers,
        filling=choices.fillings,
        invalidate=st.booleans(),
        vivify=st.one_of(st.none(), choices.lifetimes),
        lifetime=choices.lifetimes,
    )
    def put_specially(
        self,
        slot: int,
        key: bytes,
        value: bytes,
        mode: Mode,
        compare: str | None,
        cas_new: int | None,
        filling: bytes | None,
        invalidate: bool,
        vivify: int | None,
        lifetime: int | None,
    ) -> None:
        self.fill(1 - slot, key, filling)
        want = Write(mode, 7, self.expiry(lifetime), cas_new=cas_new, invalidate=invalidate)
        want.cas_compare = self.compare_cas(slot, key, compare)
        want.vivify_expiry_seconds = None if vivify is None else self.expiry(vivify)
        result = self.actors.call(slot, "put", key, value, want)
        self.settle_put(key, value, want, result)

    @rule(slot=choices.slots, key=choices.keys, value=choices.large)
    def put_large(self, slot: int, key: bytes, value: bytes) -> None:
        want = Write()
        result = self.actors.call(slot, "put", key, value, want)
        self.settle_put(key, value, want, result)

    @rule(slot=choices.slots, key=choices.keys, mode=st.sampled_from([Mode.SET, Mode.ADD]))
    def put_too_large(self, slot: int, key: bytes, mode: Mode) -> None:
        value = bytes(choices.ITEM_BYTES_MAX)
        result = self.actors.call(slot, "put", key, value, Write(mode))
        assert result.outcome == Outcome.TOO_LARGE
        if mode == Mode.SET:
            self.reference.entries.pop(key, None)

    @rule(
        slot=choices.slots,
        key=choices.keys,
        value=choices.pieces,
        mode=choices.modes,
        cas_new=choices.cas_numbers,
        lifetime=choices.lifetimes,
    )
    def begin(
        self,
        slot: int,
        key: bytes,
        value: bytes,
        mode: Mode,
        cas_new: int | None,
        lifetime: int | None,
    ) -> None:
        want = Write(mode, 0, self.expiry(lifetime), cas_new=cas_new)
        making = self.actors.call(slot, "begin", key, len(value), **vars(want))
        if making.outcome == Outcome.ROOM_MADE:
            self.makings.append((slot, key, value, want, making))
            return
        assert self.may_refuse and making.outcome == Outcome.NO_MEMORY
        if mode == Mode.SET:
            self.reference.entries.pop(key, None)

    @precondition(lambda self: self.makings)
    @rule(which=st.integers(0, 100), abandons=st.booleans())
    def finish(self, which: int, abandons: bool) -> None:
        slot, key, value, want, making = self.makings.pop(which % len(self.makings))
        if abandons:
            self.actors.on(slot, making.abandon)
            return
        if not self.actors.on(slot, lambda: fills(making, value)):
            # No room for the rest: as if there had been none when it began.
            assert self.may_refuse
            if want.mode == Mode.SET and want.cas_compare is None:
                self.reference.entries.pop(key, None)
            return
        self.settle_put(key, value, want, self.actors.on(slot, making.commit))

    @rule(
        slot=choices.slots,
        key=choices.keys,
        compare=choices.compares,
        filling=choices.fillings,
        stale=st.booleans(),
        clears=st.booleans(),
        lifetime=st.one_of(st.just(0), choices.lifetimes),
        flags=st.one_of(st.none(), choices.flags),
        cas_new=choices.cas_numbers,
    )
    def delete(
        self,
        slot: int,
        key: bytes,
        compare: str | None,
        filling: bytes | None,
        stale: bool,
        clears: bool,
        lifetime: int | None,
        flags: int | None,
        cas_new: int | None,
    ) -> None:
        expiry = None if lifetime == 0 else self.expiry(lifetime)
        self.fill(1 - slot, key, filling)
        cas_compare = self.compare_cas(slot, key, compare)
        clear = Clear(cas_compare, stale, clears, expiry, flags, cas_new)
        wants = {name: value for name, value in vars(clear).items() if value is not None}
        outcome = self.actors.call(slot, "delete", key, **wants)
        self.agree(key, outcome, lambda: self.reference.delete(key, clear))
        self.read(1 - slot, key)

    @rule(
        slot=choices.slots,
        key=choices.keys,
        filling=choices.fillings,
        delta=st.sampled_from([0, 1, 5, 1000, (1 << 64) - 1]),
        decrement=st.booleans(),
        compare=choices.compares,
        cas_new=choices.cas_numbers,
        lifetime=st.one_of(st.just(0), choices.lifetimes),
        vivify=st.one_of(st.none(), choices.lifetimes),
    )
    def count(
        self,
        slot: int,
        key: bytes,
        filling: bytes | None,
        delta: int,
        decrement: bool,
        compare: str | None,
        cas_new: int | None,
        lifetime: int | None,
        vivify: int | None,
    ) -> None:
        self.fill(1 - slot, key, filling)
        want = Count(
            delta,
            decrement,
            self.compare_cas(slot, key, compare),
            cas_new,
            None if lifetime == 0 else self.expiry(lifetime),
            None if vivify is None else self.expiry(vivify),
            initial=98,
        )
        wants = {name: value for name, value in vars(want).items() if value is not None}
        number = self.actors.call(slot, "arith", key, **wants)
        is_stored = number.outcome == Outcome.STORED
        new_cas = number.cas if is_stored else None
        self.agree(
            key,
            number.outcome,
            lambda: self.reference.arith(key, want, new_cas),
            lambda: not is_stored or self.reference.entries[key].value.rstrip() == number.text,
        )
        self.read(1 - slot, key)

    @rule(
        slot=choices.slots,
        key=choices.keys,
        filling=choices.fillings,
        lifetime=choices.lifetimes,
    )
    def touch(self, slot: int, key: bytes, filling: bytes | None, lifetime: int | None) -> None:
        self.fill(slot, key, filling)
        expiry = self.expiry(lifetime)
        outcome = self.actors.call(slot, "touch", key, expiry)
        self.agree(key, outcome, lambda: self.reference.touch(key, expiry))

    @rule(slot=choices.slots, key=choices.keys, number=choices.numbers)
    def put_number(self, slot: int, key: bytes, number: bytes) -> None:
        want = Write()
        self.settle_put(key, number, want, self.actors.call(slot, "put", key, number, want))

    # Rules: many keys

    @rule(slot=choices.slots, value=choices.small, lifetime=choices.lifetimes)
    def put_crowd(self, slot: int, value: bytes, lifetime: int | None) -> None:
        want = Write(expiry_seconds=self.expiry(lifetime))
        for key in choices.CROWD:
            self.settle_put(key, value, want, self.actors.call(slot, "put", key, value, want))

    @rule(slot=choices.slots, step=st.integers(1, 3))
    def delete_crowd(self, slot: int, step: int) -> None:
        for key in choices.CROWD[::step]:
            outcome = self.actors.call(slot, "delete", key)
            self.agree(key, outcome, partial(self.reference.delete, key, Clear()))

    @rule(slot=choices.slots)
    def read_all(self, slot: int) -> None:
        for key in choices.KEYS + choices.CROWD:
            self.read(slot, key)

    # Rules: time and flushes

    @rule(seconds=st.sampled_from([1, 1, 1, 1, 2, 5, 60]))
    def wait(self, seconds: int) -> None:
        now = self.reference.now_seconds + seconds
        self.actors.turn(now)
        self.reference.turn(now)

    @rule(slot=choices.slots)
    def flush(self, slot: int) -> None:
        self.actors.call(slot, "flush_all")
        self.reference.flush_all()
        counters = self.actors.call(1 - slot, "counters")
        assert counters["items"] == counters["flushed_items"]
        assert counters["item_bytes"] == counters["flushed_item_bytes"]
        for key in choices.KEYS:
            self.read(1 - slot, key)

    @rule(slot=choices.slots, seconds=st.sampled_from([1, 2, 3, 10]))
    def flush_later(self, slot: int, seconds: int) -> None:
        at_seconds = seconds + self.reference.now_seconds
        self.actors.call(slot, "flush_all", at_seconds)
        self.reference.flush_all(at_seconds)

    # Rules: background work

    @rule(slot=choices.slots, chunks=st.sampled_from([7, 1 << 30]))
    def crawl(self, slot: int, chunks: int) -> None:
        self.actors.call(slot, "crawl", chunks)
        self.actors.call(slot, "limbo_step")
        items = self.actors.call(slot, "counters")["items"]
        live = len(self.reference.live())
        assert items == live or (self.may_forget and items < live)

    @rule(
        slot=choices.slots,
        from_class=st.integers(1, 12),
        to_class=st.integers(0, 12),
        chunks=st.sampled_from([50, 1 << 30]),
    )
    def move_page(self, slot: int, from_class: int, to_class: int, chunks: int) -> None:
        classes = len(self.shape.chunk_bytes)
        from_class, to_class = min(from_class, classes), min(to_class, classes)
        move = self.actors.call(slot, "move_begin", from_class, to_class)
        if move is None:
            return
        for _turn in range(MOVE_TURNS_MAX):
            self.actors.turn(self.reference.now_seconds)
            while not self.actors.call(slot, "move_step", move, chunks):
                if move.chunk == 0:
                    break
            else:
                return
        self.actors.call(slot, "move_cancel", move)
        assert self.makings or not self.evicts, "a page without half-made items did not get empty"

    @rule(slot=choices.slots)
    def release(self, slot: int) -> None:
        self.actors.call(slot, "release_pool")

    def teardown(self) -> None:
        self.check_classes()
        super().teardown()

    @invariant()
    def is_sound(self) -> None:
        items = self.actors.call(0, "check")
        counters = self.actors.call(0, "counters")
        assert items == counters["items"]
        # Of what is not flushed, only the expired are counted though nobody finds them.
        shown = items - counters["flushed_items"]
        assert shown >= self.reference.live_count() or self.may_forget

    def check_classes(self) -> None:
        """The counters of the classes add up to those of the whole."""
        counters = self.actors.call(0, "counters")
        of_classes = [
            self.actors.call(0, "class_counters", class_id)
            for class_id in range(1, len(self.shape.chunk_bytes) + 1)
        ]
        for name in ("items", "item_bytes", "flushed_items", "flushed_item_bytes"):
            assert sum(one[name] for one in of_classes) % (1 << 64) == counters[name], name
