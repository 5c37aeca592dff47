"""`stats items` and `stats slabs`: one group of lines per slab class."""

from collections.abc import Iterator

from pymc.core.snapshots import ClassAges, read_ages, read_class, read_slab
from pymc.core.store import Store
from pymc.stats.counts import not_flushed
from pymc.stats.general import hits

Pair = tuple[str, object]

PAGE_BYTES = 1 << 20
_COUNTED_IN_SLABS = (
    "cmd_set",
    "delete_hits",
    "incr_hits",
    "decr_hits",
    "cas_hits",
    "cas_badval",
    "touch_hits",
)
_COUNTED_IN_QUEUES = (
    "moves_to_cold",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
    "hits_to_hot",
    "hits_to_warm",
    "hits_to_cold",
    "hits_to_temp",
)


def items_pairs(store: Store, *, has_queues: bool, has_temp: bool) -> Iterator[Pair]:
    """`stats items`: classes with items. `has_queues` is false without the LRU maintainer."""
    for class_id in range(1, read_slab(store).classes + 1):
        if not read_class(store, class_id).pages:
            continue
        counters = store.class_counters(class_id)
        if not_flushed(counters, "items", "flushed_items"):
            ages = read_ages(store, class_id)
            pairs = _items_of_class(counters, ages, has_queues=has_queues, has_temp=has_temp)
            yield from ((f"items:{class_id}:{key}", value) for key, value in pairs)


def _items_of_class(
    counters: dict[str, int], ages: ClassAges, *, has_queues: bool, has_temp: bool
) -> Iterator[Pair]:
    items = not_flushed(counters, "items", "flushed_items")
    yield "number", items
    if has_queues:
        warm = not_flushed(counters, "warm_items", "flushed_warm_items")
        temp = not_flushed(counters, "temp_items", "flushed_temp_items")
        hot = min(ages.hot_items, max(items - warm - temp, 0))
        yield "number_hot", hot
        yield "number_warm", warm
        yield "number_cold", max(items - hot - warm - temp, 0)
        if has_temp:
            yield "number_temp", temp
        yield "age_hot", ages.hot_seconds
        yield "age_warm", ages.warm_seconds
    yield "age", ages.cold_seconds
    yield "mem_requested", not_flushed(counters, "item_bytes", "flushed_item_bytes")
    yield "evicted", counters["evicted"]
    yield "evicted_nonzero", counters["evicted_nonzero"]
    yield "evicted_time", counters["evicted_age_seconds"]
    for name in ("outofmemory", "tailrepairs", "reclaimed", "expired_unfetched"):
        yield name, counters[name]
    yield "evicted_unfetched", counters["evicted_unfetched"]
    if has_queues:
        yield "evicted_active", counters["evicted_active"]
    for name in ("crawler_reclaimed", "crawler_items_checked", "lrutail_reflocked"):
        yield name, counters[name]
    if has_queues:
        yield from ((name, counters[name]) for name in _COUNTED_IN_QUEUES)


def slabs_pairs(store: Store) -> Iterator[Pair]:
    """`stats slabs`: classes with pages, then the totals."""
    active = malloced_bytes = 0
    for class_id in range(1, read_slab(store).classes + 1):
        one = read_class(store, class_id)
        if not one.pages:
            continue
        active += 1
        malloced_bytes += one.pages * PAGE_BYTES
        chunks = one.pages * one.chunks_per_page
        free = min(one.free_chunks, chunks)
        counters = store.class_counters(class_id)
        pairs: list[Pair] = [
            ("chunk_size", one.chunk_bytes),
            ("chunks_per_page", one.chunks_per_page),
            ("total_pages", one.pages),
            ("total_chunks", chunks),
            ("used_chunks", chunks - free),
            ("free_chunks", free),
            ("free_chunks_end", 0),
            ("get_hits", hits(counters)),
            *((name, counters[name]) for name in _COUNTED_IN_SLABS),
        ]
        yield from ((f"{class_id}:{key}", value) for key, value in pairs)
    yield "active_slabs", active
    yield "total_malloced", malloced_bytes
