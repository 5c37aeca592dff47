"""The probation queues under a working store: counted, bounded, and gone with their classes."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle
from tests.support.core.lru_queues import Queues, arena_bytes, fit_probation, place

VALUE = b"x" * 20
LIMIT = 4 * MIB
# Tables and the process's own lines, each touched here and there.
BESIDES = MIB // 2


@pytest.fixture
def small() -> Iterator[Handle]:
    """A small cache that might become a large one."""
    with Cache(limit_bytes=LIMIT, limit_bytes_max=1024 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        yield store
        store.check()


def test_shared_memory_does_not_grow_with_sets(small: Handle) -> None:
    queues, before = Queues(small), arena_bytes()
    for i in range(300_000):
        small.put(b"%d" % (i if i % 3 else i % 1000), VALUE)
    items = small.counters()["items"]
    class_id = small.class_for(48)
    assert items < 66_000
    assert arena_bytes() - before <= LIMIT + BESIDES
    assert queues.length(class_id) <= queues.cap(class_id) <= items // 2 + 64
    assert 0 < queues.bytes() <= items // 2 * 4 + 20_000


def test_overwriting_one_key_fills_no_queue(small: Handle) -> None:
    before = arena_bytes()
    for i in range(200_000):
        small.put(b"%d" % (i % 10), VALUE)
    assert arena_bytes() - before <= MIB + BESIDES


def test_queues_count_against_the_limit(small: Handle) -> None:
    queues, before = Queues(small), small.slab().pages_limit
    queues.push(small.class_for(1024), *range(1, MIB // 4))
    small.set_limit(LIMIT)
    assert small.slab().pages_limit == before - 1


def test_looking_ahead_disturbs_nobody(small: Handle) -> None:
    """One thread looks while another fills and empties the queue; each lives in its own slot."""
    queues, class_id = Queues(small), small.class_for(48)
    worker = small.cache.open(1)
    ended = threading.Event()

    def work() -> None:
        for i in range(60_000):
            worker.put(b"%d" % i, VALUE)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    at, most = place(), 0
    while not ended.is_set():
        found = queues.peek(class_id, at, 5000, 64)
        at.position += len(found)
        most = max(most, len(found))
        fit_probation(small)
    thread.join()
    assert most == 64


def test_a_class_that_lost_its_pages_has_no_queue(small: Handle) -> None:
    queues, class_id = Queues(small), small.class_for(1024)
    for i in range(3000):
        small.put(b"%d" % i, b"x" * 900)
    assert queues.length(class_id) > 100
    for i in range(3000):
        small.delete(b"%d" % i)
    while (move := small.move_begin(class_id, 0)) is not None:
        while not small.move_step(move):
            small.turn()
    assert small.slab_class(class_id).pages == 0
    fit_probation(small)
    assert queues.length(class_id) == 0
    assert queues.bytes() < 4096


def test_a_class_that_lost_pages_has_a_shorter_queue(small: Handle) -> None:
    queues, class_id = Queues(small), small.class_for(1024)
    for i in range(5000):
        small.put(b"%d" % i, b"x" * 900)
    before = queues.length(class_id)
    for _ in range(2):
        move = small.move_begin(class_id, 0)
        while not small.move_step(move):
            small.turn()
    fit_probation(small)
    assert queues.length(class_id) <= queues.cap(class_id) < before
