"""How much address space the shared memory gets, on given limits."""

import pytest

from pymc.policy.reservation import (
    MEGABYTE,
    MemoryLimits,
    ReservationError,
    bucket_power,
    limit_bytes_max,
    memory_warnings,
)

GIGABYTE = 1024 * MEGABYTE


def reserve_of(most: int) -> int:
    """Twice the limit and a little."""
    return 2 * most + 100 * MEGABYTE


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        # The least that is too little for what is wanted, and one megabyte less.
        (
            MemoryLimits(100 * GIGABYTE, address_space_bytes=reserve_of(31 * GIGABYTE) - 1),
            31 * GIGABYTE - MEGABYTE,
        ),
        (
            MemoryLimits(
                100 * GIGABYTE, address_space_bytes=reserve_of(31 * GIGABYTE - MEGABYTE) - 1
            ),
            31 * GIGABYTE - 2 * MEGABYTE,
        ),
        (MemoryLimits(24 * GIGABYTE), 24 * GIGABYTE),
        # What is wanted is the end, however much there is.
        (MemoryLimits(100 * GIGABYTE), 31 * GIGABYTE),
        (MemoryLimits(24 * GIGABYTE, cgroup_bytes=2 * GIGABYTE), 2 * GIGABYTE),
        # A cgroup above the machine's memory promises nothing.
        (MemoryLimits(2 * GIGABYTE, cgroup_bytes=24 * GIGABYTE), 2 * GIGABYTE),
        # Never below -m, whatever the machine and the cgroup have.
        (MemoryLimits(32 * MEGABYTE), 64 * MEGABYTE),
        (MemoryLimits(24 * GIGABYTE, cgroup_bytes=32 * MEGABYTE), 64 * MEGABYTE),
        (MemoryLimits(GIGABYTE, address_space_bytes=4 * GIGABYTE), GIGABYTE),
        (MemoryLimits(24 * GIGABYTE, address_space_bytes=4 * GIGABYTE), 1998 * MEGABYTE),
        (MemoryLimits(24 * GIGABYTE, address_space_bytes=reserve_of(64 * MEGABYTE)), 64 * MEGABYTE),
        (
            MemoryLimits(24 * GIGABYTE, address_space_bytes=reserve_of(65 * MEGABYTE)),
            65 * MEGABYTE,
        ),
    ],
)
def test_the_greatest_limit_fits(limits: MemoryLimits, most: int) -> None:
    assert limit_bytes_max(64 * MEGABYTE, 31 * GIGABYTE, limits, reserve_of) == most


def test_what_is_asked_for_need_not_be_whole_megabytes() -> None:
    limits = MemoryLimits(24 * GIGABYTE, address_space_bytes=reserve_of(70 * MEGABYTE))
    most = limit_bytes_max(64 * MEGABYTE + 5, 31 * GIGABYTE, limits, reserve_of)
    assert most == 69 * MEGABYTE + 5


@pytest.mark.parametrize("left", [reserve_of(64 * MEGABYTE) - 1, 0, -5])
def test_no_room_for_the_limit_is_said_in_one_line(left: int) -> None:
    limits = MemoryLimits(24 * GIGABYTE, address_space_bytes=left)
    with pytest.raises(ReservationError) as caught:
        limit_bytes_max(64 * MEGABYTE, 31 * GIGABYTE, limits, reserve_of)
    there = max(left, 0) // MEGABYTE
    assert str(caught.value) == (
        "the limit on address space (ulimit -v) is too low: -m 64 takes 228 megabytes of it,"
        f" {there} are left"
    )


def test_more_than_the_machine_has_gives_a_warning() -> None:
    assert memory_warnings(GIGABYTE, GIGABYTE) == []
    assert memory_warnings(2 * GIGABYTE, GIGABYTE) == [
        "warning: -m 2048 is more than the 1024 megabytes that this machine has"
    ]


@pytest.mark.parametrize(
    ("power", "limit_bytes", "begins_with"),
    [
        (13, 64 * MEGABYTE, 13),
        (17, 64 * MEGABYTE, 17),
        (18, 64 * MEGABYTE, 17),
        (21, 64 * MEGABYTE, 17),
        # Between two powers the lower one is within the eighth.
        (21, 127 * MEGABYTE, 17),
        (21, 128 * MEGABYTE, 18),
        (13, 100, 0),
    ],
)
def test_the_index_begins_with_an_eighth_at_most(
    power: int, limit_bytes: int, begins_with: int
) -> None:
    assert bucket_power(power, limit_bytes, 64) == begins_with
