"""Races that comments in the core name: one worker stands at a store while another goes on."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import pytest

from pymc.core.ffi import lib
from tests.crash.plan import value_of
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle
from tests.support.core.shrinking import shrink
from tests.support.core.talk import Talk
from tests.support.deadline import wait_until
from tests.support.sites import Gate, site_at
from tests.support.standing import Deed, Worker

T = TypeVar("T")

pytestmark = pytest.mark.debug

KEY = b"key"
# Above what is copied out, so that a reader pins it.
LARGE = value_of(KEY, 1, 40_000)
LOCK_WORDS = "if (lock_is_held(seen) ||"


class Actor:
    """A process of the cache that is a thread, with a client."""

    def __init__(self, cache: Cache, worker: Worker, slot: int) -> None:
        self._worker = worker
        self.handle: Handle = worker.do(lambda: cache.open(slot))
        self.do(lambda: self.handle.set_now(100))
        self.talk: Talk = worker.do(lambda: Talk(self.handle, values_max=64))

    def do(self, action: Callable[[], T]) -> T:
        return self._worker.do(action)

    def begin(self, action: Callable[[], T]) -> Deed[T]:
        return self._worker.begin(action)

    def stand_at(self, site: str, action: Callable[[], T], countdown: int = 1) -> "Stand[T]":
        """Begins the action and returns when it stands before the store."""
        gate = Gate()
        self.do(lambda: gate.arm(site, countdown))
        stand = Stand(gate, self.begin(action))
        wait_until(lambda: gate.has_arrived or stand.deed.is_done, "the site", pause_seconds=0.0002)
        assert gate.has_arrived, (site, stand.deed.result())
        return stand


class Stand(Generic[T]):
    """Somebody who stands at a site."""

    def __init__(self, gate: Gate, deed: Deed[T]) -> None:
        self._gate = gate
        self.deed = deed

    def go_on(self) -> T:
        """Lets it through and waits for what it was doing."""
        self._gate.open()
        return self.deed.result()


@contextmanager
def two_actors(**shape: Any) -> Iterator[tuple[Actor, Actor]]:
    """Two processes of one cache, and at the end nothing is wrong with it."""
    wanted: dict[str, Any] = {
        "limit_bytes": 32 * MIB,
        "chunk_bytes": TINY_LADDER,
        "bucket_start": 2,
        **shape,
    }
    with Worker() as one, Worker() as two:
        cache = Cache(**wanted)
        first, second = Actor(cache, one, 1), Actor(cache, two, 2)
        yield first, second
        for actor in (first, second):
            actor.do(actor.handle.turn)
        assert first.handle.limbo_step(0) == 0, "somebody's memory waits for ever"
        first.do(first.handle.check)
        for actor in (first, second):
            actor.do(actor.handle.close)
        cache.close()


def pin(actor: Actor) -> None:
    """Its client asks for the large value and does not take it yet."""
    actor.do(lambda: actor.talk.feed(b"get key\r\n", drains=False))


class TestPins:
    """Who unlinks a pinned item and who unpins an unlinked one do not wait for each other."""

    def test_unlinked_while_the_last_reader_unpins(self) -> None:
        """The reader saw it linked, the writer saw the pin: the reader looks again."""
        site = site_at("link/link_claims.c", "link_pin_give", "pin_ref[pin], 0)")
        with two_actors() as (reader, writer):
            writer.do(lambda: writer.handle.put(KEY, LARGE))
            pin(reader)
            stand = reader.stand_at(site, reader.talk.drain)
            writer.do(lambda: writer.handle.delete(KEY))
            assert LARGE in stand.go_on()

    def test_unpinned_before_it_is_in_limbo(self) -> None:
        """The writer saw the pin and waits for limbo's lock; the reader finds no entry there."""
        site = site_at("shm/lock_inline.h", "lock_try", LOCK_WORDS, "link/link_limbo_list.c")
        with two_actors() as (reader, writer):
            writer.do(lambda: writer.handle.put(KEY, LARGE))
            pin(reader)
            stand = writer.stand_at(site, lambda: writer.handle.delete(KEY))
            assert LARGE in reader.do(reader.talk.drain)
            stand.go_on()

    def test_freed_before_it_is_pinned(self) -> None:
        """The item is gone, and its chunks are others' by the time the reader has its claim."""
        site = site_at("link/link_claims.c", "link_pin_take", "pin_ref[pin], ref)")
        with two_actors() as (reader, writer):
            writer.do(lambda: writer.handle.put(KEY, LARGE))
            stand = reader.stand_at(site, lambda: reader.talk.ask(b"get key\r\n"))
            writer.do(lambda: writer.handle.delete(KEY))
            writer.do(lambda: writer.handle.put(b"other", value_of(b"other", 1, 40_000)))
            assert stand.go_on() == b"END\r\n"

    def test_replaced_between_claim_and_look(self) -> None:
        """The writer sees a claim that comes to nothing: who made it frees the old value."""
        new = value_of(KEY, 2, 30_000)
        with two_actors() as (reader, writer):
            writer.do(lambda: writer.handle.put(KEY, LARGE))
            stand = reader.stand_at("store.pin.claimed", lambda: reader.talk.ask(b"get key\r\n"))
            writer.do(lambda: writer.handle.put(KEY, new))
            assert writer.handle.limbo_step(0) == 1
            said = stand.go_on()
            assert new in said
            assert LARGE not in said


class TestFlush:
    """Whoever gets an order number above the mark of a flush sees the mark."""

    def test_a_number_from_before_the_flush(self) -> None:
        """What is made of an old value is flushed with it, whatever number it takes."""
        site = site_at(
            "link/link_handle_inline.h", "link_numbers_for", "SHARED_ADD", "store/store_arith.c"
        )
        with two_actors() as (worker, flusher):
            worker.do(lambda: worker.handle.put(KEY, b"10"))
            stand = worker.stand_at(site, lambda: worker.handle.arith(KEY, 1))
            flusher.do(flusher.handle.flush_all)
            stand.go_on()
            assert worker.do(lambda: worker.handle.get(KEY)) is None
            worker.do(lambda: worker.handle.put(KEY, b"10"))
            assert worker.do(lambda: worker.handle.get(KEY)) == b"10"

    def test_numbers_overtake_the_mark(self) -> None:
        """So many are given out before the mark is up that it has to be raised again."""
        site = site_at("store/store_flush.c", "raise_word", "SHARED_CAS")

        def overtake(handle: Handle) -> None:
            for i in range(1500):
                handle.put(b"%d" % i, b"x")
            handle.arith(KEY, 1)

        with two_actors() as (worker, flusher):
            worker.do(lambda: worker.handle.put(KEY, b"10"))
            stand = flusher.stand_at(site, flusher.handle.flush_all)
            worker.do(lambda: overtake(worker.handle))
            assert worker.do(lambda: worker.handle.get(KEY)) == b"11"
            stand.go_on()
            assert worker.do(lambda: worker.handle.get(KEY)) is None

    def test_a_store_between_mark_and_numbers(self) -> None:
        """It is flushed with the rest; what comes after the flush stays."""
        site = site_at("store/store_flush.c", "raise_word", "SHARED_CAS")
        with two_actors() as (worker, flusher):
            stand = flusher.stand_at(site, flusher.handle.flush_all, countdown=2)
            worker.do(lambda: worker.handle.put(KEY, b"early"))
            assert worker.do(lambda: worker.handle.get(KEY)) is None
            stand.go_on()
            worker.do(lambda: worker.handle.put(KEY, b"late"))
            assert worker.do(lambda: worker.handle.get(KEY)) == b"late"


def grow(handle: Handle) -> None:
    for i in range(300):
        handle.put(b"many%d" % i, b"x")


def thin_out(handle: Handle) -> None:
    for i in range(300):
        handle.delete(b"many%d" % i)
    shrink(handle)


def moving_key() -> bytes:
    """Its bucket is neither there when there are few, nor one whose memory is ever given back."""
    keys = (b"moves%d" % i for i in itertools.count())
    return next(key for key in keys if lib.hash_of(key, len(key), 0) & 63 == 30)


class TestBuckets:
    """Who looked the number of buckets up before may come to a bucket that has changed or gone."""

    @pytest.mark.parametrize("shrinks", [False, True])
    def test_reading_the_old_home(self, shrinks: bool) -> None:
        key = moving_key()
        with two_actors() as (reader, writer):
            writer.do(lambda: writer.handle.put(key, b"value"))
            if shrinks:
                writer.do(lambda: grow(writer.handle))
            before = writer.handle.index().buckets
            stand = reader.stand_at("store.find.homed", lambda: reader.handle.get(key))
            writer.do(lambda: (thin_out if shrinks else grow)(writer.handle))
            assert (writer.handle.index().buckets < before) is shrinks
            assert stand.go_on() == b"value"

    def test_missing_in_the_old_home(self) -> None:
        """The first look met a lock; at the second the key is gone from where it was looked for."""
        key = moving_key()
        with two_actors() as (reader, writer):
            writer.do(lambda: writer.handle.put(key, b"10"))
            change = writer.stand_at("store.in_place.before", lambda: writer.handle.arith(key, 1))
            before = writer.handle.index().buckets
            look = reader.stand_at("store.find.homed", lambda: reader.handle.get(key), countdown=2)
            change.go_on()
            writer.do(lambda: grow(writer.handle))
            assert writer.handle.index().buckets > before
            assert look.go_on() == b"11"

    @pytest.mark.parametrize("shrinks", [False, True])
    def test_locking_the_old_home(self, shrinks: bool) -> None:
        key = moving_key()
        site = site_at("index/index.c", "index_lock", "table.held, home + 1")
        with two_actors() as (one, other):
            other.do(lambda: other.handle.put(key, b"old"))
            if shrinks:
                other.do(lambda: grow(other.handle))
            before = other.handle.index().buckets
            stand = one.stand_at(site, lambda: one.handle.put(key, b"new"))
            other.do(lambda: (thin_out if shrinks else grow)(other.handle))
            assert (other.handle.index().buckets < before) is shrinks
            stand.go_on()
            assert other.do(lambda: other.handle.get(key)) == b"new"


def fill_magazine(handle: Handle) -> None:
    for i in range(40):
        handle.put(b"m%d" % i, b"x" * 900)
    for i in range(12):
        handle.delete(b"m%d" % i)


def set_aside(handle: Handle) -> int:
    return int(handle.slab_class(handle.class_for(1024)).magazine_chunks)


def collect(handle: Handle) -> None:
    """Begins to empty a page of the class: who rests there has no say in its chunks."""
    move = handle.move_begin(handle.class_for(1024), 0)
    assert move is not None
    handle.move_cancel(move)


class TestTurns:
    """Who rests gives its magazines away; who works has them for itself."""

    def test_who_wakes_waits_for_who_collects(self) -> None:
        site = site_at("shm/lock_inline.h", "lock_try", LOCK_WORDS, "slab/slab.c")
        with two_actors() as (owner, collector):
            owner.do(lambda: fill_magazine(owner.handle))
            owner.do(owner.handle.rest)
            # The collector has the turn's lock and stands before the class's.
            stand = collector.stand_at(site, lambda: collect(collector.handle), countdown=2)
            before = owner.handle.counters()["lock_waits"]
            waking = owner.begin(owner.handle.wake)
            wait_until(
                lambda: waking.is_done or owner.handle.counters()["lock_waits"] > before,
                "the owner comes to the lock",
            )
            assert not waking.is_done
            assert set_aside(owner.handle) > 0
            stand.go_on()
            waking.result()
            assert set_aside(owner.handle) == 0
            owner.do(lambda: fill_magazine(owner.handle))

    def test_who_woke_keeps_what_it_has(self) -> None:
        with two_actors() as (owner, collector):
            owner.do(lambda: fill_magazine(owner.handle))
            owner.do(owner.handle.rest)
            stand = collector.stand_at("slab.collect.seen", lambda: collect(collector.handle))
            owner.do(owner.handle.wake)
            before = set_aside(owner.handle)
            stand.go_on()
            assert set_aside(owner.handle) == before > 0

    def test_a_new_owner_that_does_not_rest(self) -> None:
        """The lock is free and yet the magazines are somebody's: who has the lock looks again."""
        with two_actors() as (owner, collector):
            owner.do(lambda: fill_magazine(owner.handle))
            owner.do(owner.handle.rest)
            stand = collector.stand_at("slab.collect.seen", lambda: collect(collector.handle))
            cache = owner.handle.cache
            owner.do(owner.handle.close)
            owner.handle = owner.do(lambda: cache.open(1))
            owner.do(lambda: owner.handle.set_now(100))
            owner.do(lambda: fill_magazine(owner.handle))
            before = set_aside(owner.handle)
            stand.go_on()
            assert set_aside(owner.handle) == before > 0
