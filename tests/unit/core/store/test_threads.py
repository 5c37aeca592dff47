"""Threads in place of processes: long pipelines at once on one cache, for ThreadSanitizer first.

The interpreter is free while C works through a pipeline, so the threads really run side by side.
"""

import random
import threading

import pytest

from tests.support.core.driver import LADDER, MIB, TINY_LADDER, Cache
from tests.support.core.pipelines import check_values, keep_house, pipeline
from tests.support.core.talk import Talk

THREADS = 3
PIPELINES = 12
TURNS = 500
LIMIT_BYTES = 6 * MIB


class Worker(threading.Thread):
    def __init__(self, cache: Cache, slot: int, seed: int) -> None:
        super().__init__(name=f"worker {slot}")
        self.cache = cache
        self.slot = slot
        self.dice = random.Random(seed * 100 + slot)
        self.values = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def work(self) -> None:
        # Opened here: the proof that a slot's owner lives belongs to the thread.
        store = self.cache.open(self.slot)
        store.set_now(100)
        talk = Talk(store, values_max=64)
        pipelines = [pipeline(self.dice, self.slot) for _ in range(PIPELINES)]
        for _ in range(TURNS):
            talk.feed(self.dice.choice(pipelines), drains=self.dice.random() < 0.8)
            self.values += check_values(talk.received)
            talk.received = b""
            keep_house(self.dice, store, LIMIT_BYTES)
        talk.drain()
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize("ladder", [TINY_LADDER, LADDER], ids=["parts", "chunks"])
def test_no_value_is_torn(ladder: tuple[int, ...]) -> None:
    with Cache(
        limit_bytes=LIMIT_BYTES, chunk_bytes=ladder, bucket_start=2, slots=THREADS + 1
    ) as cache:
        workers = [Worker(cache, slot, seed=len(ladder)) for slot in range(1, THREADS + 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.error is None, worker.error
        assert min(worker.values for worker in workers) > TURNS
        checker = cache.open(0)
        checker.limbo_step(1 << 20)
        assert checker.limbo_step(1 << 20) == 0
        checker.check()


class Flusher(Worker):
    """Flushes while others store; who is quick with it meets them between number and link."""

    def work(self) -> None:
        store = self.cache.open(self.slot)
        store.set_now(100)
        talk = Talk(store, values_max=64)
        flushes = b"flush_all\r\nms own 1 E7\r\nx\r\nincr n 1\r\nset n 0 0 1\r\n1\r\n" * 20
        for _ in range(TURNS):
            talk.feed(flushes, drains=True)
            talk.received = b""
            self.values += 1
        store.turn()
        store.close()


class Storer(Worker):
    """Stores, counts, replaces and deletes a few keys."""

    def work(self) -> None:
        store = self.cache.open(self.slot)
        store.set_now(100)
        talk = Talk(store, values_max=64)
        commands = [
            b"set k%d 0 0 %d\r\n%s\r\n" % (key, size, b"v" * size)
            for key in range(40)
            for size in (1, 80)
        ]
        commands += [b"delete k%d\r\n" % key for key in range(40)]
        commands += [b"append k%d 0 0 1\r\n+\r\n" % key for key in range(40)]
        commands += [b"incr n 1\r\n", b"ms k1 1 E5\r\nx\r\n", b"md k2 I\r\n"] * 5
        for _ in range(TURNS):
            talk.feed(b"".join(self.dice.choices(commands, k=100)), drains=True)
            talk.received = b""
            self.values += 1
        store.close()


@pytest.mark.slow
def test_counts_of_the_flushed_are_exact_when_all_rest() -> None:
    with Cache(limit_bytes=64 * MIB, bucket_start=2, slots=5) as cache:
        threads = [Storer(cache, 1, 1), Storer(cache, 2, 2), Flusher(cache, 3, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
            assert thread.error is None, thread.error
        checker = cache.open(0)
        checker.set_now(100)
        checker.turn()
        checker.check()
        checker.crawl()
        checker.check()
        assert checker.counters()["flushed_items"] == 0
