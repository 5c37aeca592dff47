"""How much memory the flash tier's index may take."""

# What an entry takes in the index, its part of what is never full included.
ENTRY_BYTES = 12


def index_bytes_max(limit_bytes: int) -> int:
    """Memory that the index may have of what the cache may use."""
    return limit_bytes * 4 // 5


def index_entries_max(limit_bytes: int) -> int:
    """Entries with which the index stays within that."""
    return index_bytes_max(limit_bytes) // ENTRY_BYTES
