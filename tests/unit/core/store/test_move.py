"""Moving pages between classes: nothing is lost while there is room, large items included."""

import pytest

from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Outcome


def moved(store: Handle, from_class: int, to_class: int, chunks: int = 1 << 30) -> bool:
    """Moves one page completely; False when the class has none."""
    move = store.move_begin(from_class, to_class)
    if move is None:
        return False
    for _ in range(10_000):
        if store.move_step(move, chunks):
            return True
    raise AssertionError("the page does not empty")


def test_no_page_to_give(store: Handle) -> None:
    assert store.move_begin(1, 2) is None
    assert not moved(store, 3, 0)


@pytest.mark.parametrize("chunks_per_step", [1, 100, 1 << 30])
def test_items_are_carried_along(store: Handle, chunks_per_step: int) -> None:
    class_id = store.class_for(1024)
    for i in range(1500):
        store.put(b"%d" % i, b"%d" % i * 200, flags=i, expiry_seconds=1000)
    pages = store.slab_class(class_id).pages
    assert pages >= 2
    assert moved(store, class_id, 1, chunks_per_step)
    assert store.slab_class(class_id).pages >= pages
    assert store.slab_class(1).pages == 1
    for i in range(1500):
        assert store.get(b"%d" % i) == b"%d" % i * 200
    assert store.counters()["slabs_moved"] == 1
    assert store.counters()["slab_reassign_rescues"] > 0


def test_to_the_pool_and_back_to_the_system(store: Handle) -> None:
    for i in range(1500):
        store.put(b"%d" % i, b"x" * 900)
    for i in range(1500):
        store.delete(b"%d" % i)
    class_id = store.class_for(1024)
    while moved(store, class_id, 0):
        pass
    snapshot = store.slab()
    assert snapshot.pages_used == 0
    assert snapshot.pages_pool >= 2
    assert store.release_pool(1) == 1
    assert store.release_pool() == snapshot.pages_pool - 1
    assert store.release_pool() == 0
    store.put(b"k", b"x" * 900)
    assert store.get(b"k") == b"x" * 900


def test_large_items_and_their_parts_are_carried_along() -> None:
    with Cache(limit_bytes=32 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        values = {b"%d" % i: b"%d" % i * (500 + 61 * i) for i in range(300)}
        for key, value in values.items():
            store.put(key, value, flags=len(key))
        for _round in range(4):
            for class_id in range(1, store.slab().classes + 1):
                if store.slab_class(class_id).pages:
                    assert moved(store, class_id, 0)
            store.check()
        assert all(store.get(key) == value for key, value in values.items())
        counters = store.counters()
        assert counters["slab_reassign_chunk_rescues"] > 0
        assert counters["slab_reassign_evictions_nomem"] == 0
        assert store.delete(b"299") == Outcome.DELETED
        store.check()


def test_without_room_items_are_evicted() -> None:
    with Cache(limit_bytes=3 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        for i in range(4000):
            store.put(b"%d" % i, b"x" * 900)
        before = store.counters()["items"]
        assert moved(store, store.class_for(1024), 1)
        counters = store.counters()
        assert 0 < before - counters["items"] <= 1024
        assert counters["slab_reassign_evictions_nomem"] == before - counters["items"]
        store.check()


def test_without_evictions_a_full_class_keeps_its_page() -> None:
    with Cache(limit_bytes=3 * MIB, chunk_bytes=TINY_LADDER) as cache:
        cache.set_live("evictions_enabled", 0)
        store = cache.open()
        for i in range(4000):
            store.put(b"%d" % i, b"x" * 900)
        items = store.counters()["items"]
        move = store.move_begin(store.class_for(1024), 1)
        for _ in range(5):
            assert not store.move_step(move)
        assert store.counters()["slab_reassign_busy_items"] > 0
        store.move_cancel(move)
        assert store.check() == items


def test_cancelled(store: Handle) -> None:
    for i in range(1500):
        store.put(b"%d" % i, b"x" * 900)
    class_id = store.class_for(1024)
    move = store.move_begin(class_id, 0)
    assert store.slab_class(class_id).draining_pages == 1
    store.move_step(move, 10)
    store.move_cancel(move)
    assert store.slab_class(class_id).draining_pages == 0
    assert store.check() == 1500


def test_chunks_in_other_magazines_come_back_when_asked_for(store: Handle, other: Handle) -> None:
    for i in range(40):
        other.put(b"%d" % i, b"x" * 900)
    for i in range(0, 40, 2):
        other.delete(b"%d" % i)
    class_id = store.class_for(1024)
    move = store.move_begin(class_id, 1)
    assert not store.move_step(move)
    other.turn()
    assert store.move_step(move)
    assert other.get(b"1") == b"x" * 900
