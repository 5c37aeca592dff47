"""Values that are being sent keep their memory until the last reader is done."""

import pytest

from tests.support.children import run_child
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Mode, Outcome
from tests.support.core.talk import Talk

VALUE = bytes(i % 250 for i in range(20_000))


@pytest.fixture
def reader(parted: Handle) -> Talk:
    """A conversation whose reply holds a large value that has not been sent yet."""
    talk = Talk(parted)
    parted.put(b"k", VALUE)
    talk.feed(b"get k\r\n", drains=False)
    return talk


def sent(talk: Talk) -> bytes:
    return talk.drain()


WHOLE = b"VALUE k 0 %d\r\n%s\r\nEND\r\n" % (len(VALUE), VALUE)


def test_a_deleted_value_is_still_sent(parted: Handle, reader: Talk) -> None:
    assert parted.delete(b"k") == Outcome.DELETED
    for i in range(300):
        parted.put(b"%d" % i, b"x" * 3000)
    assert sent(reader) == WHOLE


def test_a_replaced_value_is_still_sent(parted: Handle, reader: Talk) -> None:
    parted.put(b"k", b"y" * len(VALUE))
    parted.put(b"k", b"z" * len(VALUE), mode=Mode.APPEND)
    assert sent(reader) == WHOLE


def test_its_memory_comes_back_with_the_last_reader(parted: Handle, reader: Talk) -> None:
    second = Talk(parted)
    second.feed(b"get k\r\n", drains=False)
    parted.delete(b"k")
    assert parted.limbo_step() == 1
    sent(reader)
    assert parted.limbo_step(0) == 1
    assert sent(second) == WHOLE
    # No step of the keeper was needed.
    assert parted.limbo_step(0) == 0
    assert parted.check() == 0


def test_a_lost_connection_gives_its_pins_back(parted: Handle, reader: Talk) -> None:
    parted.delete(b"k")
    reader.close()
    assert parted.limbo_step(0) == 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_readers_leave_limbo_in_any_order(parted: Handle, order: tuple[int, ...]) -> None:
    talks = [Talk(parted) for _ in order]
    for number, talk in enumerate(talks):
        parted.put(b"%d" % number, VALUE)
        talk.feed(b"get %d\r\n" % number, drains=False)
        parted.delete(b"%d" % number)
    for left, number in enumerate(order, start=1):
        sent(talks[number])
        assert parted.limbo_step(0) == len(order) - left
        parted.check()


def test_a_reader_and_a_writer_in_one_pipeline_need_no_keeper(parted: Handle) -> None:
    talk = Talk(parted, values_max=64)
    pages = 0
    for number in range(200):
        talk.feed(b"set k 0 0 %d\r\n%s\r\nget k\r\nappend k 0 0 1\r\nx\r\n" % (len(VALUE), VALUE))
        talk.feed(b"get k\r\nappend k 0 0 1\r\nx\r\nmn\r\n")
        if number == 20:
            pages = parted.slab().pages_used
    assert b"ERROR" not in talk.received
    assert talk.received.count(b"STORED\r\n") == 600
    assert parted.limbo_step(0) == 0
    assert parted.slab().pages_used == pages


def test_limbo_serves_who_needs_room() -> None:
    """A reader that died left its item there; a store comes before the keeper does."""
    with Cache(limit_bytes=2 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open(0)
        cache.set_live("evictions_enabled", 0)
        value = b"v" * 2000
        held = 0
        while store.put(b"%d" % held, value).outcome == Outcome.STORED:
            held += 1

        def read_and_die() -> None:
            talk = Talk(cache.open(1), values_max=64)
            talk.feed(b"get 0 1 2 3\r\n", drains=False)
            store.delete(b"0")
            store.delete(b"1")

        refused = store.counters()["oom_no_victim"]
        assert run_child(read_and_die).is_fine
        cache.open(1)
        assert store.limbo_step(0) == 2
        assert store.put(b"more", value).outcome == Outcome.STORED
        assert store.limbo_step(0) < 2
        assert store.counters()["oom_no_victim"] == refused
        store.check()


def test_a_page_move_does_not_disturb_a_reader(parted: Handle, reader: Talk) -> None:
    part_class = parted.slab().classes
    for class_id in range(1, part_class + 1):
        move = parted.move_begin(class_id, 0)
        if move is not None and not parted.move_step(move):
            parted.move_cancel(move)
    assert sent(reader) == WHOLE
    assert parted.get(b"k") == VALUE
    assert parted.counters()["slab_reassign_busy_items"] > 0


def test_a_page_move_loses_patience_with_a_reader(parted: Handle, reader: Talk) -> None:
    move = parted.move_begin(parted.slab().classes, 0)
    for _ in range(30):
        if parted.move_step(move):
            break
    assert parted.get(b"k") is None
    parted.move_cancel(move)
    assert sent(reader) == WHOLE


def test_eviction_does_not_disturb_a_reader() -> None:
    with Cache(limit_bytes=2 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        talk = Talk(store)
        store.put(b"k", VALUE)
        talk.feed(b"get k\r\n", drains=False)
        for i in range(3000):
            store.put(b"%d" % i, b"x" * 2500)
        assert store.counters()["evictions"] > 0
        assert sent(talk) == WHOLE
        store.limbo_step()
        store.check()


def test_a_chunk_sized_value_is_pinned_too(store: Handle) -> None:
    value = b"v" * 50_000
    talk = Talk(store)
    store.put(b"k", value)
    talk.feed(b"get k\r\n", drains=False)
    store.put(b"k", b"w" * 50_000)
    store.touch(b"k", 500)
    assert store.limbo_step() == 1
    assert talk.drain() == b"VALUE k 0 50000\r\n%s\r\nEND\r\n" % value
    assert store.limbo_step(0) == 0
