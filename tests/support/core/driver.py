"""Drives the C store from tests: one arena, handles on its slots, every operation as a method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from pymc.core.ffi import ffi, lib, text
from tests.support.core.flash_reads import Reads
from tests.support.core.records import Found as Found
from tests.support.core.records import Mode as Mode
from tests.support.core.records import Number as Number
from tests.support.core.records import Outcome as Outcome
from tests.support.core.records import Stored as Stored
from tests.support.core.records import Write as Write

# Few classes, so that tests meet borrowing, page moves and eviction in small arenas.
LADDER = (48, 64, 96, 128, 192, 256, 512, 1024, 4096, 16384, 65536, 524288)
# A largest chunk this small makes values of some kilobytes large items with many parts.
TINY_LADDER = (48, 64, 96, 128, 256, 512, 1024)
MIB = 1 << 20
EPOCH_UNIX_SECONDS = 1_700_000_000
BUSY_TRIES = 100_000


COUNTERS = [text(lib.meter_row(i).name) for i in range(lib.meter_count())]
CLASS_COUNTERS = [text(lib.meter_class_row(i).name) for i in range(lib.meter_class_count())]
LIVE = {text(lib.live_name(i)): i for i in range(lib.live_count())}


@dataclass
class Shape:
    """How large a cache is and how its memory is cut."""

    limit_bytes: int = 64 * MIB
    limit_bytes_max: int = 0
    slots: int = 4
    chunk_bytes: Sequence[int] = LADDER
    bucket_start: int = 64
    live: dict[str, int] = field(default_factory=dict)
    hash_seed: int = 0
    connections_max: int = 0
    reserve_bytes_more: int = 0  # For what is in the arena besides the store.


class Cache:
    """An arena with a store in it; processes and tests open handles on its slots."""

    def __init__(self, shape: Shape | None = None, **changes: Any) -> None:
        self.shape = shape = shape or Shape(**changes)
        sizes = ffi.new("uint32_t[]", list(shape.chunk_bytes))
        geometry = ffi.new("struct store_geometry *")
        geometry.limit_bytes = shape.limit_bytes
        geometry.limit_bytes_max = max(shape.limit_bytes, shape.limit_bytes_max)
        geometry.class_count = len(shape.chunk_bytes)
        geometry.chunk_bytes = sizes
        geometry.bucket_start = shape.bucket_start
        geometry.connections_max = shape.connections_max
        options = ffi.new("struct arena_options *")
        store_bytes = lib.store_reserve_bytes(geometry, shape.slots)
        options.reserve_bytes = store_bytes + shape.reserve_bytes_more + MIB
        options.slots = shape.slots
        options.boot_unix_seconds = EPOCH_UNIX_SECONDS + 2
        options.hash_seed = shape.hash_seed
        out = ffi.new("struct arena **")
        assert lib.arena_create(options, out) == 0
        self.arena = out[0]
        assert lib.store_create(self.arena, geometry) == 0
        self.set_live("item_bytes_max", 64 * MIB)
        for name, value in shape.live.items():
            self.set_live(name, value)
        self.flash: Any = ffi.NULL  # What handles that are opened later see.
        self.handles: list[Handle] = []

    def set_live(self, name: str, value: int) -> None:
        lib.live_write(self.arena, LIVE[name], value)

    def open(self, slot: int = 0, role: int = lib.PROC_WORKER) -> "Handle":
        handle = Handle(self, slot, role)
        self.handles.append(handle)
        return handle

    def close(self) -> None:
        for handle in self.handles:
            handle.close()
        lib.arena_close(self.arena)

    def __enter__(self) -> "Cache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Making:
    """A value on its way in, to be committed or abandoned."""

    def __init__(self, handle: "Handle", write: Any, keep: Any, value_bytes: int) -> None:
        self.handle = handle
        self.write = write
        self.keep = keep
        self.value_bytes = value_bytes
        self.making = ffi.new("struct store_making *")
        self.outcome = Outcome(lib.store_begin(handle.store, write, self.making))

    def fill(self, piece: bytes) -> int:
        """Fills as much as fits in the next span; how much that was."""
        place = ffi.new("char **")
        span: int = lib.store_making_span(self.handle.store, self.making, place)
        taken = min(span, len(piece))
        ffi.memmove(place[0], piece, taken)
        self.making.filled_bytes += taken
        return taken

    def fill_all(self, value: bytes) -> None:
        while value:
            taken = self.fill(value)
            assert taken > 0
            value = value[taken:]

    def commit(self) -> Stored:
        result = ffi.new("struct store_result *")
        outcome = lib.store_commit(self.handle.store, self.write, self.making, result)
        return Stored(Outcome(outcome), result.cas, result.value_bytes)

    def abandon(self) -> None:
        lib.store_abandon(self.handle.store, self.making)


class Handle:
    """A process slot's view of the store."""

    def __init__(self, cache: Cache, slot: int, role: int) -> None:
        self.cache = cache
        self.slot = slot
        out = ffi.new("struct store **")
        self.status = lib.store_open(cache.arena, cache.flash, slot, role, out)
        assert self.status == 0, self.status
        self.store = out[0]
        self.proc = lib.store_proc(self.store)
        self.proto: Any = ffi.NULL
        self.reads: Reads | None = None
        # False: what meets a busy bucket answers BUSY instead of being tried again.
        self.waits_for_buckets = True
        self._on_close: list[Callable[[], None]] = []
        self.set_now(2)

    def on_close(self, action: Callable[[], None]) -> None:
        self._on_close.append(action)

    def close(self) -> None:
        if self.store != ffi.NULL:
            for action in self._on_close:
                action()
            if self.proto != ffi.NULL:
                lib.proto_close(self.proto)
            if self.reads:
                self.reads.close()
            lib.store_close(self.store)
            self.store = ffi.NULL

    def _when_free(self, operation: Callable[[], int]) -> Outcome:
        outcome = operation()
        for _ in range(BUSY_TRIES if self.waits_for_buckets else 0):
            if outcome != lib.STORE_BUSY:
                break
            # As a worker does between two tries: where a chain was full it makes room.
            lib.store_turn(self.store)
            outcome = operation()
        return Outcome(outcome)

    def hold(self, key: bytes) -> None:
        """Takes the lock of the key's bucket, as a process does that is stopped in a change."""
        assert lib.link_hold_key(self.store, key, len(key))

    def release(self, key: bytes) -> None:
        lib.link_release_key(self.store, key, len(key))

    def set_now(self, seconds: int) -> None:
        lib.proc_set_now(self.proc, seconds)

    def _write(self, key: bytes, value_bytes: int, want: Write) -> tuple[Any, Any]:
        place = ffi.new("char[]", key)
        write = ffi.new("struct store_write *")
        write.key = place
        write.key_bytes = len(key)
        write.mode = want.mode
        write.client_flags = want.flags
        write.expiry_seconds = want.expiry_seconds
        write.value_bytes = value_bytes
        write.invalidate = want.invalidate
        write.token_sent = want.token_sent
        if want.cas_compare is not None:
            write.has_cas_compare = True
            write.cas_compare = want.cas_compare
        if want.cas_new is not None:
            write.has_cas_new = True
            write.cas_new = want.cas_new
        if want.vivify_expiry_seconds is not None:
            write.vivify = True
            write.vivify_expiry_seconds = want.vivify_expiry_seconds
        return write, place

    def put(self, key: bytes, value: bytes, want: Write | None = None, **wants: Any) -> Stored:
        write, _keep = self._write(key, len(value), want or Write(**wants))
        result = ffi.new("struct store_result *")
        data = ffi.from_buffer("char[]", value)
        outcome = self._when_free(lambda: lib.store_put(self.store, write, data, result))
        return Stored(outcome, result.cas, result.value_bytes)

    def begin(self, key: bytes, value_bytes: int, **wants: Any) -> Making:
        write, keep = self._write(key, value_bytes, Write(**wants))
        return Making(self, write, keep, value_bytes)

    def look(self, key: bytes, most_bytes: int = 4096) -> Found | Outcome:
        """The item, or the kind of miss. Values above `most_bytes` are read again in full."""
        place = ffi.new("char[]", most_bytes)
        read = ffi.new("struct store_read *")
        outcome = self._when_free(
            lambda: lib.store_read_value(self.store, key, len(key), place, most_bytes, read)
        )
        if outcome != Outcome.HIT:
            return outcome
        if read.value_bytes > most_bytes:
            return self.look(key, read.value_bytes)
        value = bytes(ffi.buffer(place, read.value_bytes))
        return Found(
            value,
            read.client_flags,
            read.expiry_seconds,
            read.time_seconds,
            read.state,
            read.cas,
        )

    def get(self, key: bytes) -> bytes | None:
        found = self.look(key)
        return found.value if isinstance(found, Found) else None

    def forget(self, key: bytes) -> bool:
        forget = self._when_free(lambda: lib.store_forget(self.store, key, len(key)))
        return forget == Outcome.DELETED

    def delete(self, key: bytes, **wants: Any) -> Outcome:
        """`wants` are fields of struct store_delete; a value sets its has_ field too."""
        place = ffi.new("char[]", key)
        request = ffi.new("struct store_delete *")
        request.key = place
        request.key_bytes = len(key)
        _set_fields(request, wants)
        return self._when_free(lambda: lib.store_delete(self.store, request))

    def arith(self, key: bytes, delta: int = 1, **wants: Any) -> Number:
        """`wants` are fields of struct store_arith; a value sets its has_ field too."""
        place = ffi.new("char[]", key)
        request = ffi.new("struct store_arith *")
        request.key = place
        request.key_bytes = len(key)
        request.delta = delta
        _set_fields(request, wants)
        out = ffi.new("struct store_number *")
        outcome = self._when_free(lambda: lib.store_arith(self.store, request, out))
        shown = bytes(ffi.buffer(out.text, out.text_bytes)) if outcome == Outcome.STORED else b""
        return Number(outcome, out.value, shown, out.cas, out.expiry_seconds, bool(out.vivified))

    def touch(self, key: bytes, expiry_seconds: int) -> Outcome:
        return self._when_free(lambda: lib.store_touch(self.store, key, len(key), expiry_seconds))

    def flush_all(self, at_seconds: int = 0) -> None:
        lib.store_flush_all(self.store, at_seconds)

    def turn(self) -> None:
        lib.store_turn(self.store)

    def rest(self) -> None:
        lib.store_rest(self.store)

    def wake(self) -> None:
        lib.store_wake(self.store)

    def frontiers_step(self) -> int:
        return int(lib.space_frontiers_step(self.store))

    def set_limit(self, limit_bytes: int) -> int:
        return int(lib.store_set_limit(self.store, limit_bytes))

    def check(self) -> int:
        return int(lib.store_check(self.store))

    def chunks(self) -> dict[str, int]:
        """Checks everything; how many chunks each owner has, and how many claims there are."""
        out = ffi.new("struct store_chunks *")
        lib.store_check_chunks(self.store, out)
        return {name: getattr(out, name) for name, _ in ffi.typeof("struct store_chunks").fields}

    def arm_fault(self, name: str, countdown: int = 1) -> None:
        lib.proc_arm_fault(self.proc, name.encode(), countdown)

    def reclaim_slot(self, slot: int) -> bool:
        return bool(lib.store_reclaim_slot(self.store, slot))

    def counters(self) -> dict[str, int]:
        values = ffi.new("uint64_t[]", len(COUNTERS))
        lib.store_counters_read(self.store, values)
        return dict(zip(COUNTERS, values, strict=True))

    def class_counters(self, class_id: int) -> dict[str, int]:
        values = ffi.new("uint64_t[]", len(CLASS_COUNTERS))
        lib.class_counters_read(self.store, class_id, values)
        return dict(zip(CLASS_COUNTERS, values, strict=True))

    def slab(self) -> Any:
        out = ffi.new("struct slab_snapshot *")
        lib.slab_read(lib.store_slab(self.store), out)
        return out

    def slab_class(self, class_id: int) -> Any:
        out = ffi.new("struct slab_class_snapshot *")
        lib.slab_class_read(lib.store_slab(self.store), class_id, out)
        return out

    def class_for(self, chunk_bytes: int) -> int:
        return int(lib.slab_class_for(lib.store_slab(self.store), chunk_bytes))

    def index(self) -> Any:
        out = ffi.new("struct index_snapshot *")
        lib.index_read(lib.store_index(self.store), out)
        return out

    def crawl(self, chunks: int = 1 << 30) -> int:
        """One walk over all items in steps of `chunks`; how many were reclaimed."""
        cursor = ffi.new("struct space_cursor *")
        while lib.store_crawl_step(self.store, cursor, chunks, ffi.NULL):
            pass
        return int(cursor.items_reclaimed)

    def limbo_step(self, items_max: int = 1000) -> int:
        return int(lib.link_limbo_step(self.store, items_max))

    def move_begin(self, from_class: int, to_class: int) -> Any:
        """The move, or None when the class has no page to give."""
        move = ffi.new("struct space_move *")
        status = lib.space_move_begin(self.store, from_class, to_class, move)
        return move if status == lib.PYMC_OK else None

    def move_step(self, move: Any, chunks: int = 1 << 30) -> bool:
        return bool(lib.space_move_step(self.store, move, chunks))

    def move_cancel(self, move: Any) -> None:
        lib.space_move_cancel(self.store, move)

    def release_pool(self, pages: int = 1 << 20) -> int:
        slab = ffi.cast("struct slab *", lib.store_slab(self.store))
        return int(lib.slab_release_pool_step(slab, self.proc, pages))

    def open_proto(self) -> Any:
        if self.proto == ffi.NULL:
            out = ffi.new("struct proto **")
            assert lib.proto_open(self.store, b"9.9.9", out) == 0
            self.proto = out[0]
            if self.reads:
                lib.proto_set_reader(self.proto, self.reads.pointer)
        return self.proto


def _set_fields(request: Any, wants: dict[str, Any]) -> None:
    for name, value in wants.items():
        if name in ("mark_stale", "clear_value", "decrement"):
            setattr(request, name, value)
        elif name == "vivify_expiry_seconds":
            request.vivify = True
            request.vivify_expiry_seconds = value
        elif name == "initial":
            request.initial = value
        else:
            setattr(request, f"has_{name.removesuffix('_seconds')}", True)
            setattr(request, name, value)
