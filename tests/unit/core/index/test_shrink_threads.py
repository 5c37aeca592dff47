"""Threads in place of processes: readers and writers while the index grows and shrinks."""

import random
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.core.driver import Cache
from tests.support.core.shrinking import shrink, shrink_step
from tests.support.core.talk import Talk

STILL = [b"s%d" % i for i in range(200)]
# At least so many tides, and more until the index has shrunk so often.
TIDES = 12
TIDES_MAX = 1000
SHRUNK = 20
KEYS = 3000


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    """The core runs without the interpreter's lock; who comes back must not wait long for it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


def write(cache: Cache, slot: int, has_shrunk: threading.Event) -> None:
    """Tides of this writer's own keys; between them it finds what it wrote."""
    talk = Talk(cache.open(slot))
    dice = random.Random(slot)
    keys = [b"w%d.%d" % (slot, i) for i in range(KEYS)]
    for tide in range(TIDES_MAX):
        if tide >= TIDES and has_shrunk.is_set():
            break
        talk.feed(b"".join(b"set %s 0 0 3\r\n%03d\r\n" % (key, tide) for key in keys))
        some = dice.sample(keys, 300)
        talk.received = b""
        talk.feed(b"".join(b"get %s\r\n" % key for key in some))
        assert talk.received == b"".join(
            b"VALUE %s 0 3\r\n%03d\r\nEND\r\n" % (key, tide) for key in some
        )
        talk.received = b""
        talk.feed(b"".join(b"delete %s\r\n" % key for key in keys))
        assert talk.received == b"DELETED\r\n" * KEYS
        talk.feed(b"".join(b"get %s\r\n" % key for key in some))
        assert talk.received == b"DELETED\r\n" * KEYS + b"END\r\n" * len(some)
        talk.received = b""
    talk.handle.close()


def read(cache: Cache, slot: int, is_over: threading.Event) -> None:
    """Keys that nobody touches are there at any time."""
    talk = Talk(cache.open(slot))
    question = b"".join(b"get %s\r\n" % key for key in STILL) * 5
    answer = b"".join(b"VALUE %s 0 1\r\nx\r\nEND\r\n" % key for key in STILL) * 5
    while not is_over.is_set():
        talk.received = b""
        talk.feed(question)
        assert talk.received == answer
    talk.handle.close()


def keep(cache: Cache, slot: int, is_over: threading.Event, has_shrunk: threading.Event) -> None:
    """As the keeper; tells when the index has become smaller often enough."""
    store = cache.open(slot)
    times = 0
    while not is_over.is_set():
        before = store.index().buckets
        shrink_step(store, 20)
        times += store.index().buckets < before
        if times >= SHRUNK:
            has_shrunk.set()
    store.close()


@pytest.mark.slow
def test_nothing_is_missed() -> None:
    with Cache(bucket_start=2, slots=6) as cache:
        first = cache.open()
        for key in STILL:
            first.put(key, b"x")
        is_over, has_shrunk = threading.Event(), threading.Event()

        def write_and_end(slot: int) -> None:
            try:
                write(cache, slot, has_shrunk)
            finally:
                is_over.set()

        with ThreadPoolExecutor(4) as pool:
            reader = pool.submit(read, cache, 3, is_over)
            keeper = pool.submit(keep, cache, 4, is_over, has_shrunk)
            writers = [pool.submit(write_and_end, slot) for slot in (1, 2)]
            for future in (*writers, reader, keeper):
                future.result()
        assert has_shrunk.is_set()
        shrink(first)
        assert first.check() == len(STILL)
