"""Dumps while the index grows and shrinks, values are replaced and pages move."""

from collections.abc import Callable

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle

STAYING = 4000


class Walk:
    """A dump in steps of few keys."""

    def __init__(self, store: Handle, chunks: int, place_bytes: int = 4096) -> None:
        self.store, self.chunks = store, chunks
        self.cursor = ffi.new("struct space_cursor *")
        self.place = ffi.new("char[]", place_bytes)
        self.more = ffi.new("bool *", True)
        self.keys: list[bytes] = []
        self.steps = 0

    def step(self, class_mask: object = ffi.NULL) -> bool:
        used = lib.store_dump_step(
            self.store.store,
            self.cursor,
            lib.STORE_DUMP_MG,
            self.chunks,
            class_mask,
            self.place,
            len(self.place),
            self.more,
        )
        lines = bytes(ffi.buffer(self.place, used)).splitlines()
        self.keys += [line.split()[1] for line in lines]
        self.steps += 1
        return bool(self.more[0])


def staying(count: int = STAYING) -> list[bytes]:
    return [b"stays%d" % i for i in range(count)]


def buckets(store: Handle) -> int:
    out = ffi.new("struct index_snapshot *")
    lib.index_read(lib.store_index(store.store), out)
    return int(out.buckets)


def named_once(walk: Walk, keys: list[bytes]) -> None:
    assert sorted(key for key in walk.keys if key.startswith(b"stays")) == sorted(keys)


@pytest.mark.parametrize("first_step", [1, 40, 400])
def test_growth_and_merges_lose_and_repeat_nobody(first_step: int) -> None:
    """The index grows to many times its size and shrinks again, at any place of the walk."""
    with Cache(limit_bytes=256 * MIB, bucket_start=64) as cache:
        store = cache.open()
        for key in staying():
            store.put(key, b"x")
        walk = Walk(store, 64)
        least, most, number = buckets(store), buckets(store), 0
        goes_on = True
        while goes_on:
            for _ in range(first_step if not number else 3):
                goes_on = goes_on and walk.step()
            # Three steps of growth, then three of shrinking, and so on.
            grows = number // 3 % 2 == 0
            for i in range(3000):
                key = b"passes%d.%d" % (number % 3, i)
                if grows:
                    store.put(key, b"x")
                else:
                    store.delete(key)
            while not grows and lib.space_shrink_step(store.store, 64, False):
                pass
            least, most = min(least, buckets(store)), max(most, buckets(store))
            number += 1
        named_once(walk, staying())
        if first_step < 400:
            assert most > least
        store.check()


@pytest.mark.parametrize("place_bytes", [4096, 32768])
def test_a_chain_that_does_not_fit_is_cut(place_bytes: int) -> None:
    """Keys so long that the lines of one bucket need more room than there is."""
    with Cache(limit_bytes=64 * MIB, bucket_start=1) as cache:
        store = cache.open()
        keys = [b"stays%04d" % i + b"k" * 240 for i in range(300)]
        for key in keys:
            store.put(key, b"x")
        walk = Walk(store, 1000, place_bytes)
        while walk.step():
            pass
        named_once(walk, keys)


def test_a_step_looks_at_so_many_keys_at_most() -> None:
    with Cache(limit_bytes=64 * MIB, bucket_start=64) as cache:
        store = cache.open()
        for key in staying():
            store.put(key, b"x")
        walk = Walk(store, 32, 65536)
        goes_on = True
        while goes_on:
            before = len(walk.keys)
            goes_on = walk.step()
            # A bucket is looked at as a whole: with its chain that is some more.
            assert len(walk.keys) - before < 32 + 30
        assert walk.steps > STAYING / 62


def replace_values(store: Handle, walk: Walk) -> None:
    for key in staying(2000)[walk.steps % 7 :: 7]:
        store.put(key, b"y" * (walk.steps % 400))


def move_pages(store: Handle, walk: Walk) -> None:
    move = ffi.new("struct space_move *")
    class_id = store.class_for(512)
    if lib.space_move_begin(store.store, class_id, 0, move) == lib.PYMC_OK:
        for _ in range(1000):
            if lib.space_move_step(store.store, move, 64):
                return
        lib.space_move_cancel(store.store, move)


@pytest.mark.parametrize("change", [replace_values, move_pages])
def test_who_changes_its_place_is_named_once(change: Callable[[Handle, Walk], None]) -> None:
    with Cache(limit_bytes=64 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        keys = staying(12_000)
        for key in keys:
            store.put(key, b"x" * 400)
        # Many pages with holes: what one gives away fits into the others.
        for key in keys[::2]:
            store.delete(key)
        walk = Walk(store, 256, 65536)
        while walk.step():
            if walk.steps % 4 == 0:
                change(store, walk)
        present = set(keys[1::2])
        assert sorted(key for key in walk.keys if key in present) == sorted(present)


def test_only_the_classes_that_are_wanted(store: Handle) -> None:
    for i in range(100):
        store.put(b"stays%d" % i, b"x" * 900)
        store.put(b"other%d" % i, b"x")
    mask = ffi.new("uint64_t[]", 4)
    class_id = store.class_for(960)
    mask[class_id // 64] = 1 << class_id % 64
    walk = Walk(store, 50)
    while walk.step(mask):
        pass
    assert sorted(walk.keys) == sorted(staying(100))


def test_a_key_that_is_written_between_steps_is_named_once(store: Handle) -> None:
    for key in staying(500):
        store.put(key, b"x")
    walk = Walk(store, 10)
    while walk.step():
        store.put(b"stays7", b"y")
    named_once(walk, staying(500))
