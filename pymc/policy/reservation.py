"""How much address space the shared memory gets, and what the index may begin with.

Reserving costs no memory, but it meets limits that have nothing to do with `-m`.
"""

from collections.abc import Callable

from pymc.record import Record

MEGABYTE = 1 << 20
# What the index may take of the memory before anything is stored.
INDEX_START_SHARE = 8


class ReservationError(ValueError):
    """A limit does not even leave room for what -m asks for."""


class MemoryLimits(Record):
    """What a process meets when it takes memory; None where there is no limit."""

    machine_bytes: int
    cgroup_bytes: int | None = None
    # What RLIMIT_AS leaves, without what the process has mapped and still needs for itself.
    address_space_bytes: int | None = None

    @property
    def physical_bytes(self) -> int:
        """The memory that can be had at all."""
        return min(self.machine_bytes, self.cgroup_bytes or self.machine_bytes)


def limit_bytes_max(
    limit_bytes: int, wanted_bytes: int, limits: MemoryLimits, reserve_of: Callable[[int], int]
) -> int:
    """How far `cache_memlimit` may raise the limit: `wanted_bytes`, or what fits.

    `reserve_of` tells the address space that a greatest limit takes; it never falls. Nothing above
    the memory that can be had is promised, and never less than `limit_bytes`. Raises
    ReservationError, a line for the user, when not even that can be reserved.
    """
    room = limits.address_space_bytes
    highest = max(limit_bytes, min(wanted_bytes, limits.physical_bytes))
    if room is None or reserve_of(highest) <= room:
        return highest
    needed = reserve_of(limit_bytes)
    if needed > room:
        raise ReservationError(
            f"the limit on address space (ulimit -v) is too low: -m {limit_bytes // MEGABYTE}"
            f" takes {_megabytes_up(needed)} megabytes of it, {max(room, 0) // MEGABYTE} are left"
        )
    # Whole megabytes above the limit, by halving.
    fits, too_much = 0, (highest - limit_bytes) // MEGABYTE + 1
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        if reserve_of(limit_bytes + middle * MEGABYTE) <= room:
            fits = middle
        else:
            too_much = middle
    return limit_bytes + fits * MEGABYTE


def memory_warnings(limit_bytes: int, machine_bytes: int) -> list[str]:
    """Lines for the log when -m is above what can be had."""
    if limit_bytes <= machine_bytes:
        return []
    there = machine_bytes // MEGABYTE
    megabytes = limit_bytes // MEGABYTE
    return [f"warning: -m {megabytes} is more than the {there} megabytes that this machine has"]


def bucket_power(power: int, limit_bytes: int, bucket_bytes: int) -> int:
    """The power of two of buckets to begin with: `power`, unless they take too much of the memory.

    The index grows by itself when items come, so beginning with fewer costs little.
    """
    most = limit_bytes // INDEX_START_SHARE // bucket_bytes
    return max(min(power, most.bit_length() - 1), 0)


def _megabytes_up(byte_count: int) -> int:
    return -(-byte_count // MEGABYTE)
