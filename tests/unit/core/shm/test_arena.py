"""The arena: bad options, the cache's clock, live settings."""

import os
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import EPOCH_UNIX_SECONDS, LIVE, Cache

SECOND_NS = 1_000_000_000


def create(reserve_bytes: int, slots: int) -> int:
    options = ffi.new("struct arena_options *")
    options.reserve_bytes = reserve_bytes
    options.slots = slots
    out = ffi.new("struct arena **")
    status = lib.arena_create(options, out)
    if status == lib.PYMC_OK:
        lib.arena_close(out[0])
    return int(status)


@pytest.mark.parametrize(
    ("reserve_bytes", "slots", "status"),
    [
        (1 << 24, 4, "PYMC_OK"),
        (1 << 24, 0, "PYMC_INVALID"),
        (1 << 24, lib.ARENA_SLOTS_MAX + 1, "PYMC_INVALID"),
        (1000, 4, "PYMC_INVALID"),
    ],
)
def test_create(reserve_bytes: int, slots: int, status: str) -> None:
    assert create(reserve_bytes, slots) == getattr(lib, status)


def flags_at(address: int) -> list[str]:
    """The kernel's flags of the mapping that holds an address of this process."""
    is_inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            first, last = (int(word, 16) for word in words[0].split("-"))
            is_inside = first <= address < last
        elif is_inside and words[0] == "VmFlags:":
            return words[1:]
    return []


def test_the_arena_is_in_no_core_file(cache: Cache) -> None:
    """Neither in one of this process nor of its children: a dump of it would take minutes."""
    address = int(lib.arena_address(cache.arena))
    assert "dd" in flags_at(address)
    child = os.fork()
    if child == 0:
        os._exit(0 if "dd" in flags_at(address) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_clock_starts_at_two_and_counts_whole_seconds(cache: Cache) -> None:
    assert lib.arena_seconds(cache.arena, 0) == 2
    assert lib.arena_seconds(cache.arena, SECOND_NS - 1) == 2
    assert lib.arena_seconds(cache.arena, 5 * SECOND_NS) == 7
    assert lib.arena_epoch_unix_seconds(cache.arena) == EPOCH_UNIX_SECONDS


def test_clock_shifts_and_freezes(cache: Cache) -> None:
    lib.arena_clock_shift(cache.arena, 100)
    assert lib.arena_seconds(cache.arena, 0) == 102
    lib.arena_clock_freeze(cache.arena, 500)
    assert lib.arena_seconds(cache.arena, 7 * SECOND_NS) == 500
    lib.arena_clock_shift(cache.arena, 3)
    assert lib.arena_seconds(cache.arena, 0) == 503
    lib.arena_clock_freeze(cache.arena, 0)
    assert lib.arena_seconds(cache.arena, SECOND_NS) == 106


def test_clock_never_shows_less_than_two(cache: Cache) -> None:
    lib.arena_clock_shift(cache.arena, -1000)
    assert lib.arena_seconds(cache.arena, SECOND_NS) == 2


def test_live_settings_are_shared_words(cache: Cache) -> None:
    assert lib.live_read(cache.arena, LIVE["hot_lru_percent"]) == 20
    cache.set_live("hot_lru_percent", 33)
    assert lib.live_read(cache.arena, LIVE["hot_lru_percent"]) == 33
    assert lib.live_name(lib.live_count()) == ffi.NULL


def test_taking_memory_keeps_its_content(cache: Cache) -> None:
    handle = cache.open()
    handle.put(b"k", b"value")
    assert lib.arena_take_slice(cache.arena, 0, 1 << 22) == lib.PYMC_OK
    assert handle.get(b"k") == b"value"


def test_the_wall_clock_is_followed_when_it_is_set(cache: Cache) -> None:
    boot = EPOCH_UNIX_SECONDS + 2
    day = 86_400

    def epoch(monotonic_seconds: float, wall_seconds: float) -> int:
        lib.arena_clock_set_wall(
            cache.arena, round(monotonic_seconds * SECOND_NS), round(wall_seconds * SECOND_NS)
        )
        return int(lib.arena_epoch_unix_seconds(cache.arena)) - EPOCH_UNIX_SECONDS

    assert epoch(0, boot) == 0
    assert epoch(5, boot + 5.9) == 0, "the server may have started at any part of a second"
    assert epoch(6, boot + 7.05) == 0, "that the clocks are read a moment apart is no step"
    assert epoch(7, boot + 6.95) == 0
    assert epoch(8, boot + 9.5) == 1
    assert epoch(9, boot + 10.05) == 1, "what was a step once does not flicker"
    # Three weeks in which one clock lost 40 seconds, a leap of an hour, one back to 1970.
    assert epoch(21 * day, boot + 21 * day + 40.5) == 40
    assert epoch(21 * day, boot + 21 * day + 3640.5) == 3640
    assert epoch(21 * day, 1000.5) == 1000 - 21 * day - boot
    assert epoch(21 * day + 1, boot + 21 * day + 1) == 0


def test_setting_the_wall_clock_moves_no_time_to_live(cache: Cache) -> None:
    before = lib.arena_seconds(cache.arena, 50 * SECOND_NS)
    lib.arena_clock_set_wall(cache.arena, 50 * SECOND_NS, (EPOCH_UNIX_SECONDS + 9999) * SECOND_NS)
    assert lib.arena_seconds(cache.arena, 50 * SECOND_NS) == before
