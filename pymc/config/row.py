"""What the table of settings knows about each of them besides its name, type and default."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pymc.config.readers import Reader, read_text
from pymc.config.shared import Shared
from pymc.record import Record, declared

T = TypeVar("T")


class _Read:
    """The mark for: the value stands in the command line."""

    def __repr__(self) -> str:
        return "READ"


_NONE: Mapping[str, Any] = MappingProxyType({})
READ: Final = _Read()

Bounds = tuple[float, float]
# For commands that ask less of a value than the command line does.
ANY: Final[Bounds] = (-math.inf, math.inf)


class Live(Record):
    """The command that changes a setting while the server runs, and within which bounds.

    Without `bounds` they are those of the command line.
    """

    command: str
    bounds: Bounds | None = None


class Row(Record):
    """One setting: how it is given, what it means and how `stats settings` shows it.

    `flag` sets `flag_value`; each suboption of `-o` in `options` sets its own value; READ means
    that the reader makes it from the text. The first name in `options` is the one shown in help.
    Its key in `stats settings` is there while the setting named in `shown_with`, if any, is on.
    `also` are other settings that change with this one: name to value, or READ for the same one.
    What stands in the arena, for C or for a process that looks again, is `shared`; of that, what a
    command changes is `live`. What is accepted but changes nothing says in `idle` why.
    """

    help: str = ""
    unit: str = ""
    reader: Reader = read_text
    flag: str = ""
    flag_value: Any = READ
    long: str = ""
    argument: str = ""
    options: Mapping[str, Any] = _NONE
    also: Mapping[str, Any] = _NONE
    env: str = ""
    default_text: str | None = None
    stats_key: str = ""
    stats_position: int = 0
    shown: Callable[[Any], str] | None = None
    shown_with: str = ""
    shared: Shared | None = None
    live: Live | None = None
    idle: str = ""

    @property
    def scale(self) -> int:
        """How many of the setting's units one of the command line's is worth."""
        return int(getattr(self.reader, "scale", 1))

    @property
    def bounds(self) -> Bounds | None:
        """Lowest and highest value the command line may give, in its own unit."""
        low, high = getattr(self.reader, "low", None), getattr(self.reader, "high", None)
        return None if low is None or high is None else (low, high)

    @property
    def live_bounds(self) -> Bounds:
        """Lowest and highest value that the command may give, in the command line's unit."""
        given = self.live.bounds if self.live else None
        return given or self.bounds or ANY


def setting(default: T, help: str = "", *, stats: tuple[str, int] = ("", 0), **row: Any) -> T:
    """Declares a setting in the body of a record: its default and its row.

    `stats` is the key in `stats settings` and its place there; places only order the keys.
    """
    made = Row(help=help, stats_key=stats[0], stats_position=stats[1], **row)
    return declared(default, made)
