"""`stats` without a sub-command: the state of the whole server, summed over its processes."""

from collections.abc import Iterator

from uvloop._version import __version__ as uvloop_version

from pymc import VERSION
from pymc.config import Settings
from pymc.core.snapshots import IndexSnapshot, SlabSnapshot, read_index, read_slab
from pymc.core.store import Store
from pymc.server_context import ServerContext
from pymc.stats.counts import not_flushed
from pymc.stats.cpu_times import read_cpu_times
from pymc.stats.flash import general_flash_pairs, get_pairs, items_on_flash_only

_HITS = ("hits_to_hot", "hits_to_warm", "hits_to_cold", "hits_to_temp")
_SLOTS_PER_BUCKET = 8
_INBOX_AND_EVENT_FDS = 5

Pair = tuple[str, object]


def general_pairs(server: ServerContext, store: Store) -> list[Pair]:
    """Every key of `stats`, in memcached's order."""
    settings = server.settings
    counters = store.counters()
    slab = read_slab(store)
    classes = store.class_counters_total(slab.classes)
    pairs = [
        *_process_pairs(server),
        *_connection_pairs(server, counters),
        *_command_pairs(server, counters, classes),
        *_listening_pairs(server, counters),
        *_index_pairs(read_index(store)),
    ]
    if settings.slab_reassign:
        pairs += _reassign_pairs(server, counters)
    if server.arena.live("lru_crawler"):
        pairs.append(("lru_crawler_running", int(server.arena.live("crawler_running") > 0)))
        pairs.append(("lru_crawler_starts", counters["lru_crawler_starts"]))
    if settings.lru_maintainer:
        pairs.append(("lru_maintainer_juggles", counters["lru_maintainer_juggles"]))
    pairs.append(("malloc_fails", counters["malloc_fails"]))
    log_keys = ("worker_dropped", "worker_written", "watcher_skipped", "watcher_sent", "watchers")
    pairs += [(f"log_{key}", 0) for key in log_keys]
    items = not_flushed(counters, "items", "flushed_items")
    if server.flash:
        pairs += general_flash_pairs(server, server.flash, counters, slab)
        items += items_on_flash_only(server.flash, counters)
    pairs += [("unexpected_napi_ids", 0), ("round_robin_fallback", 0)]
    return pairs + list(_item_pairs(settings, counters | {"items": items}, classes, slab))


def hits(counters: dict[str, int]) -> int:
    """Reads that found their key."""
    return sum(counters[name] for name in _HITS)


def _process_pairs(server: ServerContext) -> Iterator[Pair]:
    now = server.arena.seconds()
    times = read_cpu_times(server.supervisor_pid, server.living_pids())
    yield "pid", server.supervisor_pid
    yield "uptime", now
    yield "time", server.arena.epoch_unix_seconds + now
    yield "version", VERSION
    # Tools ask for the key; what stands here is the loop that pymc has in libevent's place.
    yield "libevent", f"uvloop-{uvloop_version}"
    yield "pointer_size", 64
    yield "rusage_user", f"{times.user_seconds:.6f}"
    yield "rusage_system", f"{times.system_seconds:.6f}"


def _connection_pairs(server: ServerContext, counters: dict[str, int]) -> Iterator[Pair]:
    settings = server.settings
    yield "max_connections", settings.connections_max
    yield "curr_connections", counters["curr_connections"]
    yield "total_connections", counters["total_connections"]
    if settings.maxconns_fast:
        yield "rejected_connections", counters["rejected_connections"]
    yield "connection_structures", counters["curr_connections"] + len(server.addresses)
    yield "response_obj_oom", 0
    yield "response_obj_count", 0
    yield "response_obj_bytes", counters["response_buf_bytes"]
    for name in ("read_buf_count", "read_buf_bytes", "read_buf_bytes_free", "read_buf_oom"):
        yield name, counters[name]
    yield "reserved_fds", settings.workers * _INBOX_AND_EVENT_FDS


def _command_pairs(
    server: ServerContext, counters: dict[str, int], classes: dict[str, int]
) -> Iterator[Pair]:
    yield "cmd_get", counters["cmd_get"]
    yield "cmd_set", classes["cmd_set"]
    for name in ("cmd_flush", "cmd_touch", "cmd_meta"):
        yield name, counters[name]
    yield "get_hits", hits(classes)
    for name in ("get_misses", "get_expired", "get_flushed"):
        yield name, counters[name]
    if server.flash:
        yield from get_pairs(counters)
    for verb in ("delete", "incr", "decr", "cas"):
        yield f"{verb}_misses", counters[f"{verb}_misses"]
        yield f"{verb}_hits", classes[f"{verb}_hits"]
    yield "cas_badval", classes["cas_badval"]
    yield "touch_hits", classes["touch_hits"]
    for name in ("touch_misses", "store_too_large", "store_no_memory", "auth_cmds", "auth_errors"):
        yield name, counters[name]
    if server.settings.idle_timeout_seconds > 0:
        yield "idle_kicks", counters["idle_kicks"]
    yield "bytes_read", counters["bytes_read"]
    yield "bytes_written", counters["bytes_written"]


def _listening_pairs(server: ServerContext, counters: dict[str, int]) -> Iterator[Pair]:
    settings = server.settings
    is_full = counters["curr_connections"] >= settings.connections_max
    yield "limit_maxbytes", server.arena.live("limit_bytes")
    yield "accepting_conns", 0 if is_full and not settings.maxconns_fast else 1
    yield "listen_disabled_num", counters["listen_disabled_num"]
    yield "time_in_listen_disabled_us", counters["time_in_listen_disabled_us"]
    yield "threads", settings.workers
    yield "conn_yields", counters["conn_yields"]


def _index_pairs(index: IndexSnapshot) -> Iterator[Pair]:
    yield "hash_power_level", (index.buckets * _SLOTS_PER_BUCKET).bit_length() - 1
    yield "hash_bytes", index.bytes
    # The index grows bucket by bucket as it fills; there is no phase in which it does.
    yield "hash_is_expanding", 0


def _reassign_pairs(server: ServerContext, counters: dict[str, int]) -> Iterator[Pair]:
    for name in ("rescues", "chunk_rescues", "inline_reclaim", "busy_items", "busy_deletes"):
        yield f"slab_reassign_{name}", counters[f"slab_reassign_{name}"]
    yield "slab_reassign_busy_nomem", counters["slab_reassign_evictions_nomem"]
    yield "slab_reassign_running", server.arena.live("slab_move_running")
    yield "slabs_moved", counters["slabs_moved"]


def _item_pairs(
    settings: Settings, counters: dict[str, int], classes: dict[str, int], slab: SlabSnapshot
) -> Iterator[Pair]:
    yield "bytes", not_flushed(counters, "item_bytes", "flushed_item_bytes")
    yield "curr_items", counters["items"]
    yield "total_items", counters["total_items"]
    yield "slab_global_page_pool", slab.pages_pool
    yield "expired_unfetched", classes["expired_unfetched"]
    yield "evicted_unfetched", classes["evicted_unfetched"]
    if settings.lru_maintainer:
        yield "evicted_active", classes["evicted_active"]
    yield "evictions", classes["evicted"]
    for name in ("reclaimed", "crawler_reclaimed", "crawler_items_checked", "lrutail_reflocked"):
        yield name, classes[name]
    if settings.lru_maintainer:
        for name in ("moves_to_cold", "moves_to_warm", "moves_within_lru", "direct_reclaims"):
            yield name, classes[name]
        yield "lru_bumps_dropped", 0
