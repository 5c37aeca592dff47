"""`stats items` and `stats slabs`: one group of lines per slab class, and a part for each."""

from collections.abc import Iterator
from functools import cache

from pymc.core.snapshots import ClassAges, ClassSnapshot, read_next_class
from pymc.core.store import Store
from pymc.stats.counts import not_flushed
from pymc.stats.general import hits

PAGE_BYTES = 1 << 20
_SLABS_KEYS = (
    "chunk_size chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end "
    "get_hits cmd_set delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits"
)
_QUEUE_AGES = "age_hot age_warm"
_QUEUE_COUNTS = """
    moves_to_cold moves_to_warm moves_within_lru direct_reclaims hits_to_hot hits_to_warm
    hits_to_cold hits_to_temp
    """


def items_parts(store: Store, *, has_queues: bool, has_temp: bool) -> Iterator[bytes]:
    """`stats items`: classes with items. `has_queues` is false without the LRU maintainer."""
    template = _items_template(has_queues, has_temp)
    for class_id, _, ages in _classes(store):
        counters = store.class_counters(class_id)
        if not_flushed(counters, "items", "flushed_items"):
            yield (template % _items_values(class_id, counters, ages)).encode("ascii")
    yield b"END\r\n"


def has_items(store: Store, class_id: int) -> bool:
    """Tells whether `stats items` shows the class."""
    return bool(not_flushed(store.class_counters(class_id), "items", "flushed_items"))


def _classes(store: Store) -> Iterator[tuple[int, ClassSnapshot, ClassAges]]:
    """Classes that have pages."""
    found = read_next_class(store, 1)
    while found:
        yield found
        found = read_next_class(store, found[0] + 1)


@cache
def _items_template(has_queues: bool, has_temp: bool) -> str:
    queue_numbers = "number_hot number_warm number_cold " + "number_temp" * has_temp
    keys = f"""
        number {f"{queue_numbers} {_QUEUE_AGES}" * has_queues} age mem_requested evicted
        evicted_nonzero evicted_time outofmemory tailrepairs reclaimed expired_unfetched
        evicted_unfetched {"evicted_active" * has_queues} crawler_reclaimed
        crawler_items_checked lrutail_reflocked {_QUEUE_COUNTS * has_queues}
        """
    return "".join(f"STAT items:%(class_id)d:{key} %({key})d\r\n" for key in keys.split())


def _items_values(class_id: int, counters: dict[str, int], ages: ClassAges) -> dict[str, int]:
    items = not_flushed(counters, "items", "flushed_items")
    warm = not_flushed(counters, "warm_items", "flushed_warm_items")
    temp = not_flushed(counters, "temp_items", "flushed_temp_items")
    hot = min(ages.hot_items, max(items - warm - temp, 0))
    return counters | {
        "class_id": class_id,
        "number": items,
        "number_hot": hot,
        "number_warm": warm,
        "number_cold": max(items - hot - warm - temp, 0),
        "number_temp": temp,
        "age_hot": ages.hot_seconds,
        "age_warm": ages.warm_seconds,
        "age": ages.cold_seconds,
        "mem_requested": not_flushed(counters, "item_bytes", "flushed_item_bytes"),
        "evicted_time": counters["evicted_age_seconds"],
        # There are no tails of lists, and nothing goes from one to the other.
        "tailrepairs": 0,
        "lrutail_reflocked": 0,
        "moves_to_cold": 0,
    }


def slabs_parts(store: Store) -> Iterator[bytes]:
    """`stats slabs`: classes with pages, then the totals."""
    active = malloced_bytes = 0
    template = _slabs_template()
    for class_id, one, _ in _classes(store):
        active += 1
        malloced_bytes += one.pages * PAGE_BYTES
        yield (template % _slabs_values(store, class_id, one)).encode("ascii")
    totals = f"STAT active_slabs {active}\r\nSTAT total_malloced {malloced_bytes}\r\nEND\r\n"
    yield totals.encode("ascii")


@cache
def _slabs_template() -> str:
    return "".join(f"STAT %(class_id)d:{key} %({key})d\r\n" for key in _SLABS_KEYS.split())


def _slabs_values(store: Store, class_id: int, one: ClassSnapshot) -> dict[str, int]:
    counters = store.class_counters(class_id)
    chunks = one.pages * one.chunks_per_page
    free = min(one.free_chunks, chunks)
    return counters | {
        "class_id": class_id,
        "chunk_size": one.chunk_bytes,
        "chunks_per_page": one.chunks_per_page,
        "total_pages": one.pages,
        "total_chunks": chunks,
        "used_chunks": chunks - free,
        "free_chunks": free,
        "free_chunks_end": 0,
        "get_hits": hits(counters),
    }
