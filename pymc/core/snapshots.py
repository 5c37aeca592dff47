"""Snapshots of slab, index, queues and connections, copied out of the arena as plain values."""

from collections.abc import Iterator
from enum import IntEnum
from itertools import count
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any

from pymc.core.arena import Arena
from pymc.core.ffi import ffi, lib
from pymc.core.store import Store
from pymc.record import Record


class SlabSnapshot(Record):
    """Pages of the whole store, in numbers of pages."""

    classes: int
    pages_used: int
    pages_pool: int
    pages_limit: int
    pages_max: int
    # Counts pages that were given to a class; wraps around.
    pages_opened: int


class ClassSnapshot(Record):
    """Pages and chunks of one slab class. Free chunks include those in processes' magazines."""

    chunk_bytes: int
    chunks_per_page: int
    pages: int
    draining_pages: int
    free_chunks: int


class ClassAges(Record):
    """Ages of one class's items in seconds, and how many are on probation."""

    hot_seconds: int
    warm_seconds: int
    cold_seconds: int
    hot_items: int


class IndexSnapshot(Record):
    """The hash index: home buckets, chained ones, and memory in use."""

    buckets: int
    overflow_buckets: int
    entries: int
    bytes: int


class ConnectionState(IntEnum):
    """What a connection waits for."""

    FREE = lib.CONNECTION_FREE
    READ = lib.CONNECTION_READ
    NREAD = lib.CONNECTION_NREAD
    SWALLOW = lib.CONNECTION_SWALLOW
    WRITE = lib.CONNECTION_WRITE
    PARKED = lib.CONNECTION_PARKED
    IO_QUEUE = lib.CONNECTION_IO_QUEUE
    WATCH = lib.CONNECTION_WATCH


class ConnectionSnapshot(Record):
    """One live connection; `peer` and `local` are None for unix sockets.

    `identity` is whom its certificate names, "" for nobody.
    """

    worker: int
    id: int
    last_command_seconds: int
    state: ConnectionState
    peer: tuple[str, int] | None
    local: tuple[str, int] | None
    identity: str = ""


class PrefixSnapshot(Record):
    """What was counted for keys that begin with a prefix."""

    prefix: bytes
    gets: int
    hits: int
    sets: int
    deletes: int


def read_slab(store: Store) -> SlabSnapshot:
    """The pages of all classes."""
    out = ffi.new("struct slab_snapshot *")
    lib.slab_read(lib.store_slab(store.pointer), out)
    return SlabSnapshot(
        out.classes,
        out.pages_used,
        out.pages_pool,
        out.pages_limit,
        out.pages_max,
        out.pages_opened,
    )


def read_class(store: Store, class_id: int) -> ClassSnapshot:
    """The pages and chunks of one class, 1 to SlabSnapshot.classes."""
    out = ffi.new("struct slab_class_snapshot *")
    lib.slab_class_read(lib.store_slab(store.pointer), class_id, out)
    return _class_snapshot(out)


def read_classes_with_pages(store: Store, classes: int) -> dict[int, ClassSnapshot]:
    """Those of the first `classes` classes that have pages: mostly a few of some two hundred."""
    out = ffi.new("struct slab_class_snapshot *")
    read, slab = lib.slab_class_read, lib.store_slab(store.pointer)
    found = {}
    for class_id in range(1, classes + 1):
        read(slab, class_id, out)
        if out.pages:
            found[class_id] = _class_snapshot(out)
    return found


def _class_snapshot(out: Any) -> ClassSnapshot:
    free = out.free_chunks + out.magazine_chunks
    return ClassSnapshot(out.chunk_bytes, out.chunks_per_page, out.pages, out.draining_pages, free)


def read_next_class(store: Store, class_id: int) -> tuple[int, ClassSnapshot, ClassAges] | None:
    """The first class from `class_id` on that has pages; None when there is none."""
    out = ffi.new("struct store_class_state *")
    found = lib.store_class_read_next(store.pointer, class_id, out)
    if not found:
        return None
    slab, ages = out.slab, out.ages
    snapshot = ClassSnapshot(
        slab.chunk_bytes,
        slab.chunks_per_page,
        slab.pages,
        slab.draining_pages,
        slab.free_chunks + slab.magazine_chunks,
    )
    return found, snapshot, _ages(ages)


def read_ages(store: Store, class_id: int) -> ClassAges:
    """The ages of one class's items."""
    out = ffi.new("struct space_ages *")
    lib.space_class_ages(store.pointer, class_id, out)
    return _ages(out)


def _ages(out: Any) -> ClassAges:
    return ClassAges(out.hot_seconds, out.warm_seconds, out.cold_seconds, out.hot_items)


def read_index(store: Store) -> IndexSnapshot:
    """The hash index."""
    out = ffi.new("struct index_snapshot *")
    lib.index_read(lib.store_index(store.pointer), out)
    return IndexSnapshot(out.buckets, out.overflow_buckets, out.entries, out.bytes)


def read_loads(arena: Arena, workers: int) -> list[int]:
    """How many connections each worker has."""
    counts = ffi.new("uint32_t[]", workers)
    lib.server_loads_read(arena.pointer, counts)
    return list(counts)


def read_connections(arena: Arena, most: int) -> Iterator[list[ConnectionSnapshot]]:
    """The live connections of the whole server by number, `most` at a time."""
    records = ffi.new("struct connection_record[]", most)
    next_id = ffi.new("uint32_t *")
    while found := lib.server_connections_read(arena.pointer, next_id, records, most):
        yield _connections(arena, records, found)


def _connections(arena: Arena, records: Any, total: int) -> list[ConnectionSnapshot]:
    found = []
    for record in records[0:total]:
        peer = local = None
        family = record.family
        if family != 1:
            peer = (_address(family, record.address), record.port)
            local = (_address(family, record.listen_address), record.listen_port)
        found.append(
            ConnectionSnapshot(
                record.worker,
                record.id,
                record.last_command_seconds,
                ConnectionState(record.state),
                peer,
                local,
                _identity(arena, record.id) if record.has_identity else "",
            )
        )
    return found


def _identity(arena: Arena, record: int) -> str:
    out = ffi.new("char[]", int(lib.SERVER_IDENTITY_BYTES))
    length = int(lib.server_identity_read(arena.pointer, record, out))
    return bytes(ffi.buffer(out, length)).decode("ascii", "replace")


def _address(family: int, packed: object) -> str:
    raw = bytes(ffi.buffer(packed))
    return inet_ntop(AF_INET, raw[:4]) if family == 4 else inet_ntop(AF_INET6, raw)


def read_prefixes(arena: Arena) -> Iterator[PrefixSnapshot]:
    """All key prefixes counted since `stats detail` was switched on."""
    out = ffi.new("struct prefix_record *")
    for number in count():
        if not lib.prefix_read(arena.pointer, number, out):
            return
        prefix = bytes(ffi.buffer(out.prefix, out.prefix_bytes))
        yield PrefixSnapshot(prefix, out.gets, out.hits, out.sets, out.deletes)


def prefix_total(arena: Arena) -> int:
    """How many prefixes are counted."""
    return int(lib.prefix_total(arena.pointer))


def clear_prefixes(store: Store) -> None:
    """Forgets all prefixes and their counts."""
    lib.prefix_clear(store.pointer)
