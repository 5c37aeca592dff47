"""The table of settings, second part: memory, slab classes, index and queues."""

import math

from pymc.config.c_numbers import atof, atoi, atoi_unsigned, whole_signed, whole_unsigned
from pymc.config.readers import (
    ABOVE_ONE,
    ABOVE_ZERO,
    FLOAT_MAX,
    KILOBYTE,
    MEGABYTE,
    Choice,
    Level,
    Megabytes,
    Number,
    read_item_size,
    read_slab_sizes,
    read_text,
)
from pymc.config.row import ANY, READ, Live, setting
from pymc.config.settings_process import INT_MAX, ProcessSettings
from pymc.config.shared import MILLIONTHS, SHARED

# The unit in which memory goes from one slab class to another.
SLAB_PAGE_BYTES = MEGABYTE
# What the queues of new and of proven items may have together.
QUEUES_PERCENT_MAX = 80
_TESTS_OF_MEMCACHED = "only memcached's own tests set it"
_NO_QUEUES = "how long items stay on probation follows what comes back; the proven have no queue"
HASH_ALGORITHMS = {name: name for name in ("jenkins", "murmur3", "xxh3")}


def _shown_on_off(is_on: bool) -> str:
    return "on" if is_on else "off"


def _shown_path(path: str | None) -> str:
    return path or "(null)"


class MemorySettings(ProcessSettings):
    """How much memory there is, how it is cut up and what leaves it first."""

    memory_limit_bytes: int = setting(
        64 * MEGABYTE,
        "megabytes of memory for items and what finds them; auto: as many as the machine or its"
        " memory cgroup has room for",
        unit="bytes",
        reader=Megabytes(),
        flag="m",
        long="memory-limit",
        argument="num",
        stats=("maxbytes", 10),
        shared=SHARED,
        live=Live("cache_memlimit", (8, 1_000_000_000)),
    )
    evictions_enabled: bool = setting(
        True,
        "when memory is full, answer with an error and evict nothing",
        flag="M",
        flag_value=False,
        long="disable-evictions",
        stats=("evictions", 80),
        shown=_shown_on_off,
        shared=SHARED,
    )
    lock_memory: bool = setting(
        False, "keep all memory from being paged out", flag="k", flag_value=True, long="lock-memory"
    )
    slab_growth_factor: float = setting(
        1.25,
        "each chunk size is this many times the one before",
        reader=Number(atof, ABOVE_ONE, FLOAT_MAX, outside="Factor must be greater than 1"),
        flag="f",
        long="slab-growth-factor",
        argument="num",
        default_text="a finer ladder than 1.25",
        stats=("growth_factor", 120),
    )
    slab_min_bytes: int = setting(
        48,
        "bytes of key, flags and value that the smallest chunk holds",
        unit="bytes",
        reader=Number(atoi, 1, INT_MAX, outside="Chunk size must be greater than 0"),
        flag="n",
        long="slab-min-size",
        argument="bytes",
        stats=("chunk_size", 130),
    )
    large_pages: bool = setting(
        False,
        "take all memory at start, in huge pages as far as the system gives them",
        flag="L",
        flag_value=True,
        long="enable-largepages",
    )
    cas_enabled: bool = setting(
        True,
        "do without CAS numbers",
        flag="C",
        flag_value=False,
        long="disable-cas",
        stats=("cas_enabled", 190),
        shared=SHARED,
    )
    item_bytes_max: int = setting(
        MEGABYTE,
        "the largest item, in bytes or with a letter k or m; 1k to 1024m",
        unit="bytes",
        reader=read_item_size,
        flag="I",
        long="max-item-size",
        argument="num",
        default_text="1m",
        stats=("item_size_max", 240),
        shared=SHARED,
    )
    memory_file_path: str | None = setting(
        None,
        "file to keep item memory in over a restart",
        flag="e",
        long="memory-file",
        argument="file",
        stats=("memory_file", 910),
        shown=_shown_path,
    )
    hash_power_start: int = setting(
        0,
        "the index starts with two to this power of places, 12 to 32; 0 chooses",
        reader=Number(
            atoi,
            12,
            32,
            missing="Missing numeric argument for {name}",
            outside="Initial hashtable multiplier of {value} is too low",
            above="Initial hashtable multiplier of {value} is too high\n"
            'Choose a value based on "STAT hash_power_level" from a running instance',
        ),
        options={"hashpower": READ},
        stats=("hashpower_init", 260),
    )
    tail_repair_time_seconds: int = setting(
        0,
        "seconds after which an item that stays in use at a queue's end is taken out; 0 is never",
        unit="seconds",
        reader=Number(
            atoi,
            10,
            INT_MAX,
            missing="Missing numeric argument for {name}",
            outside="Cannot set {name} to less than 10 seconds",
        ),
        options={"tail_repair_time": READ},
        stats=("tail_repair_time", 350),
        idle="there are no queues that an item in use could hold up",
    )
    hash_algorithm: str = setting(
        "murmur3",
        "jenkins, murmur3 or xxh3; accepted, pymc always uses xxh3",
        reader=Choice(HASH_ALGORITHMS, "Unknown hash_algorithm option (jenkins, murmur3, xxh3)"),
        options={"hash_algorithm": READ},
        stats=("hash_algorithm", 380),
        idle="keys are hashed with XXH3 and a seed that nobody knows",
    )
    lru_crawler: bool = setting(
        True,
        "do not look for expired items in the background",
        options={"no_lru_crawler": False, "lru_crawler": True},
        stats=("lru_crawler", 320),
        shared=SHARED,
        live=Live("lru_crawler enable"),
    )
    lru_crawler_sleep_us: int = setting(
        100,
        "microseconds between steps of that search",
        unit="microseconds",
        reader=Number(
            atoi,
            0,
            1_000_000,
            missing="Missing {name} value",
            outside="LRU crawler sleep must be between 0 and 1 second",
        ),
        options={"lru_crawler_sleep": READ},
        stats=("lru_crawler_sleep", 330),
        shared=SHARED,
        live=Live("lru_crawler sleep"),
    )
    lru_crawler_to_crawl: int = setting(
        0,
        "items of a class looked at in one run; 0 is all",
        unit="items",
        reader=Number(
            whole_unsigned,
            missing="Missing {name} value",
            bad="lru_crawler_tocrawl takes a numeric 32bit value",
        ),
        options={"lru_crawler_tocrawl": READ},
        stats=("lru_crawler_tocrawl", 340),
        shared=SHARED,
        live=Live("lru_crawler tocrawl"),
    )
    lru_maintainer: bool = setting(
        True,
        "one plain queue for each class, no background work on it",
        options={"no_lru_maintainer": False, "lru_maintainer": True},
        also={"lru_segmented": READ},
        stats=("lru_maintainer_thread", 390),
    )
    lru_segmented: bool = setting(
        True,
        "new items are on probation, apart from those that proved themselves",
        stats=("lru_segmented", 400),
        shared=SHARED,
        live=Live("lru mode"),
    )
    hot_lru_percent: int = setting(
        20,
        "percent of a class for its hot queue; with the warm one at most 80",
        unit="percent",
        reader=Number(atoi, 1, 79, outside="hot_lru_pct must be > 1 and < 80"),
        options={"hot_lru_pct": READ},
        stats=("hot_lru_pct", 410),
        shared=SHARED,
        live=Live("lru tune", (0, QUEUES_PERCENT_MAX)),
    )
    warm_lru_percent: int = setting(
        40,
        "percent of a class for its warm queue",
        unit="percent",
        reader=Number(atoi, 1, 79, outside="warm_lru_pct must be > 1 and < 80"),
        options={"warm_lru_pct": READ},
        stats=("warm_lru_pct", 420),
        shared=SHARED,
        live=Live("lru tune", (0, QUEUES_PERCENT_MAX)),
        idle=_NO_QUEUES,
    )
    hot_max_factor: float = setting(
        0.2,
        "items idle longer than the cold queue's age times this leave the hot one",
        reader=Number(atof, ABOVE_ZERO, outside="hot_max_factor must be > 0"),
        options={"hot_max_factor": READ},
        stats=("hot_max_factor", 430),
        shared=MILLIONTHS,
        live=Live("lru tune", (ABOVE_ZERO, math.inf)),
        idle=_NO_QUEUES,
    )
    warm_max_factor: float = setting(
        2.0,
        "the same for the warm queue",
        reader=Number(atof, ABOVE_ZERO, outside="warm_max_factor must be > 0"),
        options={"warm_max_factor": READ},
        stats=("warm_max_factor", 440),
        shared=MILLIONTHS,
        live=Live("lru tune", (ABOVE_ZERO, math.inf)),
        idle=_NO_QUEUES,
    )
    temp_lru: bool = setting(
        False,
        "items with a short time to live (temporary_ttl) are kept apart",
        stats=("temp_lru", 450),
        shared=SHARED,
        live=Live("lru temp_ttl"),
    )
    temporary_ttl_seconds: int = setting(
        61,
        "items that live no longer than this many seconds get a queue of their own",
        unit="seconds",
        reader=Number(atoi_unsigned, 0, 2**32 - 1),
        options={"temporary_ttl": READ},
        also={"temp_lru": True},
        stats=("temporary_ttl", 460),
        shared=SHARED,
        live=Live("lru temp_ttl"),
    )
    slab_chunk_max_bytes: int = setting(
        512 * KILOBYTE,
        "kilobytes of the largest chunk; larger items are made of several",
        unit="bytes",
        reader=Number(
            whole_signed,
            1,
            SLAB_PAGE_BYTES // KILOBYTE,
            KILOBYTE,
            outside="slab_chunk_max must be >= 0",
            above="slab_chunk_max must be specified in kilobytes.",
        ),
        options={"slab_chunk_max": READ},
        stats=("slab_chunk_max", 310),
    )
    track_sizes: bool = setting(
        False,
        "count items by size for `stats sizes`",
        options={"track_sizes": True},
        stats=("track_sizes", 510),
    )
    hash_expand: bool = setting(
        True,
        "never let the index grow",
        options={"no_hashexpand": False},
        idle="the index grows a bucket at a time, which no request feels",
    )
    slab_reassign: bool = setting(
        True,
        "memory may go from one class to another",
        options={"slab_reassign": True, "no_slab_reassign": False},
        default_text="enabled",
        stats=("slab_reassign", 270),
        shared=SHARED,
    )
    slab_automove: int = setting(
        1,
        "how eagerly that happens by itself: 0 never, 1 carefully, 2 at each eviction",
        reader=Level(0, 2),
        options={"slab_automove": READ, "no_slab_automove": 0},
        stats=("slab_automove", 280),
        shared=SHARED,
        live=Live("slabs automove"),
    )
    slab_automove_ratio: float = setting(
        0.8,
        "a class gives memory when its oldest item is younger than this part of the average",
        reader=Number(atof, ABOVE_ZERO, 1, outside="slab_automove_ratio must be > 0 and < 1"),
        options={"slab_automove_ratio": READ},
        stats=("slab_automove_ratio", 290),
        shared=MILLIONTHS,
        live=Live("slabs automove ratio", ANY),
    )
    slab_automove_window_seconds: int = setting(
        10,
        "seconds the automover looks back",
        unit="seconds",
        reader=Number(atoi_unsigned, 3, 2**32 - 1, outside="slab_automove_window must be > 2"),
        options={"slab_automove_window": READ},
        stats=("slab_automove_window", 300),
        shared=SHARED,
        live=Live("slabs automove window", ANY),
        idle="a worker compares ages when it needs memory; there is no window",
    )
    slab_sizes: tuple[int, ...] = setting(
        (),
        "chunk sizes in bytes with - between them, in place of a ladder",
        unit="bytes",
        reader=read_slab_sizes,
        options={"slab_sizes": READ},
    )
    malloced_start_bytes: int = setting(
        0,
        unit="bytes",
        reader=Number(whole_unsigned),
        env="T_MEMD_INITIAL_MALLOC",
        idle=_TESTS_OF_MEMCACHED,
    )
    slabs_preallocate: str | None = setting(
        None,
        reader=read_text,
        env="T_MEMD_SLABS_ALLOC",
        idle=_TESTS_OF_MEMCACHED,
    )
    hash_bulk_move: int = setting(
        1,
        reader=Number(atoi),
        env="MEMCACHED_HASH_BULK_MOVE",
        idle=_TESTS_OF_MEMCACHED,
    )
