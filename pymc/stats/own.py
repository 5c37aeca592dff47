"""`stats pymc`: what only pymc has. No key holds a colon, which exporters take for a class."""

from collections.abc import Iterator

from pymc.core import BUILD_VARIANT
from pymc.core.snapshots import prefix_total, read_index, read_loads
from pymc.core.store import Store
from pymc.server_context import ServerContext
from pymc.stats.memory import memory_pairs
from pymc.stats.progress import progress_pairs

Pair = tuple[str, object]
# Looks that came to nothing, and what became of them.
_WAITS = (
    "read_retries",
    "optimistic_retries",
    "optimistic_locked",
    "busy_waits",
    "busy_refused",
    "corrupt_items",
)
_REFUSALS = (
    "oom_no_victim",
    "oom_claims",
    "oom_process_memory",
    "oom_gave_up",
)


def own_pairs(server: ServerContext, store: Store) -> Iterator[Pair]:
    """Each worker, the keeper, recoveries, the index, and where the memory is."""
    arena = server.arena
    for worker, load in enumerate(read_loads(arena, server.settings.workers)):
        owner, counters = arena.slot_owner(worker), arena.counters(worker)
        yield f"worker_{worker}_pid", server.living_pid(worker)
        yield f"worker_{worker}_curr_connections", load
        yield f"worker_{worker}_requests", counters["requests"]
        yield f"worker_{worker}_restarts", max(owner.generation - 1, 0)
        yield f"worker_{worker}_wakeups", counters["wakeups"]
    keepers = sum(arena.slot_owner(slot).generation for slot in server.keeper_slots)
    yield "keeper_pid", server.keeper_pid()
    yield "keeper_restarts", max(keepers - 1, 0)
    total = store.counters()
    for name in (
        "connections_handed",
        "lock_recoveries",
        "items_lost_to_recovery",
        "chain_evictions",
    ):
        yield name, total[name]
    # Why stores were refused; the sum is store_no_memory.
    for name in _REFUSALS:
        yield name, total[name]
    for name in (
        "get_copied_for_claims",
        "value_timeouts",
        "readers_copied",
        "readers_closed",
        "read_ahead_refused",
        "binary_refused",
    ):
        yield name, total[name]
    yield from progress_pairs(server, total)
    for name in _WAITS:
        yield name, total[name]
    # `stats detail dump` has memcached's form, where no line can say what it lacks.
    yield "detail_prefixes", prefix_total(arena)
    yield "detail_prefixes_dropped", total["prefixes_dropped"]
    index = read_index(store)
    yield "index_bytes", index.bytes
    yield "index_buckets", index.buckets
    yield "index_overflow_buckets", index.overflow_buckets
    yield "arena_limit_bytes", arena.live("memory_limit_bytes")
    yield from memory_pairs(server, store)
    yield "build_variant", BUILD_VARIANT
