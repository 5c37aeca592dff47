"""`stats items` and `stats slabs`: one group of lines per slab class, and a part for each."""

from collections.abc import Iterator

from pymc.config import SLAB_PAGE_BYTES
from pymc.core.snapshots import ClassAges, ClassSnapshot, read_next_class
from pymc.core.store import Store
from pymc.stats.counts import not_flushed
from pymc.stats.general import hits
from pymc.stats.report import Values, report_parts, templates

# The lines of each class in `stats items`; pymc/stats/report.py says how to read it.
ITEMS = """
items:{class}:number gauge items Items that are there.
items:{class}:number_hot?queues gauge items Items on probation.
items:{class}:number_warm?queues gauge items Items that proved themselves.
items:{class}:number_cold?queues gauge items Items that did not prove themselves.
items:{class}:number_temp?temp gauge items Items stored with a short time to live.
items:{class}:age_hot?queues gauge seconds How long the oldest item on probation is unused.
items:{class}:age_warm?queues gauge seconds How long a proven item near the hand is unused.
items:{class}:age gauge seconds How long another item near the eviction hand is unused.
items:{class}:mem_requested gauge bytes Bytes of the items that are there.
items:{class}:evicted
items:{class}:evicted_nonzero
items:{class}:evicted_time=evicted_age_seconds
items:{class}:outofmemory
items:{class}:tailrepairs=zero counter items Always 0: there are no tails of lists.
items:{class}:reclaimed
items:{class}:expired_unfetched
items:{class}:evicted_unfetched
items:{class}:evicted_active?queues
items:{class}:crawler_reclaimed
items:{class}:crawler_items_checked
items:{class}:lrutail_reflocked=zero counter items Always 0: there are no tails of lists.
items:{class}:moves_to_cold=zero?queues counter items Always 0: nothing changes lists.
items:{class}:moves_to_warm?queues
items:{class}:moves_within_lru?queues
items:{class}:direct_reclaims?queues
items:{class}:hits_to_hot?queues
items:{class}:hits_to_warm?queues
items:{class}:hits_to_cold?queues
items:{class}:hits_to_temp?queues
"""
# The lines of each class in `stats slabs`, and those behind all classes.
SLABS = """
{class}:chunk_size gauge bytes The largest item of the class.
{class}:chunks_per_page gauge chunks Chunks in one page.
{class}:total_pages gauge pages Pages that the class has.
{class}:total_chunks gauge chunks Chunks in all pages.
{class}:used_chunks gauge chunks Chunks that are in use.
{class}:free_chunks gauge chunks Chunks that are free, those set aside by processes included.
{class}:free_chunks_end=zero gauge chunks Always 0: all free chunks are in free_chunks.
{class}:get_hits counter keys Reads that found their key.
{class}:cmd_set
{class}:delete_hits
{class}:incr_hits
{class}:decr_hits
{class}:cas_hits
{class}:cas_badval
{class}:touch_hits
active_slabs gauge classes Classes that have pages.
total_malloced gauge bytes Bytes of all their pages.
"""


def items_parts(store: Store, *, has_queues: bool, has_temp: bool) -> Iterator[bytes]:
    """`stats items`: classes with items. `has_queues` is false without the LRU maintainer."""
    conditions = [*["queues"] * has_queues, *["temp"] * (has_queues and has_temp)]
    lines = templates(ITEMS, "items", tuple(conditions))
    yield from report_parts(lines, {}, {"class": _classes_with_items(store)})
    yield b"END\r\n"


def _classes_with_items(store: Store) -> Iterator[tuple[int, Values]]:
    for class_id, _, ages in _classes(store):
        counters = store.class_counters(class_id)
        if not_flushed(counters, "items", "flushed_items"):
            yield class_id, _items_values(counters, ages)


def has_items(store: Store, class_id: int) -> bool:
    """Tells whether `stats items` shows the class."""
    return bool(not_flushed(store.class_counters(class_id), "items", "flushed_items"))


def _classes(store: Store) -> Iterator[tuple[int, ClassSnapshot, ClassAges]]:
    """Classes that have pages."""
    found = read_next_class(store, 1)
    while found:
        yield found
        found = read_next_class(store, found[0] + 1)


def _items_values(counters: dict[str, int], ages: ClassAges) -> dict[str, int]:
    items = not_flushed(counters, "items", "flushed_items")
    warm = not_flushed(counters, "warm_items", "flushed_warm_items")
    temp = not_flushed(counters, "temp_items", "flushed_temp_items")
    hot = min(ages.hot_items, max(items - warm - temp, 0))
    return counters | {
        "number": items,
        "number_hot": hot,
        "number_warm": warm,
        "number_cold": max(items - hot - warm - temp, 0),
        "number_temp": temp,
        "age_hot": ages.hot_seconds,
        "age_warm": ages.warm_seconds,
        "age": ages.cold_seconds,
        "mem_requested": not_flushed(counters, "item_bytes", "flushed_item_bytes"),
        "zero": 0,
    }


def slabs_parts(store: Store) -> Iterator[bytes]:
    """`stats slabs`: classes with pages, then the totals."""
    totals = {"active_slabs": 0, "total_malloced": 0}
    groups = {"class": _classes_with_pages(store, totals)}
    yield from report_parts(templates(SLABS, "slabs"), totals, groups)
    yield b"END\r\n"


def _classes_with_pages(store: Store, totals: dict[str, int]) -> Iterator[tuple[int, Values]]:
    """The classes; adds each to the totals before it is shown."""
    for class_id, one, _ in _classes(store):
        totals["active_slabs"] += 1
        totals["total_malloced"] += one.pages * SLAB_PAGE_BYTES
        yield class_id, _slabs_values(store.class_counters(class_id), one)


def _slabs_values(counters: dict[str, int], one: ClassSnapshot) -> dict[str, int]:
    chunks = one.pages * one.chunks_per_page
    free = min(one.free_chunks, chunks)
    return counters | {
        "chunk_size": one.chunk_bytes,
        "chunks_per_page": one.chunks_per_page,
        "total_pages": one.pages,
        "total_chunks": chunks,
        "used_chunks": chunks - free,
        "free_chunks": free,
        "zero": 0,
        "get_hits": hits(counters),
    }
