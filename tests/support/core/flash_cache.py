"""A cache with a flash tier inside the test: a tiny log, a keeper that writes out, a client."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, Cache, Handle, Shape
from tests.support.core.flash_reads import Reads
from tests.support.core.talk import Talk

CONNECTIONS_MAX = 100
ALL = 1 << 30
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Log:
    """How large the log is and how it is read."""

    pages: int = 8
    page_bytes: int = 2 * MIB
    wbuf_bytes: int = 2 * MIB
    paths: int = 1
    index_bytes_max: int = 16 * MIB
    kind: int = lib.FLASH_READER_AUTO
    depth: int = 8
    threads: int = 2
    memory_bytes: int = 8 * MIB
    avoid_direct: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What may go to flash: see struct space_admission."""

    item_bytes_min: int = 0
    idle_seconds_min: int = 0
    ttl_seconds_min: int = 0
    low_ttl_seconds: int = 0
    compress_bytes_min: int = 0
    unread_percent: int = 100


class FlashCache:
    """`send()` talks to it; `to_flash()` leaves every item that may go there on flash only."""

    def __init__(
        self,
        folder: Path,
        log: Log | None = None,
        *,
        workers: int = 1,
        spare_slots: int = 0,
        limit_bytes: int = 32 * MIB,
        chunk_bytes: Sequence[int] = LADDER,
        now: int = 100,
    ) -> None:
        """Workers have the first slots, then come spare ones; the keeper has the last one."""
        slots = workers + spare_slots + 1
        self.log = log = log or Log()
        names = [str(folder / f"flash{number}") for number in range(log.paths)]
        self._keep = [ffi.new("char[]", name.encode()) for name in names]
        self.files = [Path(name) for name in names]
        paths = ffi.new("struct flash_path[]", log.paths)
        for path, name in zip(paths, self._keep, strict=True):
            path.name, path.bytes = name, log.pages * log.page_bytes
            path.label = lib.FLASH_DEFAULT
        geometry = ffi.new("struct flash_geometry *")
        geometry.paths, geometry.path_count = paths, log.paths
        geometry.page_bytes, geometry.wbuf_bytes = log.page_bytes, log.wbuf_bytes
        geometry.item_bytes_hint = 256
        geometry.index_bytes_max = log.index_bytes_max
        geometry.avoid_direct = log.avoid_direct
        shape = Shape(
            limit_bytes=limit_bytes,
            slots=slots,
            chunk_bytes=chunk_bytes,
            reserve_bytes_more=lib.flash_reserve_bytes(geometry, slots)
            + lib.server_reserve_bytes(workers, CONNECTIONS_MAX),
        )
        self.cache = Cache(shape)
        out = ffi.new("struct flash **")
        failed = ffi.new("uint32_t *")
        status = lib.flash_create(self.cache.arena, geometry, out, failed)
        assert status == 0, (status, ffi.errno)
        self.flash: Any = out[0]
        self.cache.flash = self.flash
        assert lib.server_create(self.cache.arena, workers, CONNECTIONS_MAX) == 0
        self.set_live("ext_recache_rate", 0)
        # A machine that stands still shall not make a path late.
        self.set_live("ext_read_timeout_ms", HOUR_MS)
        self.keeper = self.cache.open(slots - 1, lib.PROC_KEEPER)
        self.now = now
        self.workers = [self.open_worker(slot) for slot in range(workers)]
        self.set_now(now)
        self.talk = Talk(self.workers[0], values_max=64)

    def open_worker(self, slot: int) -> Handle:
        """A handle that reads from flash, in the thread that will use it."""
        worker = self.cache.open(slot)
        worker.set_now(self.now)
        worker.reads = Reads(
            self.flash,
            worker.proc,
            kind=self.log.kind,
            depth=self.log.depth,
            threads=self.log.threads,
            memory_bytes=self.log.memory_bytes,
        )
        return worker

    def close(self) -> None:
        self.cache.close()
        lib.flash_close(self.flash)

    def __enter__(self) -> "FlashCache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def worker(self) -> Handle:
        return self.workers[0]

    @property
    def reads(self) -> Reads:
        """The first worker's reads from flash."""
        assert self.worker.reads is not None
        return self.worker.reads

    def check_at_rest(self) -> None:
        """Asserts that no read is under way, that nothing leaks, and that all structures hold."""
        self.reads.wait_for_all()
        assert self.reads.memory_bytes() == 0
        self.worker.limbo_step()
        self.worker.check()
        self.entries()

    def set_live(self, name: str, value: int) -> None:
        self.cache.set_live(name, value)

    def set_now(self, seconds: int) -> None:
        self.now = seconds
        for handle in self.cache.handles:
            handle.set_now(seconds)
            handle.turn()

    def send(self, data: bytes) -> bytes:
        """What the first worker answers; waits for flash where it has to."""
        return self.talk.ask(data)

    def counters(self) -> dict[str, int]:
        return self.worker.counters()

    def entries(self) -> int:
        """Entries in the index, as counted by a walk that checks them all."""
        return int(lib.flash_index_check(self.flash))

    def write_out_all(self, rules: Rules | None = None, *, is_written: bool = True) -> int:
        """Writes every item in memory that the rules admit; how many records there are more.

        Unless `is_written` the last ones stay in write buffers. Items that were read since the
        eviction hand passed (`mg k u` does not count) stay.
        """
        wanted = rules or Rules()
        admission = ffi.new("struct space_admission *")
        for name in Rules.__dataclass_fields__:
            setattr(admission, name, getattr(wanted, name))
        added = 0
        result = ffi.new("struct tier_writeout_result *")
        for class_id in range(1, len(self.cache.shape.chunk_bytes) + 1):
            ahead = ffi.new("struct tier_ahead *")
            shown = self.keeper.slab_class(class_id)
            chunks = (shown.pages + 1) * shown.chunks_per_page
            full_bucket = 0
            while full_bucket >= 0:
                lib.tier_writeout_step(
                    self.keeper.store,
                    class_id,
                    ahead,
                    admission,
                    ALL,
                    chunks,
                    result,
                )
                added += result.added
                full_bucket = result.full_bucket
                if full_bucket >= 0:
                    self.next_buffer(full_bucket)
        lost = self.write_buffers() if is_written else 0
        return added - lost

    def buffers(self) -> list[Any]:
        """Every write buffer's row, as the keeper sees it."""
        rows = []
        for number in range(lib.flash_buffer_count(self.flash)):
            info = ffi.new("struct flash_buffer_info *")
            lib.flash_buffer_read(self.flash, number, info)
            rows.append(info)
        return rows

    def write_buffers(self) -> int:
        """Writes what is in buffers; how many records were lost by that."""
        lost = 0
        for number, row in enumerate(self.buffers()):
            if row.state == lib.FLASH_BUFFER_FREE:
                continue
            if row.state == lib.FLASH_BUFFER_FILLING:
                lib.flash_buffer_close(self.flash, number)
            lost += self.write_buffer(number)
        return lost

    def write_buffer(self, number: int) -> int:
        """Seals and writes a closed buffer; how many of its records were lost."""
        if not lib.flash_buffer_seal(self.flash, self.keeper.proc, number):
            return 0
        status = lib.flash_buffer_write(self.flash, number)
        return int(lib.tier_buffer_finish(self.keeper.store, number, status))

    def next_buffer(self, bucket: int) -> None:
        """Lets another buffer take records of the stream, after writing all that are full."""
        self.write_buffers()
        # One that somebody still fills is not free yet.
        free = [n for n, row in enumerate(self.buffers()) if row.state == lib.FLASH_BUFFER_FREE]
        begin = lib.flash_buffer_begin
        while begin(self.flash, self.keeper.proc, free[0], bucket) == lib.PYMC_NOT_FOUND:
            self.drop_oldest_page()

    def pages(self) -> list[Any]:
        """Every page's row, as policies see it."""
        rows = []
        for page in range(lib.flash_page_count(self.flash)):
            info = ffi.new("struct flash_page_info *")
            lib.flash_page_read(self.flash, page, info)
            rows.append(info)
        return rows

    def drop_page(self, page: int) -> None:
        """The page's records are gone, and it is free."""
        lib.flash_page_drain(self.flash, self.keeper.proc, page)
        sweep = ffi.new("struct flash_sweep *")
        while lib.flash_sweep_step(self.flash, self.keeper.proc, sweep, 1024):
            pass
        lib.flash_page_free(self.flash, self.keeper.proc, page)

    def drop_oldest_page(self) -> None:
        rows = self.pages()
        full = [page for page, row in enumerate(rows) if row.state == lib.FLASH_PAGE_FULL]
        self.drop_page(min(full, key=lambda page: int(rows[page].version)))

    def drop_memory_copies(self) -> int:
        """Evicts every item whose copy is on flash; how many."""
        return int(lib.tier_drop_clean(self.keeper.store))

    def to_flash(self, rules: Rules | None = None) -> int:
        """Writes all out, then keeps nothing of it in memory; how many items went."""
        self.write_out_all(rules)
        return self.drop_memory_copies()
