"""The table of settings, third part: the flash tier."""

from collections.abc import Iterable, Mapping
from typing import Any

from pymc.config.c_numbers import whole_float, whole_unsigned
from pymc.config.errors import StartupError
from pymc.config.flash_paths import FlashPath, read_flash_path
from pymc.config.readers import MEGABYTE, Choice, Number
from pymc.config.row import ANY, READ, Live, setting
from pymc.config.settings_memory import MemorySettings
from pymc.config.shared import MILLIONTHS, SHARED, shared_word

UINT_MAX = 2**32 - 1
# Of each worker; more under way does not make a device faster, but each answer later.
THREADS_MAX = 64
IO_DEPTH_MAX = 4096
# How many percent of the items that nobody has fetched go to flash.
ADMIT_PERCENT = {"all": 100, **{str(percent): percent for percent in range(1, 100)}, "fetched": 0}
RESCUE_WORDS = {"read": 0, "all": 1}
_UNSIGNED = Number(whole_unsigned, 0, UINT_MAX)
_MEGABYTES = Number(whole_unsigned, 0, UINT_MAX, MEGABYTE)


def _read_page_size(name: str, text: str | None, now: Mapping[str, Any]) -> int:
    if now["ext_paths"]:
        raise StartupError("Must specify ext_page_size before any ext_path arguments")
    return int(_MEGABYTES(name, text, now))


def _words(words: Iterable[str]) -> dict[str, str]:
    return {word: word for word in words}


def _shown_thousandths(value: float) -> str:
    return f"{value:.3f}"


class FlashSettings(MemorySettings):
    """What goes to flash and when."""

    ext_paths: tuple[FlashPath, ...] = setting(
        (),
        "file for the flash tier with its size, as in ext_path=/data/flash:10G",
        reader=read_flash_path,
        options={"ext_path": READ},
    )
    ext_page_bytes: int = setting(
        64 * MEGABYTE,
        "megabytes of a page on flash; goes before ext_path",
        unit="bytes",
        reader=_read_page_size,
        options={"ext_page_size": READ},
        default_text="64",
    )
    ext_wbuf_bytes: int = setting(
        4 * MEGABYTE,
        "megabytes of the buffer that pages are written from",
        unit="bytes",
        reader=_MEGABYTES,
        options={"ext_wbuf_size": READ},
        stats=("ext_wbuf_size", 640),
    )
    # memcached reads with one thread and one request under way, which leaves a device that can do
    # a hundred thousand reads a second at a few thousand. Here a worker has its own reads under way
    # at the device, so the depth is what counts; threads only where io_uring is not allowed.
    ext_threads: int = setting(
        4,
        "threads of a worker that read from each path, where io_uring is not used",
        reader=Number(whole_unsigned, 1, THREADS_MAX),
        options={"ext_threads": READ},
        stats=("ext_threads", 1020),
        shown_with="ext_paths",
    )
    ext_io_depth: int = setting(
        64,
        "reads that a worker has under way on each path",
        reader=Number(whole_unsigned, 1, IO_DEPTH_MAX),
        options={"ext_io_depth": READ},
        stats=("ext_io_depth", 1030),
        shown_with="ext_paths",
    )
    ext_engine: str = setting(
        "auto",
        "pymc only: how workers read from flash: auto, io_uring or threads; auto takes io_uring"
        " where the kernel allows it",
        reader=Choice(
            {"auto": "auto", "io_uring": "io_uring", "threads": "threads"},
            "ext_engine must be auto, io_uring or threads",
        ),
        options={"ext_engine": READ},
        stats=("ext_engine", 1000),
        shown_with="ext_paths",
    )
    ext_compress_min_bytes: int = setting(
        256,
        "pymc only: values of at least this many bytes are compressed on flash where that saves"
        " space; 0 is never",
        unit="bytes",
        reader=_UNSIGNED,
        options={"ext_compress": READ},
        stats=("ext_compress", 1040),
        shown_with="ext_paths",
        shared=SHARED,
        live=Live("extstore compress"),
    )
    ext_compact_rate_bytes: int = setting(
        0,
        "pymc only: megabytes a second that compaction may read and write; 0 is no limit",
        unit="bytes per second",
        reader=_MEGABYTES,
        options={"ext_compact_rate": READ},
        stats=("ext_compact_rate", 1050),
        shown_with="ext_paths",
        shared=SHARED,
        live=Live("extstore compact_rate"),
    )
    ext_admit: str = setting(
        "all",
        "pymc only: what may go to flash: all items, or those fetched at least once (fetched)"
        " and so many percent of the others",
        reader=Choice(_words(ADMIT_PERCENT), "ext_admit must be all, fetched or 1 to 99 percent"),
        options={"ext_admit": READ},
        stats=("ext_admit", 1060),
        shown_with="ext_paths",
        shared=shared_word("ext_admit_unread_percent", ADMIT_PERCENT),
        live=Live("extstore admit"),
    )
    ext_rescue: str = setting(
        "read",
        "pymc only: what compaction keeps when space is short: what was read since it was written,"
        " or all",
        reader=Choice(_words(RESCUE_WORDS), "ext_rescue must be read or all"),
        options={"ext_rescue": READ},
        stats=("ext_rescue", 1070),
        shown_with="ext_paths",
        shared=shared_word("ext_compact_unread", RESCUE_WORDS),
        live=Live("extstore rescue"),
    )
    ext_read_timeout_ms: int = setting(
        1000,
        "pymc only: milliseconds after which a read that the device has not answered is given up:"
        " the key counts as missing, and so does all that is on that path until it answers again",
        unit="milliseconds",
        reader=Number(whole_unsigned, 1, 86_400_000),
        options={"ext_read_timeout": READ},
        stats=("ext_read_timeout", 1080),
        shown_with="ext_paths",
        shared=SHARED,
        live=Live("extstore read_timeout"),
    )
    # memcached's headers of items on flash take 100 bytes of memory, which small items would not
    # earn back. An entry of the index takes 12.
    ext_item_size_bytes: int = setting(
        64,
        "items of at least this many bytes may go to flash; 512 in memcached",
        unit="bytes",
        reader=_UNSIGNED,
        options={"ext_item_size": READ},
        stats=("ext_item_size", 600),
        shared=SHARED,
        live=Live("extstore item_size"),
    )
    ext_item_age_seconds: int = setting(
        UINT_MAX,
        "items idle for this many seconds go to flash and leave memory",
        unit="seconds",
        reader=_UNSIGNED,
        options={"ext_item_age": READ},
        default_text="no age limit",
        stats=("ext_item_age", 610),
        shared=SHARED,
        live=Live("extstore item_age"),
    )
    ext_low_ttl_seconds: int = setting(
        0,
        "items with fewer seconds to live are kept apart on flash",
        unit="seconds",
        reader=_UNSIGNED,
        options={"ext_low_ttl": READ},
        stats=("ext_low_ttl", 620),
        shared=SHARED,
        live=Live("extstore low_ttl"),
    )
    ext_drop_unread: bool = setting(
        False,
        "compaction drops values that nobody has read",
        options={"ext_drop_unread": True},
        stats=("ext_drop_unread", 700),
        shared=SHARED,
        live=Live("extstore drop_unread"),
    )
    ext_recache_rate: int = setting(
        2000,
        "one of this many reads of an item brings it back to memory",
        reader=_UNSIGNED,
        options={"ext_recache_rate": READ},
        stats=("ext_recache_rate", 630),
        shared=SHARED,
        live=Live("extstore recache_rate"),
    )
    ext_compact_under_pages: int = setting(
        0,
        "compact when fewer pages are free",
        unit="pages",
        reader=_UNSIGNED,
        options={"ext_compact_under": READ},
        default_text="1 percent of them",
        stats=("ext_compact_under", 650),
        shared=SHARED,
        live=Live("extstore compact_under"),
    )
    ext_drop_under_pages: int = setting(
        0,
        "drop cold items when fewer pages are free",
        unit="pages",
        reader=_UNSIGNED,
        options={"ext_drop_under": READ},
        default_text="1 percent of them",
        stats=("ext_drop_under", 660),
        shared=SHARED,
        live=Live("extstore drop_under"),
    )
    ext_max_frag: float = setting(
        0.8,
        "only pages used less than this part are compacted",
        reader=Number(whole_float),
        options={"ext_max_frag": READ},
        stats=("ext_max_frag", 680),
        shared=MILLIONTHS,
        live=Live("extstore max_frag", ANY),
    )
    ext_max_sleep_us: int = setting(
        1_000_000,
        "microseconds that background work on flash rests at most",
        unit="microseconds",
        reader=_UNSIGNED,
        options={"ext_max_sleep": READ},
        stats=("ext_max_sleep", 670),
        shared=SHARED,
        live=Live("extstore max_sleep"),
    )
    slab_automove_freeratio: float = setting(
        0.01,
        "part of memory kept free, so that flash can be read into it",
        reader=Number(whole_float),
        options={"slab_automove_freeratio": READ},
        stats=("slab_automove_freeratio", 690),
        shown=_shown_thousandths,
        shared=MILLIONTHS,
        live=Live("slabs automove freeratio", ANY),
    )
