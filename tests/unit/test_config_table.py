"""The table of settings: every row makes sense by itself and beside the others."""

import string
from typing import Any

import pytest

from pymc.config import LIVE, ROWS, Settings
from pymc.config.row import READ
from pymc.config.settings import BUNDLES, DEFAULTS, OPTIONS

DERIVED = {"program", "listeners", "udp_listeners", "given", "warnings"}
UNITS = {"bytes": "_bytes", "seconds": "_seconds", "microseconds": "_us", "pages": "_pages"}


def test_every_setting_has_a_row() -> None:
    assert set(Settings.__match_args__) - set(ROWS) == DERIVED


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 5  # type: ignore[misc]
    assert not hasattr(Settings(), "__dict__")


def test_suboptions_belong_to_one_setting() -> None:
    assert len(OPTIONS) == sum(len(row.options) for row in ROWS.values())
    assert not set(OPTIONS) & set(BUNDLES)
    assert all(set(changes) <= set(ROWS) for changes in BUNDLES.values())


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    row = ROWS[name]
    default: Any = DEFAULTS[name]
    assert row.help or not (row.flag or row.options), "what can be given is explained"
    assert row.flag == "" or row.flag in string.ascii_letters
    assert set(row.also) <= set(ROWS)
    if row.unit in UNITS and name != "slab_sizes":
        assert UNITS[row.unit] in name, "units are part of the name"
    for value in row.options.values():
        assert value is READ or type(value) is type(default)
    if row.bounds and default:
        low, high = row.bounds
        assert low <= default / row.scale <= high
    assert row.shown_with in ("", *ROWS)
    if row.live:
        assert row.shared and row.shared.decode
        assert row.stats_key
    if row.shared and row.shared.decode:
        assert row.shared.decode(row.shared.encode(default, False)) == default
    if row.default_text and row.default_text[0].isdigit() and row.default_text.isalnum():
        assert row.reader(name, row.default_text, DEFAULTS) == default


def test_settings_that_commands_change_are_live() -> None:
    assert {"memory_limit_bytes", "verbosity", "slab_automove", "hot_lru_percent"} <= LIVE
    assert not {"port", "workers", "slab_chunk_max_bytes"} & LIVE
