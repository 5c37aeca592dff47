"""What a server takes of memory in all, and which -m fits into a limit.

The figures are measured ones, rounded up: a container that is a little too large costs less than
one whose processes are killed.
"""

from pymc.record import Record

MEGABYTE = 1 << 20
# Code and data of the interpreter, which all processes share.
_SHARED_BYTES = 14 * MEGABYTE
# What each process has of its own, `stats` asked.
_PROCESS_BYTES = 7 * MEGABYTE // 2
# Supervisor and keeper.
_OTHER_PROCESSES = 2
# Tables beside -m that grow with nothing (ARCHITECTURE.md, "Beside -m").
_BESIDE_BYTES = 2 * MEGABYTE
# Eight bytes of page table for each page that a process has mapped; the supervisor maps few.
_PAGES_PER_TABLE = 512
# The kernel's own for a connection, and the engine's.
_CONNECTION_BYTES = 4096
# A worker's memory for reads.
_READS_BYTES = 3 * MEGABYTE
_MACHINE_SHARE = 0.75


class Shape(Record):
    """What besides -m decides how much memory a server takes."""

    workers: int
    connections_max: int
    # 0 without a flash tier.
    flash_buffer_bytes: int = 0


class Footprint(Record):
    """A server's memory, by what it is for."""

    items_bytes: int
    tables_bytes: int
    processes_bytes: int
    connections_bytes: int
    flash_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        parts = (self.tables_bytes, self.processes_bytes, self.connections_bytes, self.flash_bytes)
        return self.items_bytes + sum(parts)

    def __str__(self) -> str:
        """The sum, as a warning shows it."""
        parts = [
            f"{_up(self.items_bytes)} of -m",
            f"{_up(self.tables_bytes)} for tables",
            f"{_up(self.processes_bytes)} for the processes",
            f"{_up(self.connections_bytes)} for the connections of -c",
        ]
        if self.flash_bytes:
            parts.append(f"{_up(self.flash_bytes)} for flash")
        return f"{_up(self.total_bytes)} megabytes ({', '.join(parts)})"


def footprint(limit_bytes: int, shape: Shape) -> Footprint:
    """The memory of a server with this -m that is full and at work."""
    workers = shape.workers
    flash = 2 * shape.flash_buffer_bytes + workers * _READS_BYTES
    return Footprint(
        items_bytes=limit_bytes,
        tables_bytes=_BESIDE_BYTES + (workers + 1) * (limit_bytes // _PAGES_PER_TABLE),
        processes_bytes=_SHARED_BYTES + (workers + _OTHER_PROCESSES) * _PROCESS_BYTES,
        connections_bytes=shape.connections_max * _CONNECTION_BYTES,
        flash_bytes=flash if shape.flash_buffer_bytes else 0,
    )


def limit_that_fits(room_bytes: int, shape: Shape) -> int:
    """The largest -m, in whole megabytes, of a server that takes no more than this; 0 for none."""
    left = room_bytes - footprint(0, shape).total_bytes
    # Each page of items has its entry in the tables of all workers and the keeper.
    megabytes = left * _PAGES_PER_TABLE // (_PAGES_PER_TABLE + shape.workers + 1) // MEGABYTE
    return max(megabytes, 0) * MEGABYTE


def room_bytes(machine_bytes: int, cgroup_bytes: int | None) -> int:
    """What `-m auto` may fill: all of a container, but a machine has other things to do."""
    of_machine = int(machine_bytes * _MACHINE_SHARE)
    return min(of_machine, cgroup_bytes) if cgroup_bytes else of_machine


def shortage(limit_bytes: int, shape: Shape, cgroup_bytes: int | None) -> str:
    """A line for the log when the memory cgroup does not hold what -m needs; "" otherwise."""
    needed = footprint(limit_bytes, shape)
    if cgroup_bytes is None or needed.total_bytes <= cgroup_bytes:
        return ""
    return (
        f"warning: -m {limit_bytes // MEGABYTE} takes up to {needed}, but the memory cgroup allows"
        f" {cgroup_bytes // MEGABYTE}: {advice(limit_bytes, shape, cgroup_bytes)}"
    )


def advice(limit_bytes: int, shape: Shape, cgroup_bytes: int) -> str:
    """What to change so that the server fits into its container."""
    raised = _up(max(footprint(limit_bytes, shape).total_bytes, cgroup_bytes + MEGABYTE))
    fits = limit_that_fits(cgroup_bytes, shape) // MEGABYTE
    lowered = f" or lower -m to {fits}" if fits else ""
    return f"raise the container's memory to {raised} megabytes{lowered}"


def _up(byte_count: int) -> int:
    return -(-byte_count // MEGABYTE)
