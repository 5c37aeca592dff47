"""The table of settings for those who show it: what each one means, its default and its value."""

from collections.abc import Mapping
from typing import Any

from pymc.config.row import Bounds
from pymc.config.settings import DEFAULTS, ROWS, Settings
from pymc.record import Record


class Described(Record):
    """One setting. `value` and `default` are in `unit`; `bounds` are for the command line."""

    name: str
    value: Any
    default: Any
    unit: str
    # What `option` does, as -h says it: for some, such as -M, that turns the setting off.
    help: str
    # Whether a command can change it while the server runs, and whether it changes anything at all.
    is_live: bool
    is_idle: bool
    bounds: Bounds | None
    # As `-m`, `-o ext_path` or the name of a variable; "" for what follows from other settings.
    option: str
    stats_key: str


def described_settings(settings: Settings, live: Mapping[str, Any]) -> list[Described]:
    """Every setting, in the order of the table.

    `live` holds present values by the settings' names, as read_live_settings() gives them; what is
    missing there is as it was at the start.
    """
    return [_described(name, settings, live) for name in ROWS]


def _described(name: str, settings: Settings, live: Mapping[str, Any]) -> Described:
    row = ROWS[name]
    option = f"-{row.flag}" if row.flag else row.env
    if row.options:
        option = f"-o {next(iter(row.options))}"
    at_start = getattr(settings, name)
    return Described(
        name=name,
        value=live.get(name, at_start) if row.live else at_start,
        default=DEFAULTS[name],
        unit=row.unit,
        help=row.help,
        is_live=row.live is not None,
        is_idle=bool(row.idle),
        bounds=row.bounds,
        option=option,
        stats_key=row.stats_key,
    )
