"""Pages, classes and magazines as snapshots show them."""

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, Cache, Handle


def test_classes_are_the_ladder(store: Handle) -> None:
    snapshot = store.slab()
    assert snapshot.classes == len(LADDER)
    assert snapshot.unit_bytes == 8
    for class_id, chunk_bytes in enumerate(LADDER, start=1):
        slab_class = store.slab_class(class_id)
        assert slab_class.chunk_bytes == chunk_bytes
        assert slab_class.chunks_per_page == MIB // chunk_bytes
        assert slab_class.pages == 0


def test_class_for(store: Handle) -> None:
    for class_id, chunk_bytes in enumerate(LADDER, start=1):
        assert store.class_for(chunk_bytes) == class_id
        assert store.class_for(chunk_bytes - 1) == class_id
        assert store.class_for(chunk_bytes + 1) == (class_id + 1) % (len(LADDER) + 1)


def test_large_arenas_count_in_larger_units() -> None:
    with Cache(limit_bytes=1 << 30, limit_bytes_max=40 << 30, slots=1) as cache:
        store = cache.open()
        assert store.slab().unit_bytes == 16
        store.put(b"k", b"v" * 100)
        assert store.get(b"k") == b"v" * 100
        assert store.check() == 1


def test_bad_geometries() -> None:
    for sizes in ((), (16,), (64, 48), (2 * MIB,)):
        try:
            Cache(chunk_bytes=sizes)
        except AssertionError:
            continue
        raise AssertionError(f"{sizes} was taken")


def test_free_chunks_are_all_accounted_for(store: Handle) -> None:
    class_id = store.class_for(256)
    for i in range(9000):
        store.put(b"%d" % i, b"x" * 220)
    for i in range(0, 9000, 3):
        store.delete(b"%d" % i)
    slab_class = store.slab_class(class_id)
    free = slab_class.free_chunks + slab_class.magazine_chunks
    assert slab_class.pages * slab_class.chunks_per_page - free == 6000


def test_magazines_are_emptied_on_demand(store: Handle) -> None:
    for i in range(20):
        store.put(b"%d" % i, b"x" * 220)
    class_id = store.class_for(256)
    slab = lib.store_slab(store.store)
    assert store.slab_class(class_id).magazine_chunks > 0
    lib.slab_ask_flush(ffi.cast("struct slab *", slab))
    assert store.slab_class(class_id).magazine_chunks > 0
    store.turn()
    assert store.slab_class(class_id).magazine_chunks == 0


def test_closing_gives_the_magazines_back(store: Handle, other: Handle) -> None:
    for i in range(20):
        other.put(b"%d" % i, b"x" * 220)
    other.close()
    assert store.slab_class(store.class_for(256)).magazine_chunks == 0


def test_pages_limit_zero_still_leaves_a_page_per_class() -> None:
    with Cache(limit_bytes=0) as cache:
        store = cache.open()
        for size in (10, 100, 1000, 10_000):
            for i in range(200):
                store.put(b"%d.%d" % (size, i), b"x" * size)
            assert store.get(b"%d.199" % size) == b"x" * size
        store.check()
