"""The lines of `stats pymc` about who did not go on, and who waited for whom."""

from collections.abc import Iterator

from pymc.server_context import ServerContext

_LONGEST = "lock_longest_wait_us"


def progress_pairs(server: ServerContext, total: dict[str, int]) -> Iterator[tuple[str, object]]:
    """What the watchdog did, and waits for locks; `total` has the counters of all processes."""
    arena = server.arena
    for name in ("watchdog_kills", "connections_past_late", "connections_rescued"):
        yield name, total[name]
    late = sum(arena.pulse(slot).is_late for slot in range(server.keeper_slots.stop))
    yield "processes_late", late
    yield "lock_waits", total["lock_waits"]
    yield "lock_gave_up", total["lock_gave_up"]
    # In one process: a sum would say nothing.
    yield _LONGEST, max(arena.counters(slot)[_LONGEST] for slot in server.slots)
