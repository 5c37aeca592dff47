"""The memory part of `stats pymc`: what is reserved, touched, and used, room by room."""

import os
import time
from collections.abc import Iterator

from pymc.core.snapshots import read_index, read_slab
from pymc.core.store import Store
from pymc.server_context import ServerContext

Pair = tuple[str, object]
_SLAB_PAGE_BYTES = 1 << 20


def memory_pairs(server: ServerContext, store: Store) -> Iterator[Pair]:
    """The ledger of the shared memory, what of it -m covers, and each process's own memory."""
    arena = server.arena
    measured = arena.ledger.measure(time.monotonic)
    for room in measured.rooms:
        yield f"{room.label}_reserved_bytes", room.reserved_bytes
        yield f"{room.label}_touched_bytes", room.touched_bytes
    yield "arena_reserved_bytes", measured.reserved_bytes
    yield "arena_touched_bytes", measured.touched_bytes
    yield "arena_estimated_rooms", measured.estimated_rooms
    yield "arena_file_bytes", measured.file_bytes
    yield "memory_used_bytes", _used_bytes(server, store, measured.touched("rings"))
    yield "large_pages_kind", arena.large_pages.kind
    yield "large_pages_asked_bytes", arena.large_pages.asked_bytes
    yield "large_pages_bytes", arena.large_pages.got_bytes
    counters = store.counters()
    buffers = counters["read_buf_bytes"] + counters["response_buf_bytes"]
    yield "connection_buffers_bytes", buffers
    yield from _private_pairs(server)


def private_bytes(pid: int, folder: str = "/proc") -> int:
    """The anonymous memory of a process that is in RAM; 0 when there is none to be asked.

    Pages that it still shares with its parent since the fork count in both.
    """
    try:
        with open(f"{folder}/{pid}/statm", encoding="ascii") as file:
            words = file.read().split()
    except OSError:
        return 0
    return (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")


def _used_bytes(server: ServerContext, store: Store, rings_bytes: int) -> int:
    """What stands against -m: pages that classes have, both indexes, the rings."""
    pages_bytes = read_slab(store).pages_used * _SLAB_PAGE_BYTES
    flash_index_bytes = server.flash.index_bytes if server.flash else 0
    return pages_bytes + read_index(store).bytes + rings_bytes + flash_index_bytes


def _private_pairs(server: ServerContext) -> Iterator[Pair]:
    pids = {"supervisor": server.supervisor_pid, "keeper": server.keeper_pid()}
    for worker in range(server.settings.workers):
        pids[f"worker_{worker}"] = server.living_pid(worker)
    total = 0
    for name, pid in pids.items():
        size = private_bytes(pid) if pid else 0
        total += size
        yield f"{name}_private_bytes", size
    yield "private_bytes", total
