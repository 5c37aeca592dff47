"""Numbers as C reads them: each row is a text and what becomes of it."""

import math

import pytest

from pymc.config import c_numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        (" 64", 64),
        ("\t+5x", 5),
        ("-1", -1),
        ("64m", 64),
        ("1.9", 1),
        ("0x10", 0),
        ("junk", 0),
        ("", 0),
        ("- 1", 0),
        ("2147483648", -(2**31)),
        ("4294967296", 0),
        ("99999999999999999999", -1),
        ("-99999999999999999999", 0),
        ("٣", 0),
    ],
)
def test_atoi(text: str, value: int) -> None:
    assert c_numbers.atoi(text) == value
    assert c_numbers.atoi_unsigned(text) == value % 2**32


@pytest.mark.parametrize(
    ("text", "value"), [("700", 0o700), ("0751", 0o751), ("1777", 0o1777), ("79", 7), ("9", 0)]
)
def test_octal(text: str, value: int) -> None:
    assert c_numbers.octal(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.25", 1.25),
        (" 1.25x", 1.25),
        ("1,5", 1.0),
        ("1e5", 1e5),
        ("1e", 1.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-2", -2.0),
        ("junk", 0.0),
        ("", 0.0),
        ("inf", math.inf),
    ],
)
def test_atof(text: str, value: float) -> None:
    assert c_numbers.atof(text) == value


@pytest.mark.parametrize(
    ("text", "unsigned", "signed", "number"),
    [
        ("12", 12, 12, 12.0),
        ("12 ", 12, 12, 12.0),
        ("12 junk", 12, 12, 12.0),
        ("12x", None, None, None),
        ("", None, None, None),
        ("junk", None, None, None),
        ("-1", None, -1, -1.0),
        ("0.5", None, None, 0.5),
        ("4294967296", 0, 0, 4294967296.0),
        ("4294967295", 4294967295, -1, 4294967295.0),
        ("18446744073709551616", None, None, 2.0**64),
        ("9223372036854775808", 0, None, 2.0**63),
    ],
)
def test_whole(text: str, unsigned: int | None, signed: int | None, number: float | None) -> None:
    assert c_numbers.whole_unsigned(text) == unsigned
    assert c_numbers.whole_signed(text) == signed
    assert c_numbers.whole_float(text) == number
