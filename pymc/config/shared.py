"""How a setting stands in the arena, where C and all processes see it: as one whole number."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from pymc.record import Record

MILLION = 1_000_000
_INT64_MAX = 2**63 - 1

# The number for a value, of which it is also known whether somebody gave it.
Encode = Callable[[Any, bool], int]


def _as_whole(value: Any, is_given: bool) -> int:
    return int(value)


class Shared(Record):
    """What C calls the setting and how its value becomes a number.

    Without a `name` C calls it as the setting is called, with `suffix` behind. Without `decode` the
    number tells less than the value, so it is never read back.
    """

    name: str = ""
    suffix: str = ""
    encode: Encode = _as_whole
    decode: Callable[[int], Any] | None = int

    def name_of(self, setting: str) -> str:
        """What C calls the setting of that name."""
        return self.name or setting + self.suffix


def as_millionths(value: float) -> int:
    """A fraction as the arena keeps it, within its 64 bits."""
    if math.isnan(value):
        return 0
    scaled = max(-float(_INT64_MAX), min(float(_INT64_MAX), value * MILLION))
    return min(round(scaled), _INT64_MAX)


def shared_word(name: str, numbers: Mapping[str, int]) -> Shared:
    """A setting that is one of a few words: the number that stands for each."""
    words = {number: word for word, number in numbers.items()}
    return Shared(name, encode=lambda word, is_given: numbers[word], decode=words.__getitem__)


def shared_as(encode: Encode, name: str = "") -> Shared:
    """A setting of which C only needs what `encode` makes of it."""
    return Shared(name, encode=encode, decode=None)


# The same number in the same unit; no and yes are 0 and 1.
SHARED: Final = Shared()
MILLIONTHS: Final = Shared(
    suffix="_millionths",
    encode=lambda value, is_given: as_millionths(value),
    decode=lambda number: number / MILLION,
)
