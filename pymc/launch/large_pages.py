"""-L: takes all memory at the start, as huge pages where the kernel gives them, and measures it."""

from pymc.core.arena import Arena, LargePages
from pymc.core.ledger import HUGE_PAGE_BYTES

# What of the memory the index is expected to take in the end; the rest is for items. Index memory
# that is not used, or that it needs beyond this, comes on top of -m.
INDEX_SHARE = 16
_SHMEM_SETTING = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
_OFF = ("[never]", "[deny]")


def take_large_pages(arena: Arena, limit_bytes: int) -> LargePages:
    """Takes memory for items and index, before the first fork; returns what was got.

    Raises CoreError.
    """
    index_bytes = _whole(limit_bytes // INDEX_SHARE)
    wanted = {"index_buckets": index_bytes, "slab_pages": _whole(limit_bytes) - index_bytes}
    asked = 0
    for label, offset, size in arena.ledger.rows():
        part = min(wanted.get(label, 0), _whole(size))
        arena.take(offset, part)
        asked += part
    if arena.is_hugetlb:
        return LargePages("hugetlb", asked, asked)
    got = min(huge_bytes(arena), asked)
    return LargePages(_kind(got), asked, got)


def shortage(large: LargePages) -> str:
    """Returns a line for the log when less was got than asked; "" otherwise."""
    if large.got_bytes >= large.asked_bytes:
        return ""
    got, asked = large.got_bytes >> 20, large.asked_bytes >> 20
    return f"warning: -L got {got} of {asked} megabytes in huge pages ({large.kind})"


def huge_bytes(arena: Arena) -> int:
    """Returns how many bytes of the arena the kernel maps in huge pages for this process."""
    found, is_inside = 0, False
    first, last = arena.address_range
    with open("/proc/self/smaps", encoding="ascii", errors="replace") as file:
        for line in file:
            word = line.split(maxsplit=1)[0]
            if word in ("ShmemPmdMapped:", "FilePmdMapped:"):
                found += int(line.split()[1]) * 1024 if is_inside else 0
            elif not word.endswith(":"):
                start = int(word.partition("-")[0], 16)
                is_inside = first <= start < last
    return found


def _kind(got_bytes: int) -> str:
    """Returns how they came: by the system's own setting, or only because they were asked for."""
    if not got_bytes:
        return "none"
    try:
        with open(_SHMEM_SETTING, encoding="ascii") as file:
            words = file.read().split()
    except OSError:
        return "collapsed"
    return "collapsed" if any(word in words for word in _OFF) else "thp"


def _whole(byte_count: int) -> int:
    return byte_count // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
