"""The memory part of `stats pymc`: what is reserved, touched, and used, room by room."""

import os
import time
from collections.abc import Iterator

from pymc.config import SLAB_PAGE_BYTES
from pymc.core.ledger import Room
from pymc.core.snapshots import read_index, read_slab
from pymc.core.store import Store
from pymc.server_context import ServerContext
from pymc.stats.report import Group, Values


def memory_report(
    server: ServerContext, store: Store
) -> tuple[dict[str, object], dict[str, Group]]:
    """The ledger of the shared memory, what of it -m covers, and each process's own memory.

    Returns the values, and those of each room and each process.
    """
    arena = server.arena
    measured = arena.ledger.measure(time.monotonic)
    counters = store.counters()
    processes = dict(_private_bytes_of_all(server))
    values: dict[str, object] = {
        "arena_reserved_bytes": measured.reserved_bytes,
        "arena_touched_bytes": measured.touched_bytes,
        "arena_estimated_rooms": measured.estimated_rooms,
        "arena_file_bytes": measured.file_bytes,
        "memory_used_bytes": _used_bytes(server, store, measured.touched("rings")),
        "large_pages_kind": arena.large_pages.kind,
        "large_pages_asked_bytes": arena.large_pages.asked_bytes,
        "large_pages_bytes": arena.large_pages.got_bytes,
        "connection_buffers_bytes": counters["read_buf_bytes"] + counters["response_buf_bytes"],
        "private_bytes": sum(processes.values()),
    }
    groups: dict[str, Group] = {
        "room": [(room.label, _room_values(room)) for room in measured.rooms],
        "process": [(name, {"private_bytes": size}) for name, size in processes.items()],
    }
    return values, groups


def _room_values(room: Room) -> Values:
    return {"reserved_bytes": room.reserved_bytes, "touched_bytes": room.touched_bytes}


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
    pages_bytes = read_slab(store).pages_used * SLAB_PAGE_BYTES
    flash_index_bytes = server.flash.index_bytes if server.flash else 0
    return pages_bytes + read_index(store).bytes + rings_bytes + flash_index_bytes


def _private_bytes_of_all(server: ServerContext) -> Iterator[tuple[str, int]]:
    pids = {"supervisor": server.supervisor_pid, "keeper": server.keeper_pid()}
    for worker in range(server.settings.workers):
        pids[f"worker_{worker}"] = server.living_pid(worker)
    for name, pid in pids.items():
        yield name, private_bytes(pid) if pid else 0
