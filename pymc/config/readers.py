"""How the text of an option becomes a setting's value, with memcached's words for what is wrong.

A reader is called with the option's name, its text (None: the option came without `=value`) and
the settings read so far; it returns the new value or raises StartupError.
"""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pymc.config import c_numbers
from pymc.config.errors import EXIT_FAILURE, EXIT_USAGE, StartupError, nearest
from pymc.record import Record

Reader = Callable[[str, str | None, Mapping[str, Any]], Any]

ABOVE_ZERO = math.ulp(0.0)
ABOVE_ONE = math.nextafter(1.0, 2.0)
FLOAT_MAX = sys.float_info.max
KILOBYTE = 1024
MEGABYTE = 1024 * 1024
_SAID_BELOW = 2**31 - 1
# The value of `-m auto`, until the machine is looked at.
MEMORY_AUTO = -1


class Number(Record):
    """Reads a number with bounds, in units of `scale` of the setting's own unit.

    Messages may name {name} and {value}. `above` is said when only the upper bound is broken;
    without it `outside` is said for both.
    """

    parse: Callable[[str], float | None]
    low: float = -FLOAT_MAX
    high: float = FLOAT_MAX
    scale: int = 1
    missing: str = "Missing {name} argument"
    bad: str = "could not parse argument to {name}"
    outside: str = "{name} is out of range"
    above: str = ""

    def __call__(self, name: str, text: str | None, now: Mapping[str, Any]) -> float:
        """The value in the setting's own unit."""
        if text is None:
            raise StartupError(self.missing.format(name=name))
        value = self.parse(text)
        if value is None:
            raise StartupError(self.bad.format(name=name))
        if not self.low <= value <= self.high:
            is_above = bool(self.above) and value > self.high
            message = self.above if is_above else self.outside
            allowed = f"{name} takes {self._allowed()}, not {value:g}"
            raise StartupError(message.format(name=name, value=value), hint=allowed)
        return value * self.scale

    def _allowed(self) -> str:
        above = {ABOVE_ZERO: "more than 0", ABOVE_ONE: "more than 1"}.get(self.low)
        # What no option can be above need not be said.
        if self.high >= _SAID_BELOW:
            return above or f"{self.low:g} or more"
        return f"{above or f'{self.low:g}'} to {self.high:g}"


class NumberOrWord(Record):
    """Reads one of a few words, whatever their case, or else a number as Number does."""

    parse: Callable[[str], float | None]
    words: Mapping[str, int]

    def __call__(self, name: str, text: str | None, now: Mapping[str, Any]) -> float:
        """The number, or the one that the word stands for."""
        if text is not None and text.upper() in self.words:
            return self.words[text.upper()]
        return Number(self.parse)(name, text, now)


class Level(Record):
    """Reads a level from `low` to `high`; without a value it is 1, switched on."""

    low: int
    high: int

    def __call__(self, name: str, text: str | None, now: Mapping[str, Any]) -> int:
        """The level."""
        value = 1 if text is None else c_numbers.atoi(text)
        if not self.low <= value <= self.high:
            raise StartupError(f"{name} must be between {self.low} and {self.high}")
        return value


class Megabytes(Record):
    """Reads the memory limit; `scale` as in Number, `word` is what may stand for MEMORY_AUTO."""

    scale: int = MEGABYTE
    word: str = "auto"

    def __call__(self, name: str, text: str | None, now: Mapping[str, Any]) -> int:
        """Bytes; a negative number wraps as in memcached and is then far too large."""
        if text == self.word:
            return MEMORY_AUTO
        return c_numbers.atoi(text or "") * self.scale % 2**64


class Choice(Record):
    """Reads one of a few words and returns what the word stands for."""

    values: Mapping[str, str]
    bad: str
    exit_code: int = EXIT_FAILURE

    def __call__(self, name: str, text: str | None, now: Mapping[str, Any]) -> str:
        """The value that belongs to the word."""
        if text is None:
            raise StartupError(f"Missing {name} argument")
        if text not in self.values:
            hint = nearest(text.lower(), self.values)
            raise StartupError(self.bad.format(value=text), self.exit_code, hint)
        return self.values[text]


def is_read_in_part(reader: Reader, text: str) -> bool:
    """Whether a reader that takes the number at the start of a text leaves some of this one."""
    if isinstance(reader, Number):
        return not c_numbers.is_used_up(text, reader.parse)
    if reader is read_item_size:
        text = text[:-1] if text[-1:].lower() in ("k", "m") else text
    elif not isinstance(reader, Level | Megabytes) or text == getattr(reader, "word", None):
        return False
    return not c_numbers.is_used_up(text, c_numbers.atoi)


def shown_amount(value: float, unit: str) -> str:
    """A value as a warning names it."""
    if unit != "bytes":
        return f"{value} {unit}".rstrip()
    for size, name in ((MEGABYTE, "MiB"), (KILOBYTE, "KiB")):
        if value and value % size == 0:
            return f"{value // size} {name}"
    return f"{value} bytes"


def read_text(name: str, text: str | None, now: Mapping[str, Any]) -> str:
    """The text itself: a path, a user, a list of ciphers."""
    if text is None:
        raise StartupError(f"Missing {name} argument")
    return text


def read_first_char(name: str, text: str | None, now: Mapping[str, Any]) -> str:
    """The first character, for `-D`."""
    if not text:
        raise StartupError("No delimiter specified")
    return text[0]


def read_item_size(name: str, text: str | None, now: Mapping[str, Any]) -> int:
    """Bytes, or kilobytes or megabytes with a last letter k or m; the bounds are checked later."""
    text = text or ""
    unit = {"k": KILOBYTE, "m": MEGABYTE}.get(text[-1:].lower(), 1)
    return c_numbers.atoi(text[:-1] if unit > 1 else text) * unit


def read_one_more(name: str, text: str | None, now: Mapping[str, Any]) -> int:
    """The verbosity, raised by one for each `v`."""
    return int(now["verbosity"]) + 1


def read_listen(name: str, text: str | None, now: Mapping[str, Any]) -> tuple[str, ...]:
    """One more `-l`, as written; a repeated one counts once."""
    before: tuple[str, ...] = now["listen"]
    return before if text in before else (*before, text or "")


class Names(Record):
    """Reads names; words behind a comma of `-o` belong to them until one has a value.

    `setting` has those that were read before.
    """

    setting: str

    def __call__(self, name: str, text: str | None, now: Mapping[str, Any]) -> tuple[str, ...]:
        """Those that were given so far, each once."""
        if not text:
            raise StartupError(f"Missing {name} argument")
        before: tuple[str, ...] = now[self.setting]
        return before if text in before else (*before, text)


def read_slab_sizes(name: str, text: str | None, now: Mapping[str, Any]) -> tuple[int, ...]:
    """Chunk sizes as numbers, -1 for what is no number; checked when all settings are known."""
    if text is None:
        raise StartupError(f"Missing {name} argument")
    if not text:
        raise StartupError("slab_sizes needs at least one size", EXIT_USAGE)
    numbers = [c_numbers.whole_unsigned(word) for word in text.split("-") if word]
    return tuple(-1 if number is None else number for number in numbers)
