"""Numbers read the way C's atoi, strtol and strtod read them: scripts rely on what junk becomes."""

import re
from collections.abc import Callable
from typing import NamedTuple

_SPACES = " \t\n\v\f\r"
_INTEGER = {10: re.compile(r"[+-]?[0-9]+"), 8: re.compile(r"[+-]?[0-7]+")}
_DECIMAL = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.I | re.A)
_LONG_MAX = 2**63 - 1
_ULONG_MAX = 2**64 - 1


class Prefix(NamedTuple):
    """A number at the start of a text, and what follows it."""

    value: int
    rest: str


def integer_prefix(text: str, base: int = 10) -> Prefix | None:
    """The integer at the start of `text` after white space, of any size; None without a digit."""
    text = text.lstrip(_SPACES)
    found = _INTEGER[base].match(text)
    return Prefix(int(found.group(), base), text[found.end() :]) if found else None


def atoi(text: str) -> int:
    """As C's atoi: 0 without a number, 64-bit limits, then cut to a signed 32-bit integer."""
    found = integer_prefix(text)
    value = max(-_LONG_MAX - 1, min(_LONG_MAX, found.value)) if found else 0
    return (value + 2**31) % 2**32 - 2**31


def atoi_unsigned(text: str) -> int:
    """As atoi assigned to an unsigned 32-bit variable."""
    return atoi(text) % 2**32


def octal(text: str) -> int:
    """As strtol(text, NULL, 8): 0 without an octal digit."""
    found = integer_prefix(text, 8)
    return atoi(str(found.value)) if found else 0


def atof(text: str) -> float:
    """As C's atof (without hexadecimal): 0.0 when no number comes first."""
    found = _DECIMAL.match(text.lstrip(_SPACES))
    return float(found.group()) if found else 0.0


def whole_unsigned(text: str) -> int | None:
    """A number followed by white space or the end, cut to 32 bits; None when it is not one.

    Minus signs are refused unless the 64-bit result looks positive, as memcached does.
    """
    found = integer_prefix(text)
    if found is None or not _ends(found.rest) or abs(found.value) > _ULONG_MAX:
        return None
    value = found.value % 2**64
    return None if value > _LONG_MAX and "-" in text else value % 2**32


def whole_signed(text: str) -> int | None:
    """As whole_unsigned for a signed 32-bit integer."""
    found = integer_prefix(text)
    if found is None or not _ends(found.rest) or not -_LONG_MAX - 1 <= found.value <= _LONG_MAX:
        return None
    return (found.value + 2**31) % 2**32 - 2**31


def whole_float(text: str) -> float | None:
    """A floating point number followed by white space or the end; None when it is not one."""
    text = text.lstrip(_SPACES)
    found = _DECIMAL.match(text)
    return float(found.group()) if found and _ends(text[found.end() :]) else None


def is_used_up(text: str, parse: Callable[[str], object]) -> bool:
    """Whether the text is a number as a whole for one of the readers above, and fits."""
    text = text.lstrip(_SPACES)
    if parse is atof or parse is whole_float:
        found = _DECIMAL.match(text)
        return found is not None and not text[found.end() :].strip(_SPACES)
    integer = integer_prefix(text, 8 if parse is octal else 10)
    if integer is None or integer.rest.strip(_SPACES):
        return False
    return -(2**31) <= integer.value < (2**31 if parse is atoi else 2**64)


def _ends(rest: str) -> bool:
    return not rest or rest[0] in _SPACES
