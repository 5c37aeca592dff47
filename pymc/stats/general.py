"""`stats` without a sub-command: the state of the whole server, summed over its processes."""

import time

from pymc import VERSION
from pymc.core.arena import Note
from pymc.core.snapshots import IndexSnapshot, SlabSnapshot, read_index, read_slab
from pymc.core.store import Store
from pymc.server_context import ServerContext
from pymc.stats.counts import not_flushed
from pymc.stats.flash import general_values, items_on_flash_only
from pymc.stats.report import Templates, report_parts, templates
from pymc.uvloop_import import UVLOOP_VERSION

# `-o hashpower=N` begins with 2^N / 8 buckets, and `stats` counts as it does.
_PLACES_PER_BUCKET = 8
_INBOX_AND_EVENT_FDS = 5

# Every key of `stats` in memcached's order; pymc/stats/report.py says how to read it.
GENERAL = """
pid gauge id The process number of the supervisor.
uptime gauge seconds How long the cache's clock has been running.
time gauge seconds The wall clock, in seconds since 1970.
version text - The version of pymc.
libevent text - The event loop that pymc has in libevent's place.
pointer_size gauge bits How wide a pointer is.
rusage_user counter seconds Processor time of all processes in user mode.
rusage_system counter seconds Processor time of all processes in the system.
max_connections gauge connections How many connections there may be (-c).
curr_connections
total_connections
rejected_connections?maxconns_fast
connection_structures gauge connections Connections that are open and sockets that listen.
response_obj_oom=zero counter times Always 0: a reply needs no object of its own.
response_obj_count=zero gauge objects Always 0: a reply needs no object of its own.
response_obj_bytes=response_buf_bytes
read_buf_count
read_buf_bytes
read_buf_bytes_free=zero gauge bytes Always 0: a buffer that is free goes back to the system.
read_buf_oom
reserved_fds gauge descriptors Descriptors that the workers need for themselves.
cmd_get
cmd_set
cmd_flush
cmd_touch
cmd_meta
get_hits counter keys Reads that found their key.
get_misses
get_expired
get_flushed
get_extstore?flash
get_aborted_extstore?flash
get_oom_extstore?flash
recache_from_extstore?flash
miss_from_extstore?flash
badcrc_from_extstore?flash
delete_misses
delete_hits
incr_misses
incr_hits
decr_misses
decr_hits
cas_misses
cas_hits
cas_badval
touch_hits
touch_misses
store_too_large
store_no_memory
auth_cmds
auth_errors
idle_kicks?idle_timeout
bytes_read
bytes_written
limit_maxbytes gauge bytes How much memory items and index may take (-m).
accepting_conns gauge flag 1 while new connections are accepted, or refused with an answer.
listen_disabled_num
time_in_listen_disabled_us
threads gauge processes How many workers there are (-t).
conn_yields
hash_power_level gauge bits The hashpower that an index of the present size begins with.
hash_bytes gauge bytes Memory that the index takes.
hash_is_expanding=zero gauge flag Always 0: the index grows bucket by bucket as it fills.
slab_reassign_rescues?reassign
slab_reassign_chunk_rescues?reassign
slab_reassign_inline_reclaim=zero?reassign counter items Always 0: room is made before it is needed.
slab_reassign_busy_items?reassign
slab_reassign_busy_deletes=zero?reassign counter items Always 0: what is busy is left, not deleted.
slab_reassign_busy_nomem=slab_reassign_evictions_nomem?reassign
slab_reassign_running?reassign gauge flag 1 while a page is moved that an operator asked for.
slabs_moved?reassign
lru_crawler_running?crawler gauge flag 1 while a walk in search of dead items is under way.
lru_crawler_starts?crawler
lru_maintainer_juggles?maintainer
malloc_fails
log_worker_dropped
log_worker_written
log_watcher_skipped
log_watcher_sent
log_watchers
extstore_memory_pressure=ext_memory_pressure?flash gauge percent Memory used of that to stay free.
extstore_compact_lost=ext_compact_lost?flash
extstore_compact_rescues=ext_compact_rescues?flash
extstore_compact_resc_cold=ext_compact_rescues_cold?flash
extstore_compact_resc_old=ext_compact_rescues_old?flash
extstore_compact_skipped=ext_compact_skipped?flash
extstore_page_allocs=ext_page_allocs?flash
extstore_page_evictions=ext_page_evictions?flash
extstore_page_reclaims=ext_page_reclaims?flash
extstore_pages_free=ext_pages_free?flash gauge pages Log pages that nothing is written to yet.
extstore_pages_used=ext_pages_used?flash gauge pages Log pages that have records.
extstore_objects_evicted=ext_objects_evicted?flash
extstore_objects_read=ext_objects_read?flash
extstore_objects_written=ext_objects_written?flash
extstore_objects_used=ext_objects_used?flash gauge records Records that the flash index names.
extstore_bytes_evicted=ext_bytes_evicted?flash
extstore_bytes_written=ext_bytes_written?flash
extstore_bytes_read=ext_bytes_read?flash
extstore_bytes_used=ext_bytes_used?flash gauge bytes Bytes of the records that are wanted.
extstore_bytes_fragmented=ext_bytes_fragmented?flash gauge bytes The rest of the pages in use.
extstore_limit_maxbytes=ext_limit_bytes?flash gauge bytes Bytes of all log pages.
extstore_io_queue=ext_reads_waiting?flash
ssl_new_sessions?tls_tickets
ssl_handshake_errors?tls
ssl_proto_errors=zero?tls counter connections Always 0: who breaks the protocol is closed.
time_since_server_cert_refresh?tls gauge seconds How long the certificates in use have been.
unexpected_napi_ids=zero counter connections Always 0: workers are not chosen by NAPI id.
round_robin_fallback=zero counter connections Always 0: workers are not chosen by NAPI id.
bytes gauge bytes Bytes of the items in memory.
curr_items gauge items Items that are there, those on flash only included.
total_items
slab_global_page_pool gauge pages Pages that no slab class has.
expired_unfetched
evicted_unfetched
evicted_active?maintainer
evictions
reclaimed
crawler_reclaimed
crawler_items_checked
lrutail_reflocked=zero counter items Always 0: there are no tails of lists.
moves_to_cold=zero?maintainer counter items Always 0: nothing goes from one list to another.
moves_to_warm?maintainer
moves_within_lru?maintainer
direct_reclaims?maintainer
lru_bumps_dropped=zero?maintainer counter items Always 0: a read is noted in its item.
"""


def general_reply(server: ServerContext, store: Store) -> bytes:
    """Every key of `stats`, in memcached's order, with the END."""
    lines = report_parts(general_lines(server), _values(server, store), {})
    return b"".join(lines) + b"END\r\n"


def general_lines(server: ServerContext) -> Templates:
    """The lines of `stats`, to be filled in. What is made before the first fork workers share."""
    return templates(GENERAL, "stats", _conditions(server))


def _conditions(server: ServerContext) -> tuple[str, ...]:
    """What the settings say of which keys there are."""
    settings = server.settings
    holds = (
        ("maxconns_fast", settings.maxconns_fast),
        ("flash", server.flash is not None),
        ("idle_timeout", settings.idle_timeout_seconds > 0),
        ("reassign", settings.slab_reassign),
        ("crawler", bool(server.arena.live("lru_crawler"))),
        ("maintainer", settings.lru_maintainer),
        ("tls", settings.tls_enabled),
        ("tls_tickets", settings.tls_enabled and settings.tls_session_cache),
    )
    return tuple([name for name, is_so in holds if is_so])


def hits(counters: dict[str, int]) -> int:
    """Reads that found their key."""
    return (
        counters["hits_to_hot"]
        + counters["hits_to_warm"]
        + counters["hits_to_cold"]
        + counters["hits_to_temp"]
    )


def _values(server: ServerContext, store: Store) -> dict[str, object]:
    """Every value by its name: counters, and what is made of them."""
    slab = read_slab(store)
    classes = store.class_counters_total(slab.classes)
    counters = store.counters()
    items = not_flushed(counters, "items", "flushed_items")
    values: dict[str, object] = {**classes, **counters}
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
    values["time_since_server_cert_refresh"] = (
        server.arena.seconds() - server.tls.loaded_seconds if server.tls else 0
    )
    return values


def _process_values(server: ServerContext) -> dict[str, object]:
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


def _connection_values(server: ServerContext, counters: dict[str, int]) -> dict[str, object]:
    settings = server.settings
    open_now = counters["curr_connections"]
    is_full = open_now >= settings.connections_max
    return {
        "max_connections": settings.connections_max,
        "connection_structures": open_now + len(server.addresses),
        "reserved_fds": settings.workers * _INBOX_AND_EVENT_FDS,
        "accepting_conns": 0 if is_full and not settings.maxconns_fast else 1,
    }


def _index_values(index: IndexSnapshot) -> dict[str, object]:
    # The index grows bucket by bucket as it fills; there is no phase in which it does.
    power = (index.buckets * _PLACES_PER_BUCKET).bit_length() - 1
    return {"hash_power_level": power, "hash_bytes": index.bytes}


def _memory_values(server: ServerContext, slab: SlabSnapshot) -> dict[str, object]:
    arena = server.arena
    return {
        "limit_maxbytes": arena.live("memory_limit_bytes"),
        "slab_reassign_running": arena.note(Note.SLAB_MOVE),
        "lru_crawler_running": int(arena.note(Note.CRAWLER) > 0),
        "slab_global_page_pool": slab.pages_pool,
    }
