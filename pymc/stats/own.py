"""`stats pymc`: what only pymc has. No key holds a colon, which exporters take for a class."""

from collections.abc import Iterator

from pymc.core import BUILD_VARIANT
from pymc.core.snapshots import prefix_total, read_index, read_loads
from pymc.core.store import Store
from pymc.server_context import ServerContext
from pymc.stats.memory import memory_report
from pymc.stats.report import Values, report_parts, templates

# The lines in order; pymc/stats/report.py says how to read it.
OWN = """
worker_{worker}_pid gauge id The worker's process number, 0 when it is dead.
worker_{worker}_curr_connections gauge connections Connections that the worker has.
worker_{worker}_requests
worker_{worker}_restarts counter processes Workers that were started in a dead one's place.
worker_{worker}_wakeups
keeper_pid gauge id The keeper's process number, 0 when it is dead.
keeper_restarts counter processes Keepers that were started in a dead one's place.
connections_handed
lock_recoveries
items_lost_to_recovery
chain_evictions
oom_no_victim
oom_claims
oom_process_memory
oom_gave_up
get_copied_for_claims
value_timeouts
readers_copied
readers_closed
read_ahead_refused
protocol_refused
watchdog_kills
connections_past_late
connections_rescued
processes_late gauge processes Processes that do not go on at the moment.
lock_waits
lock_gave_up
lock_longest_wait_us
read_retries
optimistic_retries
optimistic_locked
busy_waits
busy_refused
corrupt_items
...
detail_prefixes gauge prefixes Key prefixes that `stats detail dump` has.
detail_prefixes_dropped=prefixes_dropped
index_bytes gauge bytes Memory that the index takes.
index_buckets gauge buckets Buckets that keys have their home in.
index_overflow_buckets gauge buckets Buckets that are chained behind full ones.
arena_limit_bytes gauge bytes How much memory items and index may take (-m).
{room}_reserved_bytes gauge bytes Address space that the room has in the arena.
{room}_touched_bytes gauge bytes Memory that the system has given for it.
arena_reserved_bytes gauge bytes Address space of the whole arena.
arena_touched_bytes gauge bytes Memory that the system has given for the whole arena.
arena_estimated_rooms gauge rooms Rooms too large to be measured in time, which were sampled.
arena_file_bytes gauge bytes Memory of the arena as the system counts it.
memory_used_bytes gauge bytes What stands against -m: pages, both indexes, the queues.
large_pages_kind text - How the arena got large pages: hugetlb, thp, collapsed or none.
large_pages_asked_bytes gauge bytes Memory for which large pages were asked (-L).
large_pages_bytes gauge bytes Memory that is in large pages.
connection_buffers_bytes gauge bytes Buffers for what clients send and for what they are to get.
{process}_private_bytes gauge bytes Memory that the process has for itself.
private_bytes gauge bytes Memory that all processes have for themselves.
build_variant text - How the core was built: release, debug or with a sanitizer.
"""


def own_reply(server: ServerContext, store: Store) -> bytes:
    """Each worker, the keeper, recoveries, the index, and where the memory is; with the END."""
    total = store.counters()
    values, groups = memory_report(server, store)
    values |= total
    values |= _process_values(server)
    values |= _index_values(server, store)
    values["build_variant"] = BUILD_VARIANT
    groups["worker"] = _workers(server)
    return b"".join(report_parts(templates(OWN, "pymc"), values, groups)) + b"END\r\n"


def _workers(server: ServerContext) -> Iterator[tuple[int, Values]]:
    arena = server.arena
    for worker, load in enumerate(read_loads(arena, server.settings.workers)):
        yield (
            worker,
            {
                **arena.counters(worker),
                "pid": server.living_pid(worker),
                "curr_connections": load,
                "restarts": max(arena.slot_owner(worker).generation - 1, 0),
            },
        )


def _process_values(server: ServerContext) -> dict[str, object]:
    """Who keeps the cache, who does not go on, and who waited for whom."""
    arena = server.arena
    keepers = sum(arena.slot_owner(slot).generation for slot in server.keeper_slots)
    slots = range(server.keeper_slots.stop)
    return {
        "keeper_pid": server.keeper_pid(),
        "keeper_restarts": max(keepers - 1, 0),
        "processes_late": sum(arena.pulse(slot).is_late for slot in slots),
    }


def _index_values(server: ServerContext, store: Store) -> dict[str, object]:
    index = read_index(store)
    return {
        # `stats detail dump` has memcached's form, where no line can say what it lacks.
        "detail_prefixes": prefix_total(server.arena),
        "index_bytes": index.bytes,
        "index_buckets": index.buckets,
        "index_overflow_buckets": index.overflow_buckets,
        "arena_limit_bytes": server.arena.live("memory_limit_bytes"),
    }
