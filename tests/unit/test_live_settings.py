"""Settings in the arena: what the command line said is there, under names that exist."""

from typing import Any

import pytest

from pymc.config import DEFAULTS, LIVE, ROWS, SHARED_ROWS
from pymc.config.readers import Choice
from pymc.config.shared import as_millionths
from pymc.control.commands import HANDLERS
from pymc.core.arena import LIVE_NAMES, Arena
from pymc.live_settings import change, may_be, read_live_settings, write_live_settings
from tests.support.inprocess import in_process


def test_c_has_the_names_of_the_table() -> None:
    assert tuple(shared.name_of(name) for name, shared in SHARED_ROWS.items()) == LIVE_NAMES


def test_each_live_setting_is_read_back() -> None:
    with in_process() as server:
        found = read_live_settings(server.context.arena)
        assert set(found) >= LIVE
        assert {name: found[name] for name in LIVE} == {name: DEFAULTS[name] for name in LIVE}
        assert all(type(value) is type(DEFAULTS[name]) for name, value in found.items())


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
            "memory_limit_bytes": 100 << 20,
            "evictions_enabled": 0,
            "cas_enabled": 0,
            "connections_max": 99,
            "verbosity": 1,
            "flush_enabled": 0,
            "dump_enabled": 0,
            "detail_enabled": 1,
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


@pytest.mark.parametrize(
    ("name", "values", "refused"),
    [
        # As on the command line.
        ("slab_automove", [0, 2], [-1, 3]),
        ("lru_crawler_sleep_us", [0, 1_000_000], [-1, 1_000_001]),
        ("ext_read_timeout_ms", [1, 86_400_000], [0, 86_400_001]),
        ("temporary_ttl_seconds", [0, 2**31 - 1], [-1]),
        # Bounds of the command's own, and none at all.
        ("verbosity", [0, 2], [3]),
        ("hot_max_factor", [0.1, float("inf")], [0.0, -1.0, float("nan")]),
        ("slab_automove_window_seconds", [0, 2**32 - 1], []),
        ("slab_automove_ratio", [0.0, 2.0, float("nan")], []),
    ],
)
def test_a_change_keeps_within_the_bounds_of_its_row(
    name: str, values: list[Any], refused: list[Any]
) -> None:
    with in_process() as server:
        arena, shared = server.context.arena, SHARED_ROWS[name]
        for value in values:
            assert may_be(name, value)
            assert change(arena, name, value)
            assert arena.live(shared.name_of(name)) == shared.encode(value, True)
        kept = arena.live(shared.name_of(name))
        for value in refused:
            assert not may_be(name, value)
            assert not change(arena, name, value)
            assert arena.live(shared.name_of(name)) == kept


def command_of(name: str) -> str:
    live = ROWS[name].live
    assert live
    return live.command


def test_commands_are_commands() -> None:
    assert {command_of(name).split()[0].encode() for name in LIVE} <= HANDLERS.keys()


@pytest.mark.parametrize("name", sorted(n for n in LIVE if command_of(n).startswith("extstore")))
def test_extstore_changes_what_its_row_says(name: str) -> None:
    default, reader = DEFAULTS[name], ROWS[name].reader
    value: Any
    word, value = "7", 7 * ROWS[name].scale
    if isinstance(reader, Choice):
        word = value = next(word for word in reader.values if word != default)
    elif isinstance(default, float):
        word, value = "0.25", 0.25
    elif isinstance(default, bool):
        word, value = str(int(not default)), not default
    with in_process() as server:
        assert server.ask(f"{command_of(name)} {word}") == b"OK\r\n"
        assert read_live_settings(server.context.arena)[name] == value != default
        for wrong in ("", "x"):
            assert server.ask(f"{command_of(name)} {wrong}") == b"ERROR\r\n"
        assert read_live_settings(server.context.arena)[name] == value


def test_a_change_is_given_in_the_unit_of_the_command_line() -> None:
    assert ROWS["ext_compact_rate_bytes"].scale == 1 << 20
    with in_process() as server:
        assert change(server.context.arena, "ext_compact_rate_bytes", 3)
        assert read_live_settings(server.context.arena)["ext_compact_rate_bytes"] == 3 << 20
