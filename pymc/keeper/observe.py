"""Reads the store into the snapshots that policies decide on."""

from pymc.core.snapshots import read_ages, read_classes_with_pages, read_slab
from pymc.core.store import Store
from pymc.policy.snapshot import CacheState, ClassState


class Quiet:
    """Since when no class has got a page."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._opened = -1
        self._since_seconds = 0

    def seconds(self, pages_opened: int, now_seconds: int) -> int:
        """Returns for how many seconds the count has stood still, as far as was seen."""
        if pages_opened != self._opened or now_seconds < self._since_seconds:
            self._opened = pages_opened
            self._since_seconds = now_seconds
        return now_seconds - self._since_seconds


def read_state(store: Store, now_seconds: int, quiet: Quiet) -> CacheState:
    """Reads the pages as they are; classes that have none are left out."""
    slab = read_slab(store)
    classes = []
    for class_id, one in read_classes_with_pages(store, slab.classes).items():
        age = read_ages(store, class_id).cold_seconds
        classes.append(ClassState(class_id, one.chunks_per_page, one.pages, one.free_chunks, age))
    return CacheState(
        now_seconds,
        slab.pages_used,
        slab.pages_pool,
        slab.pages_limit,
        tuple(classes),
        quiet.seconds(slab.pages_opened, now_seconds),
    )
