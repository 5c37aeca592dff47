"""Threads in place of processes: sizes change all the time, so that pages move between classes.

The interpreter is free while C works through a pipeline, so the threads really run side by side.
"""

import random
import threading
from collections.abc import Callable

import pytest

from tests.support.core.driver import LADDER, MIB, TINY_LADDER, Cache, Handle
from tests.support.core.pipelines import check_values, value_of
from tests.support.core.talk import Talk

LIMIT_BYTES = 6 * MIB
STORERS = 2
PHASES = 12
# Rare for the smallest, which would take all the time.
SIZES = (200, 900, 2500, 60, 20_000, 400)
PHASE_BYTES = 2 * MIB
PIPELINE = 100


def keys_of(slot: int, size: int) -> list[bytes]:
    """The keys under which this slot stores values of the size."""
    count = min(PHASE_BYTES // (size + 60), 4000)
    return [b"k%d.%d.%d" % (slot, size, i) for i in range(count)]


ALL_KEYS = [key for slot in range(1, STORERS + 1) for size in SIZES for key in keys_of(slot, size)]


class Crew:
    """Threads, each with its own slot; what the storers have done tells the others the time."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.seconds = 100
        self.at_work = STORERS
        self.errors: list[BaseException] = []
        self._lock = threading.Lock()

    def start(self, slot: int, work: Callable[["Crew", Handle], None]) -> threading.Thread:
        def run() -> None:
            try:
                # Opened here: the proof that a slot's owner lives belongs to the thread.
                handle = self.cache.open(slot)
                handle.set_now(self.seconds)
                work(self, handle)
                handle.close()
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, name=f"{work.__name__} {slot}")
        thread.start()
        return thread

    def tick(self) -> None:
        with self._lock:
            self.seconds += 1

    def leave(self) -> None:
        with self._lock:
            self.at_work -= 1

    @property
    def is_over(self) -> bool:
        return self.at_work == 0 or bool(self.errors)


def store_in_phases(crew: Crew, handle: Handle) -> None:
    """Each phase has another size, and needs the pages of those before it."""
    dice = random.Random(handle.slot)
    talk = Talk(handle, values_max=64)
    for phase in range(PHASES):
        size = SIZES[(phase + 3 * handle.slot) % len(SIZES)]
        keys = keys_of(handle.slot, size)
        for begin in range(0, len(keys), PIPELINE):
            commands = []
            for key in keys[begin : begin + PIPELINE]:
                value = value_of(key, phase, size)
                commands.append(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
                if dice.random() < 0.3:
                    commands.append(b"get %s %s\r\n" % (key, dice.choice(ALL_KEYS)))
            talk.received = b""
            talk.feed(b"".join(commands))
            check_values(talk.received)
            crew.tick()
            handle.set_now(crew.seconds)
            handle.turn()
            # As a worker does between two turns of its loop.
            if dice.random() < 0.5:
                handle.rest()
                handle.wake()
    talk.drain()
    crew.leave()


def read_all(crew: Crew, handle: Handle) -> None:
    """Values large and small, some of them under pins while their memory moves."""
    dice = random.Random(handle.slot)
    talk = Talk(handle, values_max=64)
    while not crew.is_over:
        commands = [b"get %s %s\r\n" % tuple(dice.sample(ALL_KEYS, 2)) for _ in range(PIPELINE)]
        talk.feed(b"".join(commands), drains=dice.random() < 0.7)
        check_values(talk.received)
        talk.received = b""
        handle.set_now(crew.seconds)
        handle.turn()
    talk.drain()
    check_values(talk.received)


def visit(crew: Crew, handle: Handle) -> None:
    """Stores a little of every size and rests: others take what is in its magazines."""
    dice = random.Random(handle.slot)
    talk = Talk(handle)
    while not crew.is_over:
        handle.wake()
        handle.set_now(crew.seconds)
        for size in SIZES:
            key = dice.choice(keys_of(1, size))
            value = value_of(key, 1, size)
            talk.feed(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        talk.feed(b"delete %s\r\n" % dice.choice(ALL_KEYS))
        handle.turn()
        handle.rest()
        before = crew.seconds
        while crew.seconds == before and not crew.is_over:
            handle.frontiers_step()


def flush_and_keep(crew: Crew, handle: Handle) -> None:
    """As the keeper, and flushes now and then."""
    dice = random.Random(handle.slot)
    flushed = crew.seconds
    while not crew.is_over:
        handle.set_now(crew.seconds)
        handle.frontiers_step()
        handle.limbo_step(50)
        handle.crawl(2000)
        if dice.random() < 0.2:
            handle.release_pool(2)
        if crew.seconds - flushed > 100:
            flushed = crew.seconds
            handle.flush_all()
        handle.turn()


@pytest.mark.slow
@pytest.mark.parametrize("ladder", [TINY_LADDER, LADDER], ids=["parts", "chunks"])
def test_no_value_is_torn_while_memory_moves(ladder: tuple[int, ...]) -> None:
    with Cache(limit_bytes=LIMIT_BYTES, chunk_bytes=ladder, bucket_start=2, slots=7) as cache:
        crew = Crew(cache)
        works = [*[store_in_phases] * STORERS, read_all, read_all, visit, flush_and_keep]
        threads = [crew.start(slot, work) for slot, work in enumerate(works, start=1)]
        for thread in threads:
            thread.join()
        assert not crew.errors, crew.errors
        checker = cache.open(0)
        checker.set_now(crew.seconds)
        counters = checker.counters()
        assert counters["slabs_moved"] > PHASES
        assert counters["evictions"] > 1000
        checker.limbo_step(1 << 20)
        assert checker.limbo_step(1 << 20) == 0
        checker.check()
