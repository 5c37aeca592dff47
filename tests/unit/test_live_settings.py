"""Settings in the arena: what the command line said is there, under names that exist."""

import pytest

from pymc.config import LIVE
from pymc.core.arena import LIVE_NAMES, Arena
from pymc.live_settings import (
    DERIVED,
    FRACTIONS,
    SAME_UNIT,
    WORDS,
    as_millionths,
    read_live_settings,
    write_live_settings,
)
from tests.support.inprocess import in_process

KEEPER_STATE = {"crawler_running", "slab_move_running"}


def test_each_row_is_written_by_one_setting() -> None:
    written = [
        *SAME_UNIT.values(),
        *FRACTIONS.values(),
        *(live_name for live_name, _ in WORDS.values()),
        *DERIVED,
    ]
    assert len(written) == len(set(written))
    assert {*written} == {*LIVE_NAMES} - KEEPER_STATE


def test_each_live_setting_is_read_back() -> None:
    with in_process() as server:
        assert set(read_live_settings(server.context.arena)) >= LIVE


def test_what_a_fresh_arena_says_is_the_default() -> None:
    # Tests of the core and tools have no command line; they are to see what a server sees.
    with Arena.create(1 << 24, 2) as bare, in_process() as server:
        fresh = {name: bare.live(name) for name in LIVE_NAMES}
        assert fresh == {name: server.context.arena.live(name) for name in LIVE_NAMES}


def test_command_line_reaches_the_arena() -> None:
    args = ["-m", "100", "-M", "-C", "-c", "99", "-v", "-F", "-X", "-D", "x", "-R", "7"]
    with in_process([*args, "-o", "hot_max_factor=0.25,idle_timeout=-5"]) as server:
        arena = server.context.arena
        found = {name: arena.live(name) for name in LIVE_NAMES}
        wanted = {
            "limit_bytes": 100 << 20,
            "evictions_enabled": 0,
            "cas_enabled": 0,
            "connections_max": 99,
            "verbosity": 1,
            "flush_enabled": 0,
            "dump_enabled": 0,
            "prefix_delimiter": ord("x"),
            "requests_per_event": 7,
            "hot_max_factor_millionths": 250_000,
            "idle_timeout_seconds": 0,
        }
        assert {name: found[name] for name in wanted} == wanted
        write_live_settings(arena, server.context.settings)
        assert {name: arena.live(name) for name in LIVE_NAMES} == found


def test_words_stand_for_numbers() -> None:
    with in_process(["-o", "ext_admit=fetched,ext_compact_rate=3,ext_compress=0"]) as server:
        arena = server.context.arena
        assert arena.live("ext_admit_unread_percent") == 0
        assert arena.live("ext_compact_unread") == 0
        assert arena.live("ext_compact_rate_bytes") == 3 << 20
        assert server.ask("extstore rescue all") == server.ask("extstore admit all") == b"OK\r\n"
        found = read_live_settings(arena)
        assert (found["ext_rescue"], found["ext_admit"]) == ("all", "all")


@pytest.mark.parametrize(
    ("value", "millionths"),
    [
        (0.2, 200_000),
        (-1.5, -1_500_000),
        (1e300, 2**63 - 1),
        (float("inf"), 2**63 - 1),
        (float("nan"), 0),
    ],
)
def test_fractions_fit(value: float, millionths: int) -> None:
    assert as_millionths(value) == millionths
