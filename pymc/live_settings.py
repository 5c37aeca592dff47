"""Settings in the arena, where all processes see a change at once, by their own names and units."""

from typing import Any

from pymc.config import DEFAULTS, ROWS, SHARED_ROWS, Settings
from pymc.config.row import ANY
from pymc.core.arena import Arena


def write_live_settings(arena: Arena, settings: Settings) -> None:
    """Puts what the command line said into a fresh arena."""
    for name, shared in SHARED_ROWS.items():
        number = shared.encode(getattr(settings, name), name in settings.given)
        arena.set_live(shared.name_of(name), number)


def read_live_settings(arena: Arena) -> dict[str, Any]:
    """The present values, where the arena says them as a whole."""
    return {
        name: type(DEFAULTS[name])(shared.decode(arena.live(shared.name_of(name))))
        for name, shared in SHARED_ROWS.items()
        if shared.decode
    }


def may_be(name: str, value: Any) -> bool:
    """Whether a command may set the setting to the value, given in the command line's unit."""
    low, high = bounds = ROWS[name].live_bounds
    # ANY takes what is no number as well, as memcached does.
    return bounds is ANY or low <= value <= high


def change(arena: Arena, name: str, value: Any) -> bool:
    """Sets a setting for all processes; returns False, with nothing changed, out of its bounds.

    The value is as the command line would give it, in that unit.
    """
    row, shared = ROWS[name], SHARED_ROWS[name]
    if not may_be(name, value):
        return False
    given = value * row.scale if row.scale > 1 else value
    arena.set_live(shared.name_of(name), shared.encode(given, True))
    return True
