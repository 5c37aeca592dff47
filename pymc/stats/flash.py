"""What `stats` says of the flash tier: extstore's keys in `stats`, and all of `stats extstore`."""

from collections.abc import Iterator

from pymc.config.shared import MILLION
from pymc.core.flash import CHANCES_ENTRIES, WHY_TEXTS, Flash, Full, PathInfo
from pymc.core.snapshots import SlabSnapshot
from pymc.core.store import Store
from pymc.policy.flash_index import index_advice, index_percent
from pymc.server_context import ServerContext
from pymc.stats.counts import not_flushed
from pymc.stats.report import Group, Values, report_parts, templates

# `stats extstore` shows that many pages without being asked for them: tools read the whole answer.
PAGES_SHOWN = 64
_FREE_PAGES_MIN = 2
# The lines in order; pymc/stats/report.py says how to read it.
EXTSTORE = """
{page}:version gauge number How often the page was begun, 0 for never.
{page}:bytes gauge bytes Bytes of the page's records that are wanted.
{page}:bucket gauge id Which kind of records the page has.
{page}:free_bucket gauge id Which kind of records the page's path is for.
page_count gauge pages Log pages on all paths.
page_bytes gauge bytes How large a log page is.
pages_used gauge pages Log pages that have records.
pages_used_bytes gauge bytes Bytes of the records that are wanted.
index_bytes gauge bytes Memory that the flash index takes.
index_entries gauge records Records that the flash index names.
index_bytes_per_entry gauge bytes Memory that the flash index takes for each of them.
index_hash_bits gauge bits Bits of a key's hash that tell its entry from others.
other_key_lost_expected counter records Records that probably went because of another key's hash.
items_only_on_flash gauge items Items that are on flash and not in memory.
admitted=ext_admitted
rejected_small=ext_rejected_small
rejected_young=ext_rejected_young
rejected_ttl=ext_rejected_ttl
rejected_unread=ext_rejected_unread
rejected_large=ext_rejected_large
rejected_index=ext_rejected_index
clean_evictions=ext_clean_evictions
unclean_evictions=ext_unclean_evictions
brought_back=ext_brought_back
other_key=ext_other_key
chain_full=ext_chain_full
reads_coalesced=ext_reads_coalesced
reads_from_buffers=ext_reads_from_buffers
device_reads=ext_device_reads
device_writes=ext_device_writes
device_bytes_read=ext_device_bytes_read
device_bytes_written=ext_device_bytes_written
late_looks=ext_late_looks
read_errors=ext_read_errors
write_errors=ext_write_errors
write_lost=ext_write_lost
...
compact_bytes=ext_compact_bytes
write_amplification gauge ratio Bytes written to devices for each byte of an admitted record.
written_per_byte_received gauge ratio Bytes written to devices for each byte from clients.
compress_in_bytes=ext_compress_in_bytes
compress_out_bytes=ext_compress_out_bytes
compress_ratio gauge ratio How many times smaller compressed values are.
reads_waiting=ext_reads_waiting
reads_given_up=ext_reads_given_up
write_buffers_waiting gauge buffers Full write buffers that are not written yet.
read_us_{read}=reads counter reads Reads that took less than so many microseconds.
write_us_{write}=writes counter writes Writes that took less than so many microseconds.
index_memory_percent gauge percent How much of the memory the flash index takes.
index_advice?advice text - What to do about an index that takes much memory.
path_{path}=name text - The file of the path.
path_{path}_bytes gauge bytes How large the path is.
path_{path}_bucket gauge id Which kind of records the path is for.
path_{path}_direct gauge flag 1 when the system keeps no copies of what is read and written.
path_{path}_read_errors counter reads Reads that the device failed.
path_{path}_write_errors counter writes Writes that the device failed.
path_{path}_full_writes counter writes Writes for which the file system had no room.
path_{path}_slow_reads counter reads Reads that took long.
path_{path}_late_reads counter reads Reads that were not answered in time.
path_{path}_times_late counter times How often the path did not answer.
path_{path}_bad_records counter records Records that were damaged or not where they should be.
path_{path}_late gauge flag 1 while the path does not answer.
path_{path}_out gauge flag 1 while the path is out of service.
path_{path}_state text - How the path stands: in, full, late or out.
path_{path}_state_why text - Why it is not in.
path_{path}_state_seconds gauge seconds For how long it has been so.
"""


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
    counters = store.counters()
    percent = index_percent(flash.index_bytes, server.arena.live("memory_limit_bytes"))
    advice = index_advice(percent)
    values = {
        **counters,
        **_flash_values(flash, counters),
        **_ratios(counters),
        "index_memory_percent": percent,
        "index_advice": advice,
    }
    shown = range(flash.page_count if wants_pages or flash.page_count <= PAGES_SHOWN else 0)
    groups: dict[str, Group] = {
        "page": ((number, _page_values(flash, number)) for number in shown),
        "read": _times("reads", flash.read_times()),
        "write": _times("writes", flash.write_times()),
        "path": _paths(server, flash),
    }
    lines = templates(EXTSTORE, "extstore", ("advice",) if advice else ())
    yield from report_parts(lines, values, groups)
    yield b"END\r\n"


def _page_values(flash: Flash, number: int) -> Values:
    page = flash.page(number)
    return {
        "version": page.version,
        "bytes": page.used_bytes,
        "bucket": page.bucket,
        "free_bucket": page.label,
    }


def _flash_values(flash: Flash, counters: dict[str, int]) -> dict[str, object]:
    entries, index_bytes = flash.index_entries, flash.index_bytes
    used, used_bytes = flash.pages_used()
    return {
        "page_count": flash.page_count,
        "page_bytes": flash.page_bytes,
        "pages_used": used,
        "pages_used_bytes": used_bytes,
        "index_bytes": index_bytes,
        "index_entries": entries,
        "index_bytes_per_entry": _ratio(index_bytes, entries),
        "index_hash_bits": flash.hash_bits,
        "other_key_lost_expected": f"{other_keys_lost(counters, flash.hash_bits):.2f}",
        "items_only_on_flash": items_on_flash_only(flash, counters),
        "write_buffers_waiting": flash.buffers_waiting(),
    }


def _ratios(counters: dict[str, int]) -> dict[str, object]:
    written = counters["ext_device_bytes_written"]
    admitted_bytes = counters["ext_bytes_written"] - counters["ext_compact_bytes"]
    before, after = counters["ext_compress_in_bytes"], counters["ext_compress_out_bytes"]
    return {
        # Compaction's part, and the padding, is what makes it more than 1.
        "write_amplification": _ratio(written, admitted_bytes),
        # Admission, compression and clean copies are what make it less.
        "written_per_byte_received": _ratio(written, counters["bytes_read"]),
        "compress_ratio": _ratio(before, after),
    }


def other_keys_lost(counters: dict[str, int], hash_bits: int) -> float:
    """Entries that went, as far as can be expected, because another key has the same hash bits.

    A key that is stored or deleted is not in memory any more to be compared: which of the entries
    that went were its own is not known, but what each could hit by chance is counted.
    """
    return counters["ext_index_chances"] * CHANCES_ENTRIES / float(1 << hash_bits)


def _ratio(above: int, below: int) -> str:
    return f"{above / below:.2f}" if below > 0 else "0.00"


def _times(name: str, counts: list[int]) -> Group:
    """Each line counts what took less than so many microseconds, and at least half of that."""
    return [(1 << power, {name: count}) for power, count in enumerate(counts) if count]


def path_state(info: PathInfo) -> str:
    """In one word how a path stands: in, full, late or out."""
    if info.is_out:
        return "out"
    if info.is_late:
        return "late"
    return "full" if info.full is not Full.NO else "in"


def _paths(server: ServerContext, flash: Flash) -> Iterator[tuple[int, Values]]:
    now = server.arena.seconds()
    for number, path in enumerate(server.settings.ext_paths):
        info = flash.path(number)
        yield (
            number,
            {
                "name": path.path,
                "bytes": path.page_count * flash.page_bytes,
                "bucket": path.bucket,
                "direct": int(info.is_direct),
                "read_errors": info.read_errors,
                "write_errors": info.write_errors,
                "full_writes": info.full_writes,
                "slow_reads": info.slow_reads,
                "late_reads": info.late_reads,
                "times_late": info.times_late,
                "bad_records": info.bad_records,
                "late": int(info.is_late),
                "out": int(info.is_out),
                "state": path_state(info),
                "state_why": WHY_TEXTS[info.why],
                "state_seconds": max(now - info.since_seconds, 0),
            },
        )
