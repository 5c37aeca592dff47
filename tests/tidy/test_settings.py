"""The check of the table of settings: a name belongs to one row, and a row is read or idle."""

import pytest

from pymc.config.row import READ, Live, Row
from pymc.config.settings import ROWS
from pymc.config.shared import MILLIONTHS, SHARED, Shared
from scripts import check_settings


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (Row(flag="w", options={"new": READ}, shared=SHARED), ""),
        (Row(flag="q"), "flag q"),
        (Row(long="quick"), "long option quick"),
        (Row(env="QUICK"), "variable QUICK"),
        (Row(options={"other": READ, "quick": READ}), "suboption quick"),
        (Row(options={"modern": READ}), "suboption modern"),
        (Row(stats_key="quickness"), "key of stats settings quickness"),
        (Row(stats_position=7), "place in stats settings 7"),
        (Row(shared=Shared("quick_millionths")), "name in C quick_millionths"),
    ],
)
def test_a_name_belongs_to_one_row(other: Row, complaint: str) -> None:
    row = Row(
        flag="q",
        long="quick",
        env="QUICK",
        options={"quick": READ},
        stats_key="quickness",
        stats_position=7,
        shared=MILLIONTHS,
    )
    found = list(check_settings.said_twice({"quick": row, "other": other}))
    wanted = [f"{complaint} belongs to {'a bundle' if 'modern' in complaint else 'other'} and "]
    assert [line[: len(wanted[0])] for line in found] == (wanted if complaint else [])


READ_AS = [
    ("csrc/lru/lru.c", "live_get(arena, LIVE_quick_millionths)"),
    ("csrc/lru/lru.c", "live_get(engine_arena(engine),\n    LIVE_quick_millionths)"),
    ("pymc/keeper/mover.py", 'self._arena.live("quick_millionths") / MILLION'),
    ("pymc/keeper/mover.py", "server.settings.quick > 0.5"),
]


@pytest.mark.parametrize(("path", "text"), READ_AS)
def test_what_is_read_is_not_idle(path: str, text: str) -> None:
    rows = {"quick": Row(shared=MILLIONTHS)}
    assert list(check_settings.not_as_read(rows, {path: text})) == []
    idle = {"quick": Row(shared=MILLIONTHS, idle="there is no other speed")}
    assert list(check_settings.not_as_read(idle, {path: text})) == [
        "quick is read, but its row says that it is idle: there is no other speed"
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pymc/control/queues.py", 'arena.set_live("quick_millionths", 5)'),
        ("pymc/config/checks.py", "if settings.quick > 80:"),
        ("pymc/live_settings.py", "settings.quick"),
        ("csrc/lru/lru.c", "lru->quick_millionths"),
        ("csrc/lru/lru.c", "SHARED_STORE(header->live[LIVE_quick_millionths], 5);"),
    ],
)
def test_what_nobody_reads_says_so(path: str, text: str) -> None:
    rows = {"quick": Row(shared=MILLIONTHS)}
    assert list(check_settings.not_as_read(rows, {path: text})) == [
        "quick is read nowhere; its row may say in `idle` why it is accepted"
    ]
    idle = {"quick": Row(shared=MILLIONTHS, idle="there is no other speed")}
    assert list(check_settings.not_as_read(idle, {path: text})) == []


@pytest.mark.parametrize("text", ['arena.live("quick")', 'arena.set_live("quick", 1)'])
def test_what_has_no_row(text: str) -> None:
    rows = {"quick": Row(shared=MILLIONTHS, idle="there is no other speed")}
    found = list(check_settings.not_as_read(rows, {"pymc/keeper/mover.py": text}))
    assert found[0] == "pymc/keeper/mover.py: no row stands in the arena as quick"


def test_what_a_command_changes_is_shared() -> None:
    rows = {"quick": Row(live=Live("quick"), idle="there is no other speed")}
    assert list(check_settings.not_as_read(rows, {})) == [
        "quick is changed by a command, so it has to be shared"
    ]


def test_the_table_is_as_the_code_reads_it() -> None:
    assert check_settings.findings(ROWS, check_settings.read_texts(check_settings.ROOT)) == []
