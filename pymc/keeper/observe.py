"""Reads the store into the snapshot that policies decide on."""

from pymc.core.snapshots import read_ages, read_class, read_slab
from pymc.core.store import Store
from pymc.policy.snapshot import CacheState, ClassState


def read_state(store: Store, now_seconds: int) -> CacheState:
    """The cache as it is; classes that neither have nor want a page are left out."""
    slab = read_slab(store)
    is_full = slab.pages_used >= slab.pages_limit
    classes = []
    for class_id in range(1, slab.classes + 1):
        one = read_class(store, class_id)
        # While pages are left, whoever wants one takes it.
        if not one.pages and not is_full:
            continue
        counters = store.class_counters(class_id)
        if not one.pages and not counters["outofmemory"]:
            continue
        classes.append(
            ClassState(
                class_id=class_id,
                chunks_per_page=one.chunks_per_page,
                pages=one.pages,
                free_chunks=one.free_chunks,
                items=counters["items"],
                age_seconds=read_ages(store, class_id).cold_seconds,
                evicted=counters["evicted"],
                out_of_memory=counters["outofmemory"],
                crawler_checked=counters["crawler_items_checked"],
                crawler_reclaimed=counters["crawler_reclaimed"],
            )
        )
    return CacheState(
        now_seconds, slab.pages_used, slab.pages_pool, slab.pages_limit, tuple(classes)
    )
