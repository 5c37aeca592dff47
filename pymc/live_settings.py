"""How settings stand in the arena, where all processes see a change at once."""

import math
from collections.abc import Callable
from typing import Any

from pymc.config import ADMIT_PERCENT, RESCUE_WORDS, Settings
from pymc.core.arena import Arena

MILLION = 1_000_000

# Settings and their names in live.def, both in the same unit.
SAME_UNIT = {
    "verbosity": "verbosity",
    "memory_limit_bytes": "limit_bytes",
    "item_size_max_bytes": "item_bytes_max",
    "evictions": "evictions_enabled",
    "cas_enabled": "cas_enabled",
    "flush_enabled": "flush_enabled",
    "dump_enabled": "dump_enabled",
    "connections_max": "connections_max",
    "maxconns_fast": "connections_fast_refuse",
    "read_buffers_bytes_max": "read_buffer_limit_bytes",
    "detail_enabled": "detail_enabled",
    "lru_segmented": "lru_segmented",
    "hot_lru_pct": "hot_lru_percent",
    "warm_lru_pct": "warm_lru_percent",
    "temp_lru": "temp_lru",
    "temporary_ttl_seconds": "temporary_ttl_seconds",
    "lru_crawler": "lru_crawler",
    "lru_crawler_sleep_us": "lru_crawler_sleep_us",
    "lru_crawler_tocrawl": "lru_crawler_to_crawl",
    "slab_reassign": "slab_reassign",
    "slab_automove": "slab_automove",
    "slab_automove_window_seconds": "slab_automove_window",
    "ext_item_bytes": "ext_item_size_bytes",
    "ext_item_age_seconds": "ext_item_age_seconds",
    "ext_low_ttl_seconds": "ext_low_ttl_seconds",
    "value_timeout_seconds": "value_timeout_seconds",
    "ext_recache_rate": "ext_recache_rate",
    "ext_compact_under_pages": "ext_compact_under",
    "ext_drop_under_pages": "ext_drop_under",
    "ext_max_sleep_us": "ext_max_sleep_us",
    "ext_read_timeout_ms": "ext_read_timeout_ms",
    "ext_drop_unread": "ext_drop_unread",
    "ext_compress_min_bytes": "ext_compress_min_bytes",
    "ext_compact_rate_bytes": "ext_compact_rate_bytes",
}
# Fractions, which stand there as millionths.
FRACTIONS = {
    "hot_max_factor": "hot_max_factor_millionths",
    "warm_max_factor": "warm_max_factor_millionths",
    "slab_automove_ratio": "slab_automove_ratio_millionths",
    "slab_automove_freeratio": "slab_automove_freeratio_millionths",
    "ext_max_frag": "ext_max_frag_millionths",
}
# Words, and the numbers that stand there for them.
WORDS: dict[str, tuple[str, dict[str, int]]] = {
    "ext_admit": ("ext_admit_unread_percent", ADMIT_PERCENT),
    "ext_rescue": ("ext_compact_unread", {word: i for i, word in enumerate(RESCUE_WORDS)}),
}
# What C wants in a form of its own.
DERIVED: dict[str, Callable[[Settings], int]] = {
    "requests_per_event": lambda settings: (
        settings.requests_per_event if "requests_per_event" in settings.given else 0
    ),
    "protocol_negotiated": lambda settings: int(settings.protocol == "auto"),
    "idle_timeout_seconds": lambda settings: max(settings.idle_timeout_seconds, 0),
    "prefix_delimiter": lambda settings: ord(settings.stat_prefix_delimiter[:1] or ":") & 0xFF,
    "auth_required": lambda settings: int(settings.auth_file_path is not None),
}

_INT64_MAX = 2**63 - 1


def as_millionths(value: float) -> int:
    """A fraction as the arena keeps it, within its 64 bits."""
    if math.isnan(value):
        return 0
    scaled = max(-float(_INT64_MAX), min(float(_INT64_MAX), value * MILLION))
    return min(round(scaled), _INT64_MAX)


def write_live_settings(arena: Arena, settings: Settings) -> None:
    """Puts what the command line said into a fresh arena."""
    for field, name in SAME_UNIT.items():
        arena.set_live(name, int(getattr(settings, field)))
    for field, name in FRACTIONS.items():
        arena.set_live(name, as_millionths(getattr(settings, field)))
    for field, (name, words) in WORDS.items():
        arena.set_live(name, words[getattr(settings, field)])
    for name, derive in DERIVED.items():
        arena.set_live(name, derive(settings))


def read_live_settings(arena: Arena) -> dict[str, Any]:
    """The present values by the settings' own names and units."""
    values: dict[str, Any] = {field: arena.live(name) for field, name in SAME_UNIT.items()}
    values |= {field: arena.live(name) / MILLION for field, name in FRACTIONS.items()}
    for field, (name, words) in WORDS.items():
        number = arena.live(name)
        values[field] = next(word for word, stands_for in words.items() if stands_for == number)
    return values
