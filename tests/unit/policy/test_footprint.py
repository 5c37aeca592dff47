"""What a server takes in all, and which -m fits into a container."""

import pytest

from pymc.policy.footprint import (
    MEGABYTE,
    Shape,
    advice,
    footprint,
    limit_that_fits,
    room_bytes,
    shortage,
)

FOUR = Shape(workers=4, connections_max=1024)
WITH_FLASH = Shape(workers=4, connections_max=1024, flash_buffer_bytes=4 * MEGABYTE)
SHAPES = [FOUR, WITH_FLASH, Shape(workers=1, connections_max=10), Shape(64, 100_000)]


def test_the_parts_of_a_sum() -> None:
    parts = footprint(1024 * MEGABYTE, FOUR)
    assert str(parts) == (
        "1075 megabytes (1024 of -m, 12 for tables, 35 for the processes,"
        " 4 for the connections of -c)"
    )
    with_flash = footprint(1024 * MEGABYTE, WITH_FLASH)
    assert with_flash.total_bytes - parts.total_bytes == (8 + 12) * MEGABYTE
    assert str(with_flash).endswith(", 20 for flash)")


def test_everything_costs_something() -> None:
    least = footprint(64 * MEGABYTE, Shape(workers=1, connections_max=10)).total_bytes
    assert footprint(64 * MEGABYTE, Shape(2, 10)).total_bytes > least + 3 * MEGABYTE
    assert footprint(64 * MEGABYTE, Shape(1, 1010)).total_bytes == least + 1000 * 4096


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("room", [300, 512, 1000, 65_536])
def test_the_largest_that_fits(shape: Shape, room: int) -> None:
    fits = limit_that_fits(room * MEGABYTE, shape)
    assert fits % MEGABYTE == 0
    if fits:
        assert footprint(fits, shape).total_bytes <= room * MEGABYTE
    # Two: dividing whole numbers may lose one.
    assert footprint(fits + 2 * MEGABYTE, shape).total_bytes > room * MEGABYTE


def test_a_container_without_room_fits_nothing() -> None:
    assert limit_that_fits(20 * MEGABYTE, FOUR) == 0
    assert advice(64 * MEGABYTE, FOUR, 20 * MEGABYTE) == (
        "raise the container's memory to 106 megabytes"
    )


@pytest.mark.parametrize(
    ("machine", "cgroup", "room"),
    [(1000, None, 750), (1000, 500, 500), (1000, 900, 750), (1000, 4000, 750)],
)
def test_auto_fills_a_container_but_not_a_machine(
    machine: int, cgroup: int | None, room: int
) -> None:
    allowed = cgroup and cgroup * MEGABYTE
    assert room_bytes(machine * MEGABYTE, allowed) == room * MEGABYTE


def test_a_shortage_is_said_with_its_sum() -> None:
    assert shortage(64 * MEGABYTE, FOUR, None) == ""
    assert shortage(64 * MEGABYTE, FOUR, footprint(64 * MEGABYTE, FOUR).total_bytes) == ""
    assert shortage(64 * MEGABYTE, FOUR, 77 * MEGABYTE) == (
        "warning: -m 64 takes up to 106 megabytes (64 of -m, 3 for tables, 35 for the processes,"
        " 4 for the connections of -c), but the memory cgroup allows 77:"
        " raise the container's memory to 106 megabytes or lower -m to 35"
    )


def test_where_the_sum_was_too_low_more_than_there_is_is_advised() -> None:
    assert advice(64 * MEGABYTE, FOUR, 400 * MEGABYTE).startswith(
        "raise the container's memory to 401 megabytes"
    )
