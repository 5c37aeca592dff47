"""Walks over all items in bounded steps: dumps, sizes, ages."""

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import EPOCH_UNIX_SECONDS, MIB, TINY_LADDER, Cache, Handle


def dump(store: Handle, kind: int, chunks: int, place_bytes: int = 4096) -> list[bytes]:
    """All lines of one walk."""
    cursor = ffi.new("struct space_cursor *")
    place = ffi.new("char[]", place_bytes)
    more = ffi.new("bool *", True)
    text = b""
    while more[0]:
        used = lib.store_dump_step(
            store.store, cursor, kind, chunks, ffi.NULL, place, place_bytes, more
        )
        assert used <= place_bytes
        text += bytes(ffi.buffer(place, used))
    return text.splitlines()


@pytest.mark.parametrize("chunks", [1, 50, 100_000])
def test_a_dump_names_every_live_item_once(store: Handle, chunks: int) -> None:
    for i in range(300):
        store.put(b"key %d" % i, b"v" * i, expiry_seconds=110 if i % 3 == 0 else 0)
    store.put(b"large", b"v" * 600_000)
    store.set_now(120)
    lines = dump(store, lib.STORE_DUMP_META, chunks)
    names = sorted(line.split()[0] for line in lines)
    wanted = [b"key=key%%20%d" % i for i in range(300) if i % 3] + [b"key=large"]
    assert names == sorted(wanted)


def test_what_a_line_says(store: Handle) -> None:
    cas = store.put(b"k", b"value", flags=5, expiry_seconds=200).cas
    store.get(b"k")
    [line] = dump(store, lib.STORE_DUMP_META, 1000)
    words = dict(word.split(b"=", 1) for word in line.split())
    assert words[b"key"] == b"k"
    assert int(words[b"exp"]) == EPOCH_UNIX_SECONDS + 200
    assert int(words[b"la"]) == EPOCH_UNIX_SECONDS + 100
    assert (int(words[b"cas"]), words[b"fetch"], words[b"flags"]) == (cas, b"yes", b"5")
    assert dump(store, lib.STORE_DUMP_MG, 1000) == [b"mg k"]


def test_long_keys_never_overrun_the_place(store: Handle) -> None:
    for i in range(200):
        store.put((b"%03d" % i) + b"\xff" * 247, b"")
    assert len(dump(store, lib.STORE_DUMP_META, 1000)) == 200


@pytest.mark.parametrize("chunks", [1, 7, 100_000])
def test_sizes_count_every_item_once(store: Handle, chunks: int) -> None:
    for i in range(100):
        store.put(b"%02d" % i, b"x" * 30)
    store.put(b"larger", b"x" * 10_000)
    cursor = ffi.new("struct space_cursor *")
    counts = ffi.new("uint32_t[]", 100)
    while lib.store_sizes_step(store.store, cursor, chunks, counts, 100):
        pass
    found = {bucket: count for bucket, count in enumerate(counts) if count}
    assert found == {2: 100, 99: 1}


def test_ages(store: Handle) -> None:
    class_id = store.class_for(64)
    for i in range(80):
        store.put(b"%02d" % i, b"x" * 40)
    store.set_now(150)
    ages = ffi.new("struct space_ages *")
    lib.space_class_ages(store.store, class_id, ages)
    assert ages.hot_seconds == 50
    # What was stored last waits in the process for the next batch.
    assert 70 < ages.hot_items <= 80


def test_a_crawl_can_be_limited_to_classes(store: Handle) -> None:
    store.put(b"small", b"x", expiry_seconds=101)
    store.put(b"large", b"x" * 3000, expiry_seconds=101)
    store.set_now(200)
    mask = ffi.new("uint64_t[]", 4)
    class_id = store.class_for(3200)
    mask[class_id // 64] = 1 << class_id % 64
    cursor = ffi.new("struct space_cursor *")
    while lib.store_crawl_step(store.store, cursor, 100, mask):
        pass
    assert cursor.items_reclaimed == 1
    assert store.counters()["items"] == 1


@pytest.mark.parametrize("dead_pages", [range(2), range(5, 7), range(12, 14)])
def test_a_sample_sees_every_place_sooner_or_later(dead_pages: range) -> None:
    """With few looks at a time the seed decides where; what is alive is never taken for dead."""
    with Cache(limit_bytes=24 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        store.set_now(100)
        class_id, count = store.class_for(1024), 14 * 1024
        for i in range(count):
            # One in sixteen, always in the same part of a page.
            dies = i // 1024 in dead_pages and 128 <= i % 1024 < 192
            store.put(b"%d" % i, b"x" * 900, expiry_seconds=110 if dies else 0)
        found = ffi.new("struct space_dead_sample *")
        lib.space_sample_dead(store.store, 4, 2, 1, found)
        assert found.items[class_id] >= 6
        assert found.dead[class_id] == 0
        store.set_now(120)
        items = dead = 0
        for seed in range(512):
            lib.space_sample_dead(store.store, 4, 2, seed, found)
            items += found.items[class_id]
            dead += found.dead[class_id]
        # As many as there are, within what so few looks can tell.
        assert 0.2 <= dead / items * count / 128 <= 5


def test_a_dump_misses_nothing_while_the_index_grows(store: Handle) -> None:
    """memcached's walks its table, which moves under it; here it walks the items."""
    old = [b"old%d" % i for i in range(1000)]
    for key in old:
        store.put(key, b"v")
    buckets = store.index().buckets
    cursor = ffi.new("struct space_cursor *")
    place = ffi.new("char[]", 4096)
    more = ffi.new("bool *", True)
    text = b""
    steps = 0
    while more[0]:
        for i in range(20):
            store.put(b"new%d-%d" % (steps, i), b"v")
        used = lib.store_dump_step(
            store.store, cursor, lib.STORE_DUMP_META, 40, ffi.NULL, place, 4096, more
        )
        text += bytes(ffi.buffer(place, used))
        steps += 1
    assert store.index().buckets > buckets + 50
    names = [line.split()[0].removeprefix(b"key=") for line in text.splitlines()]
    assert len(names) == len(set(names))
    assert set(old) <= set(names)
