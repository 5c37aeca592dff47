"""The description of all settings, for whoever shows them."""

from pymc.config import ROWS, Settings
from pymc.config.description import Described, described_settings
from pymc.live_settings import change, read_live_settings
from tests.support.inprocess import in_process


def described(live: dict[str, object], settings: Settings | None = None) -> dict[str, Described]:
    rows = described_settings(settings or Settings(), live)
    assert [row.name for row in rows] == list(ROWS)
    return {row.name: row for row in rows}


def test_all_that_a_row_says() -> None:
    assert described({"verbosity": 1})["verbosity"] == Described(
        name="verbosity",
        value=1,
        default=0,
        unit="",
        help="print errors and warnings; -vv also commands and replies, -vvv also inner states",
        is_live=True,
        is_idle=False,
        bounds=None,
        option="-v",
        stats_key="verbosity",
    )
    rows = described({})
    found = rows["lru_crawler_sleep_us"]
    assert (found.unit, found.bounds) == ("microseconds", (0, 1_000_000))
    assert (found.option, found.stats_key) == ("-o lru_crawler_sleep", "lru_crawler_sleep")
    assert rows["port_file_path"].option == "MEMCACHED_PORT_FILENAME"
    assert rows["temp_lru"].option == ""
    assert rows["hash_expand"].is_idle and not rows["hash_power_start"].is_idle


def test_values_are_those_in_force() -> None:
    with in_process(["-m", "100", "-c", "99"]) as server:
        settings, arena = server.context.settings, server.context.arena
        change(arena, "ext_rescue", "all")
        change(arena, "slab_automove_ratio", 0.5)
        rows = described(read_live_settings(arena), settings)
        shown = {name: (row.value, row.default) for name, row in rows.items()}
        assert shown["memory_limit_bytes"] == (100 << 20, 64 << 20)
        assert shown["connections_max"] == (99, 1024)
        assert shown["ext_rescue"] == ("all", "read")
        assert shown["slab_automove_ratio"] == (0.5, 0.8)
        # What no command changes stays what it was started with, whatever the arena says.
        assert not rows["value_timeout_seconds"].is_live
        arena.set_live("value_timeout_seconds", 7)
        assert described(read_live_settings(arena))["value_timeout_seconds"].value == 60
