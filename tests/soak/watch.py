"""Follows a server during a soak: memory of its processes, and the counters of its flash tier."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.server import Server

MIB = 1 << 20
_SHOWN = (
    "curr_items",
    "evictions",
    "get_extstore",
    "recache_from_extstore",
    "miss_from_extstore",
    "badcrc_from_extstore",
    "get_oom_extstore",
    "get_aborted_extstore",
    "extstore_page_allocs",
    "extstore_page_evictions",
    "extstore_page_reclaims",
    "extstore_pages_free",
    "extstore_compact_rescues",
    "extstore_compact_skipped",
    "extstore_compact_lost",
    "extstore_objects_evicted",
    "extstore_objects_written",
    "extstore_objects_read",
    "store_no_memory",
    "slabs_moved",
    "slab_reassign_evictions_nomem",
    "slab_reassign_rescues",
    "slab_reassign_busy_items",
)
_SHOWN_OWN = (
    "brought_back",
    "clean_evictions",
    "unclean_evictions",
    "other_key",
    "reads_coalesced",
    "rejected_young",
    "rejected_index",
    "index_entries",
    "index_bytes",
    "write_amplification",
    "read_errors",
    "write_errors",
    "path_0_out",
    "path_1_out",
)
_SHOWN_PROCESSES = ("lock_recoveries", "items_lost_to_recovery", "keeper_restarts")


@dataclass(frozen=True)
class Memory:
    """Bytes that belong to the supervisor alone, to the largest other process, and the arena."""

    supervisor: int
    largest_child: int
    arena: int


def arena_bytes(pid: int) -> int:
    """What the shared memory of a process takes, whoever has touched it."""
    folder = Path(f"/proc/{pid}/fd")
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            if "memfd:" in os.readlink(entry):
                return os.stat(entry).st_blocks * 512
    return 0


class Watch:
    """Takes samples; the first one counts as the state after warming up."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._samples: list[Memory] = []
        self._stats: dict[str, str] = {}
        self._longest_outage_seconds = 0.0

    def note_outage(self, seconds: float) -> None:
        """A process was away so long."""
        self._longest_outage_seconds = max(self._longest_outage_seconds, seconds)

    def take(self) -> None:
        """Reads stats and memory. Raises what a connection raises."""
        with self._server.connect() as connection:
            self._stats = connection.stats()
            self._stats |= connection.stats("extstore")
            self._stats |= connection.stats("pymc")
            self._stats["total_malloced"] = connection.stats("slabs")["total_malloced"]
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self._server.pid).memory_full_info()
            children = [child.memory_full_info() for child in self._server.children()]
            self._samples.append(
                Memory(
                    own.uss,
                    max((child.uss for child in children), default=0),
                    arena_bytes(self._server.pid),
                )
            )

    def line(self) -> str:
        """One line on where it stands."""
        shown = ("curr_items", "index_entries", "get_extstore", "extstore_page_allocs")
        pairs = [f"{name} {self._stats.get(name, '?')}" for name in shown]
        if self._samples:
            last = self._samples[-1]
            slabs = int(self._stats["total_malloced"]) // MIB
            pairs.append(f"arena {last.arena // MIB} MiB, slabs {slabs} MiB")
            pairs.append(f"child {last.largest_child // MIB} MiB")
        return ", ".join(pairs)

    def summary(self) -> list[str]:
        """The last counters, and how memory grew."""
        names = (*_SHOWN, *_SHOWN_OWN, *_SHOWN_PROCESSES)
        lines = [f"  {name} {self._stats.get(name, '?')}" for name in names]
        pages = int(self._stats.get("extstore_page_allocs", "0"))
        count = sum(1 for key in self._stats if key.endswith(":version"))
        lines.append(f"  the log wrapped {pages / max(count, 1):.1f} times over {count} pages")
        lines.append(f"  a process was away for {self._longest_outage_seconds:.2f} s at most")
        third = len(self._samples) // 3
        for name in ("supervisor", "largest_child", "arena"):
            seen = [getattr(sample, name) / MIB for sample in self._samples] or [0.0]
            lines.append(
                f"  {name}: {seen[third]:.1f} MiB after a third, {seen[-1]:.1f} at the end,"
                f" {max(seen):.1f} at most"
            )
        return lines
