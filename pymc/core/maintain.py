"""Background steps on the store, each bounded: crawl, dump, size count, page move, clean-up."""

from collections.abc import Sequence
from enum import IntEnum

from pymc.core.errors import NotFoundError, check
from pymc.core.ffi import ffi, lib
from pymc.core.store import CLASSES_MAX, Store, class_mask


class DumpKind(IntEnum):
    """Which lines a dump writes."""

    META = lib.STORE_DUMP_META
    MG = lib.STORE_DUMP_MG
    CACHE = lib.STORE_DUMP_CACHE


class Crawl:
    """A walk over all chunks that frees expired and flushed items; `classes` None means all."""

    def __init__(self, store: Store, classes: Sequence[int] | None = None) -> None:
        """Begins at the first page."""
        self._store = store
        self._cursor = ffi.new("struct space_cursor *")
        self._mask = class_mask(classes)

    def step(self, chunks: int) -> bool:
        """Looks at up to `chunks` chunks; True while the walk is not complete."""
        return bool(lib.store_crawl_step(self._store.pointer, self._cursor, chunks, self._mask))

    @property
    def items_seen(self) -> int:
        """Items looked at so far."""
        return int(self._cursor.items_seen)

    @property
    def items_reclaimed(self) -> int:
        """Items freed so far."""
        return int(self._cursor.items_reclaimed)


class Leave:
    """A walk over all chunks that leaves items which are on flash too, and idle, to flash alone."""

    def __init__(self, store: Store) -> None:
        """Begins at the first page."""
        self._store = store
        self._cursor = ffi.new("struct space_cursor *")

    def step(self, chunks: int, idle_seconds: int) -> bool:
        """Looks at up to `chunks` chunks; True while the walk is not complete."""
        pointer = self._store.pointer
        return bool(lib.tier_leave_step(pointer, self._cursor, chunks, idle_seconds))


def sample_dead(
    store: Store, pages: int, chunks_per_page: int, seed: int
) -> list[tuple[int, int, int]]:
    """Looks at some chunks of some pages: class, items and dead items for each class met."""
    out = ffi.new("struct space_dead_sample *")
    lib.space_sample_dead(store.pointer, pages, chunks_per_page, seed, out)
    return [
        (class_id, out.items[class_id], out.dead[class_id])
        for class_id in range(1, CLASSES_MAX)
        if out.items[class_id]
    ]


def frontiers_step(store: Store) -> int:
    """Looks anew at what each class would evict next; how many seconds items live now."""
    return int(lib.space_frontiers_step(store.pointer))


class Dump:
    """A walk that writes a line for each live item; `classes` None means all."""

    PLACE_BYTES = 32768

    def __init__(self, store: Store, kind: DumpKind, classes: Sequence[int] | None = None) -> None:
        """Begins at the first page."""
        self._store = store
        self._kind = kind
        self._cursor = ffi.new("struct space_cursor *")
        self._mask = class_mask(classes)
        self._place = ffi.new("char[]", self.PLACE_BYTES)
        self._more = ffi.new("bool *", True)

    @property
    def is_complete(self) -> bool:
        """True when there are no more lines."""
        return not self._more[0]

    def step(self, chunks: int) -> bytes:
        """The next lines, of some `chunks` keys or PLACE_BYTES at most; may be empty."""
        written = lib.store_dump_step(
            self._store.pointer,
            self._cursor,
            self._kind,
            chunks,
            self._mask,
            self._place,
            self.PLACE_BYTES,
            self._more,
        )
        return bytes(ffi.buffer(self._place, written))


class SizeCount:
    """A walk that counts live items by size: bucket i holds those up to 32 * i bytes."""

    def __init__(self, store: Store, buckets: int) -> None:
        """Begins at the first page; items too large for the last bucket count there."""
        self._store = store
        self._cursor = ffi.new("struct space_cursor *")
        self._counts = ffi.new("uint32_t[]", buckets)
        self._buckets = buckets

    def step(self, chunks: int) -> bool:
        """Looks at up to `chunks` chunks; True while the walk is not complete."""
        return bool(
            lib.store_sizes_step(
                self._store.pointer, self._cursor, chunks, self._counts, self._buckets
            )
        )

    @property
    def counts(self) -> dict[int, int]:
        """Items by bucket, those with any."""
        return {bucket: count for bucket, count in enumerate(self._counts) if count}


class PageMove:
    """One page on its way from a class to another, or to the pool (class 0)."""

    def __init__(
        self, store: Store, from_class: int, to_class: int, *, may_evict: bool = True
    ) -> None:
        """Chooses the page. Raises NotFoundError when the class has none to give."""
        self._store = store
        self.from_class = from_class
        self.to_class = to_class
        self._move = ffi.new("struct space_move *")
        status = lib.space_move_begin(store.pointer, from_class, to_class, self._move)
        check(status, "store_move_begin")
        self._move.may_evict = may_evict

    @property
    def passes(self) -> int:
        """How often the whole page was looked at and still had chunks in use."""
        return int(self._move.passes)

    @property
    def is_stuck(self) -> bool:
        """True when it was looked at so often that it had better be given up."""
        return self.passes >= int(lib.SPACE_MOVE_PASSES_MAX)

    def step(self, chunks: int) -> bool:
        """Empties up to `chunks` chunks; True when the page has moved."""
        return bool(lib.space_move_step(self._store.pointer, self._move, chunks))

    def cancel(self) -> None:
        """Leaves the page with its class."""
        lib.space_move_cancel(self._store.pointer, self._move)


def begin_move(
    store: Store, from_class: int, to_class: int, *, may_evict: bool = True
) -> PageMove | None:
    """A move, or None when the class has no page to give."""
    try:
        return PageMove(store, from_class, to_class, may_evict=may_evict)
    except NotFoundError:
        return None


def limbo_step(store: Store, items_max: int) -> int:
    """Frees large items whose last reader is done; how many still wait."""
    return int(lib.link_limbo_step(store.pointer, items_max))


def fit_probation_step(store: Store) -> bool:
    """Fits the probation queues and the ghost to what is held; True while there is more to do."""
    return bool(lib.space_fit_probation_step(store.pointer))


def release_pool_step(store: Store, pages_max: int) -> int:
    """Gives free pages' memory back to the system; how many pages."""
    slab = ffi.cast("struct slab *", lib.store_slab(store.pointer))
    return int(lib.slab_release_pool_step(slab, lib.store_proc(store.pointer), pages_max))


def shrink_step(store: Store, buckets_max: int, *, flash_too: bool) -> bool:
    """Lets indexes that are much too large shrink by some buckets; True while there is more."""
    return bool(lib.space_shrink_step(store.pointer, buckets_max, flash_too))
