"""`stats` without a sub-command: the state of the whole server, summed over its processes."""

import time
from functools import cache
from typing import NamedTuple

from pymc import VERSION
from pymc.core.snapshots import IndexSnapshot, SlabSnapshot, read_index, read_slab
from pymc.core.store import Store
from pymc.server_context import ServerContext
from pymc.stats.counts import not_flushed
from pymc.stats.flash import GET_KEYS, general_keys, general_values, items_on_flash_only
from pymc.uvloop_import import UVLOOP_VERSION

_SLOTS_PER_BUCKET = 8
_INBOX_AND_EVENT_FDS = 5

Values = dict[str, object]


class Shown(NamedTuple):
    """What the settings say of which keys there are."""

    rejected: bool
    flash: bool
    idle_timeout: bool
    reassign: bool
    crawler: bool
    maintainer: bool


def general_reply(server: ServerContext, store: Store) -> bytes:
    """Every key of `stats`, in memcached's order, with the END."""
    settings = server.settings
    shown = Shown(
        rejected=settings.maxconns_fast,
        flash=server.flash is not None,
        idle_timeout=settings.idle_timeout_seconds > 0,
        reassign=settings.slab_reassign,
        crawler=bool(server.arena.live("lru_crawler")),
        maintainer=settings.lru_maintainer,
    )
    return (_template(shown) % _values(server, store)).encode("ascii")


def hits(counters: dict[str, int]) -> int:
    """Reads that found their key."""
    return (
        counters["hits_to_hot"]
        + counters["hits_to_warm"]
        + counters["hits_to_cold"]
        + counters["hits_to_temp"]
    )


@cache
def _template(shown: Shown) -> str:
    """All lines; filling them in at once takes a third of the time of one after the other."""
    keys = [row.partition("=") for row in _rows(shown).split()]
    lines = "".join(f"STAT {key} %({name or key})s\r\n" for key, _, name in keys)
    return f"{lines}END\r\n"


def _rows(shown: Shown) -> str:
    """Keys in order; behind a = the value's own name."""
    return f"""
    pid uptime time version libevent pointer_size rusage_user rusage_system
    max_connections curr_connections total_connections {"rejected_connections" * shown.rejected}
    connection_structures response_obj_oom=zero response_obj_count=zero
    response_obj_bytes=response_buf_bytes read_buf_count read_buf_bytes
    read_buf_bytes_free=zero read_buf_oom reserved_fds cmd_get cmd_set cmd_flush cmd_touch
    cmd_meta get_hits get_misses get_expired get_flushed {" ".join(GET_KEYS) * shown.flash}
    delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses cas_hits
    cas_badval touch_hits touch_misses store_too_large store_no_memory auth_cmds auth_errors
    {"idle_kicks" * shown.idle_timeout} bytes_read bytes_written limit_maxbytes accepting_conns
    listen_disabled_num time_in_listen_disabled_us threads conn_yields hash_power_level
    hash_bytes hash_is_expanding=zero {_REASSIGN_ROWS * shown.reassign}
    {"lru_crawler_running lru_crawler_starts" * shown.crawler}
    {"lru_maintainer_juggles" * shown.maintainer} malloc_fails log_worker_dropped=zero
    log_worker_written=zero log_watcher_skipped=zero log_watcher_sent=zero log_watchers=zero
    {general_keys() * shown.flash} unexpected_napi_ids=zero round_robin_fallback=zero bytes
    curr_items total_items slab_global_page_pool expired_unfetched evicted_unfetched
    {"evicted_active" * shown.maintainer} evictions reclaimed crawler_reclaimed
    crawler_items_checked lrutail_reflocked=zero {_MAINTAINER_ROWS * shown.maintainer}
    """


_REASSIGN_ROWS = """
    slab_reassign_rescues slab_reassign_chunk_rescues slab_reassign_inline_reclaim=zero
    slab_reassign_busy_items slab_reassign_busy_deletes=zero
    slab_reassign_busy_nomem=slab_reassign_evictions_nomem slab_reassign_running slabs_moved
    """
_MAINTAINER_ROWS = """
    moves_to_cold=zero moves_to_warm moves_within_lru direct_reclaims lru_bumps_dropped=zero
    """


def _values(server: ServerContext, store: Store) -> Values:
    """Every value by its name: counters, and what is made of them."""
    slab = read_slab(store)
    classes = store.class_counters_total(slab.classes)
    counters = store.counters()
    items = not_flushed(counters, "items", "flushed_items")
    values: Values = {**classes, **counters}
    if server.flash:
        values |= general_values(server, server.flash, counters, slab)
        items += items_on_flash_only(server.flash, counters)
    values |= _process_values(server)
    values |= _connection_values(server, counters)
    values |= _index_values(read_index(store))
    values |= _memory_values(server, slab)
    values["get_hits"] = hits(classes)
    values["bytes"] = not_flushed(counters, "item_bytes", "flushed_item_bytes")
    values["curr_items"] = items
    values["zero"] = 0
    return values


def _process_values(server: ServerContext) -> Values:
    now = server.arena.seconds()
    times = server.cpu_times.read(time.monotonic, server.supervisor_pid, server.living_pids)
    return {
        "pid": server.supervisor_pid,
        "uptime": now,
        "time": server.arena.epoch_unix_seconds + now,
        "version": VERSION,
        # Tools ask for the key; what stands here is the loop that pymc has in libevent's place.
        "libevent": f"uvloop-{UVLOOP_VERSION}",
        "pointer_size": 64,
        "rusage_user": f"{times.user_seconds:.6f}",
        "rusage_system": f"{times.system_seconds:.6f}",
        "threads": server.settings.workers,
    }


def _connection_values(server: ServerContext, counters: dict[str, int]) -> Values:
    settings = server.settings
    open_now = counters["curr_connections"]
    is_full = open_now >= settings.connections_max
    return {
        "max_connections": settings.connections_max,
        "connection_structures": open_now + len(server.addresses),
        "reserved_fds": settings.workers * _INBOX_AND_EVENT_FDS,
        "accepting_conns": 0 if is_full and not settings.maxconns_fast else 1,
    }


def _index_values(index: IndexSnapshot) -> Values:
    # The index grows bucket by bucket as it fills; there is no phase in which it does.
    power = (index.buckets * _SLOTS_PER_BUCKET).bit_length() - 1
    return {"hash_power_level": power, "hash_bytes": index.bytes}


def _memory_values(server: ServerContext, slab: SlabSnapshot) -> Values:
    arena = server.arena
    return {
        "limit_maxbytes": arena.live("limit_bytes"),
        "slab_reassign_running": arena.live("slab_move_running"),
        "lru_crawler_running": int(arena.live("crawler_running") > 0),
        "slab_global_page_pool": slab.pages_pool,
    }
