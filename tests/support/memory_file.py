"""The memory files of arenas in this process, and what the system says they occupy."""

import os

# What -m covers; all other rooms are the constant that ARCHITECTURE states.
COVERED = {"index_buckets", "index_overflow", "rings", "ghost", "slab_pages", "flash_index"}


def memory_files() -> set[int]:
    """Descriptors of all arenas that are open."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith("/memfd:pymc"):
            found.add(int(name))
    return found


def occupied_bytes(descriptor: int) -> int:
    """Memory that is there for the file."""
    return os.fstat(descriptor).st_blocks * 512
