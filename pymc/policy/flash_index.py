"""How much memory the flash tier's index may take, and from where on the log warns of it."""

# What an entry takes in the index, its part of what is never full included.
ENTRY_BYTES = 12
# Of what the cache may use, in percent: from the second on old items are dropped for new ones, so
# from the first on there is time to do something about it.
WARN_PERCENT = 60
MOST_PERCENT = 80
WARN_AGAIN_SECONDS = 3600.0


def index_bytes_max(limit_bytes: int) -> int:
    """Memory that the index may have of what the cache may use."""
    return limit_bytes * MOST_PERCENT // 100


def index_entries_max(limit_bytes: int) -> int:
    """Entries with which the index stays within that."""
    return index_bytes_max(limit_bytes) // ENTRY_BYTES


def index_percent(index_bytes: int, limit_bytes: int) -> int:
    """The part of the cache's memory that the index takes, in whole percent."""
    return index_bytes * 100 // max(limit_bytes, 1)


def index_advice(percent: int) -> str | None:
    """What to tell the operator of an index that takes so much; None when all is well."""
    if percent < WARN_PERCENT:
        return None
    return f"index takes {percent} % of memory: fewer, larger items or more -m"


def is_warning_due(percent: int, since_last_seconds: float | None) -> bool:
    """Tells whether the log is to say so; it did `since_last_seconds` ago, None: never yet."""
    is_news = since_last_seconds is None or since_last_seconds >= WARN_AGAIN_SECONDS
    return is_news and index_advice(percent) is not None
