"""What `stats` says of the flash tier: extstore's keys in `stats`, and all of `stats extstore`."""

from collections.abc import Iterator

from pymc.config.shared import MILLION
from pymc.core.flash import CHANCES_ENTRIES, WHY_TEXTS, Flash, Full, PathInfo
from pymc.core.snapshots import SlabSnapshot
from pymc.core.store import Store
from pymc.policy.flash_index import index_advice, index_percent
from pymc.server_context import ServerContext
from pymc.stats.counts import not_flushed
from pymc.stats.lines import stat_lines

Pair = tuple[str, object]

# `stats extstore` shows that many pages without being asked for them: tools read the whole answer.
PAGES_SHOWN = 64
_PAGES_PER_PART = 4
_FREE_PAGES_MIN = 2
# Reads from flash, for the middle of `stats`.
GET_KEYS = (
    "get_extstore",
    "get_aborted_extstore",
    "get_oom_extstore",
    "recache_from_extstore",
    "miss_from_extstore",
    "badcrc_from_extstore",
)
# extstore's group of `stats`: keys in order without their prefix, and the names of their values.
_GENERAL_ROWS = """
    memory_pressure=ext_memory_pressure compact_lost=ext_compact_lost
    compact_rescues=ext_compact_rescues compact_resc_cold=ext_compact_rescues_cold
    compact_resc_old=ext_compact_rescues_old compact_skipped=ext_compact_skipped
    page_allocs=ext_page_allocs page_evictions=ext_page_evictions
    page_reclaims=ext_page_reclaims pages_free=ext_pages_free pages_used=ext_pages_used
    objects_evicted=ext_objects_evicted objects_read=ext_objects_read
    objects_written=ext_objects_written objects_used=ext_objects_used
    bytes_evicted=ext_bytes_evicted bytes_written=ext_bytes_written bytes_read=ext_bytes_read
    bytes_used=ext_bytes_used bytes_fragmented=ext_bytes_fragmented
    limit_maxbytes=ext_limit_bytes io_queue=ext_reads_waiting
    """
# Counters that `stats extstore` shows under their own names, without the prefix.
_OWN_COUNTERS = (
    "ext_admitted",
    "ext_rejected_small",
    "ext_rejected_young",
    "ext_rejected_ttl",
    "ext_rejected_unread",
    "ext_rejected_large",
    "ext_rejected_index",
    "ext_clean_evictions",
    "ext_unclean_evictions",
    "ext_brought_back",
    "ext_other_key",
    "ext_chain_full",
    "ext_reads_coalesced",
    "ext_reads_from_buffers",
    "ext_device_reads",
    "ext_device_writes",
    "ext_device_bytes_read",
    "ext_device_bytes_written",
    "ext_late_looks",
    "ext_read_errors",
    "ext_write_errors",
    "ext_write_lost",
)


def items_on_flash_only(flash: Flash, counters: dict[str, int]) -> int:
    """Items that are on flash and not in memory; exact until a page is dropped, then a lower bound.

    Items in memory are counted as having a copy by a mark of their own. It stays when the page of
    the copy is dropped, until the item is written again, changed or evicted: finding such items
    would take a walk over all of memory for each page. Marks that processes took with them as they
    died, in either direction, stay in the count; it never leaves 0 to all items in memory.
    Of what was flushed nothing counts; but a page that was filled while somebody flushed counts
    whole.
    """
    marked = not_flushed(counters, "items_with_copy", "flushed_with_copy")
    copies = min(marked, not_flushed(counters, "items", "flushed_items"))
    return max(flash.index_entries - flash.flushed_entries - copies, 0)


def general_keys() -> str:
    """extstore's group of `stats`: key=value name, in memcached's order."""
    return " ".join(f"extstore_{row}" for row in _GENERAL_ROWS.split())


def general_values(
    server: ServerContext, flash: Flash, counters: dict[str, int], slab: SlabSnapshot
) -> dict[str, object]:
    """What that group shows beside counters."""
    pages, page_bytes = flash.page_count, flash.page_bytes
    used, used_bytes = flash.pages_used()
    return {
        "ext_memory_pressure": f"{_memory_pressure(server, slab):.2f}",
        "ext_pages_free": pages - used,
        "ext_pages_used": used,
        "ext_objects_used": flash.index_entries,
        "ext_bytes_used": used_bytes,
        "ext_bytes_fragmented": max(used * page_bytes - used_bytes, 0),
        "ext_limit_bytes": pages * page_bytes,
    }


def _memory_pressure(server: ServerContext, slab: SlabSnapshot) -> float:
    """How much is used up of the memory that slab_automove_freeratio wants free, in percent."""
    share = server.arena.live("slab_automove_freeratio_millionths") / MILLION
    wanted = max(share * slab.pages_limit, _FREE_PAGES_MIN)
    free = max(slab.pages_limit - slab.pages_used, 0)
    return max(wanted - free, 0.0) / wanted * 100


def extstore_parts(
    server: ServerContext, store: Store, flash: Flash, *, wants_pages: bool
) -> Iterator[bytes]:
    """`stats extstore [pages]`: each page if there are few or they are asked for, then the rest."""
    count = flash.page_count
    for first in range(0, count if wants_pages or count <= PAGES_SHOWN else 0, _PAGES_PER_PART):
        numbers = range(first, min(first + _PAGES_PER_PART, count))
        yield stat_lines(pair for number in numbers for pair in _page_pairs(number, flash))
    yield stat_lines(_own_pairs(flash, store.counters()))
    yield stat_lines(_index_pairs(flash.index_bytes, server.arena.live("memory_limit_bytes")))
    yield stat_lines(_path_pairs(server, flash))
    yield b"END\r\n"


def _page_pairs(number: int, flash: Flash) -> Iterator[Pair]:
    page = flash.page(number)
    yield f"{number}:version", page.version
    yield f"{number}:bytes", page.used_bytes
    yield f"{number}:bucket", page.bucket
    yield f"{number}:free_bucket", page.label


def _own_pairs(flash: Flash, counters: dict[str, int]) -> Iterator[Pair]:
    entries, index_bytes = flash.index_entries, flash.index_bytes
    used, used_bytes = flash.pages_used()
    yield "page_count", flash.page_count
    yield "page_bytes", flash.page_bytes
    yield "pages_used", used
    yield "pages_used_bytes", used_bytes
    yield "index_bytes", index_bytes
    yield "index_entries", entries
    yield "index_bytes_per_entry", _ratio(index_bytes, entries)
    yield "index_hash_bits", flash.hash_bits
    yield "other_key_lost_expected", f"{other_keys_lost(counters, flash.hash_bits):.2f}"
    yield "items_only_on_flash", items_on_flash_only(flash, counters)
    for name in _OWN_COUNTERS:
        yield name.removeprefix("ext_"), counters[name]
    written = counters["ext_device_bytes_written"]
    yield "compact_bytes", counters["ext_compact_bytes"]
    # Compaction's part, and the padding, is what makes it more than 1.
    admitted_bytes = counters["ext_bytes_written"] - counters["ext_compact_bytes"]
    yield "write_amplification", _ratio(written, admitted_bytes)
    # Admission, compression and clean copies are what make it less.
    yield "written_per_byte_received", _ratio(written, counters["bytes_read"])
    before, after = counters["ext_compress_in_bytes"], counters["ext_compress_out_bytes"]
    yield "compress_in_bytes", before
    yield "compress_out_bytes", after
    yield "compress_ratio", _ratio(before, after)
    yield "reads_waiting", counters["ext_reads_waiting"]
    yield "reads_given_up", counters["ext_reads_given_up"]
    yield "write_buffers_waiting", flash.buffers_waiting()
    yield from _times("read_us", flash.read_times())
    yield from _times("write_us", flash.write_times())


def _index_pairs(index_bytes: int, limit_bytes: int) -> Iterator[Pair]:
    """What the index takes of the memory, and what to do when that is much."""
    percent = index_percent(index_bytes, limit_bytes)
    yield "index_memory_percent", percent
    if advice := index_advice(percent):
        yield "index_advice", advice


def other_keys_lost(counters: dict[str, int], hash_bits: int) -> float:
    """Entries that went, as far as can be expected, because another key has the same hash bits.

    A key that is stored or deleted is not in memory any more to be compared: which of the entries
    that went were its own is not known, but what each could hit by chance is counted.
    """
    return counters["ext_index_chances"] * CHANCES_ENTRIES / float(1 << hash_bits)


def _ratio(above: int, below: int) -> str:
    return f"{above / below:.2f}" if below > 0 else "0.00"


def _times(name: str, counts: list[int]) -> Iterator[Pair]:
    """Each line counts what took less than so many microseconds, and at least half of that."""
    yield from ((f"{name}_{1 << power}", count) for power, count in enumerate(counts) if count)


def path_state(info: PathInfo) -> str:
    """In one word how a path stands: in, full, late or out."""
    if info.is_out:
        return "out"
    if info.is_late:
        return "late"
    return "full" if info.full is not Full.NO else "in"


def _path_pairs(server: ServerContext, flash: Flash) -> Iterator[Pair]:
    now = server.arena.seconds()
    for number, path in enumerate(server.settings.ext_paths):
        info = flash.path(number)
        yield f"path_{number}", path.path
        yield f"path_{number}_bytes", path.page_count * flash.page_bytes
        yield f"path_{number}_bucket", path.bucket
        yield f"path_{number}_direct", int(info.is_direct)
        yield f"path_{number}_read_errors", info.read_errors
        yield f"path_{number}_write_errors", info.write_errors
        yield f"path_{number}_full_writes", info.full_writes
        yield f"path_{number}_slow_reads", info.slow_reads
        yield f"path_{number}_late_reads", info.late_reads
        yield f"path_{number}_times_late", info.times_late
        yield f"path_{number}_bad_records", info.bad_records
        yield f"path_{number}_late", int(info.is_late)
        yield f"path_{number}_out", int(info.is_out)
        yield f"path_{number}_state", path_state(info)
        yield f"path_{number}_state_why", WHY_TEXTS[info.why]
        yield f"path_{number}_state_seconds", max(now - info.since_seconds, 0)
