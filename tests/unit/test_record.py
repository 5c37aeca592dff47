"""Records behave as frozen dataclasses with slots do."""

from typing import Any

import pytest

from pymc.record import Record, about, declared, defaults_of, replace


class Point(Record):
    """Two fields, one with a default."""

    x: int
    y: int = declared(7, "height")

    @property
    def total(self) -> int:
        """Both together."""
        return self.x + self.y


class Named(Point):
    """A field behind those of the class it extends."""

    name: str = "none"


@pytest.mark.parametrize("made", [Point(1, 2), Point(1, y=2), Point(y=2, x=1)])
def test_fields_are_given_in_order_or_by_name(made: Point) -> None:
    assert (made.x, made.y, made.total) == (1, 2, 3)


def test_defaults_stand_in_and_are_inherited() -> None:
    assert Point(1) == Point(1, 7)
    assert repr(Named(1)) == "Named(x=1, y=7, name='none')"
    assert Named(1, 2, "a").name == "a"
    assert defaults_of(Named) == {"y": 7, "name": "none"}
    assert about(Named) == {"y": "height"}


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ((), {}, "Point wants x"),
        ((1, 2, 3), {}, "Point has 2 fields, not 3"),
        ((1,), {"x": 1}, "Point has no room for x"),
        ((1,), {"z": 1}, "Point has no room for z"),
    ],
)
def test_other_arguments_are_errors(
    values: tuple[int, ...], named: dict[str, int], message: str
) -> None:
    made: Any = Point
    with pytest.raises(TypeError, match=message):
        made(*values, **named)


def test_nothing_can_be_changed_or_added() -> None:
    point: Any = Point(1)
    for name in ("x", "z"):
        with pytest.raises(AttributeError):
            setattr(point, name, 2)
    with pytest.raises(AttributeError):
        del point.x
    assert not hasattr(point, "__dict__")
    assert point.x == 1


def test_equal_values_of_one_class_are_equal() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(2, 2)
    assert len({Point(1, 2), Point(1, 2), Point(2, 2)}) == 2
    assert Point(1, 7) != Named(1, 7)
    assert Point(1, 2) != (1, 2)


def test_replace_leaves_the_original() -> None:
    named = Named(1, 2, "a")
    assert replace(named, y=3) == Named(1, 3, "a")
    assert named == Named(1, 2, "a")
    with pytest.raises(TypeError):
        replace(named, z=1)


def test_patterns_take_fields_in_order() -> None:
    match Named(1, 2, "a"):
        case Named(x, 2, name):
            assert (x, name) == (1, "a")
        case _:
            pytest.fail("no pattern fits")
