"""Checks that the C rooms include only what lies below them, as csrc/LAYERS says.

A header `x_internal.h` is its room's own: files of other rooms include it neither directly nor by
way of another header. The tables of counters are the exception: the meter reads those of all rooms,
and nobody else reads another room's. The Python rooms' order is in pyproject.toml, where
import-linter reads it.
"""

import sys
from pathlib import Path

from csrc import cdef

ROOT = Path(__file__).resolve().parent.parent
COUNTERS = "counters.def"
METER = "meter"
# What csrc/build_core.py makes; it belongs to no room.
GENERATED = {"generated/live.def"}


def violations(csrc: Path) -> list[str]:
    """Every include that goes up, sideways, nowhere or inside another room.

    Each is one line `file:line: what is wrong`.
    """
    csrc = csrc.resolve()
    levels = cdef.read_layers(csrc / "LAYERS")
    level_of = {room: level for level, rooms in enumerate(levels) for room in rooms}
    found = []
    for source in [*cdef.room_files(csrc, "*.[ch]"), *cdef.room_files(csrc, "*.def")]:
        room = cdef.room_of(csrc, source)
        if room not in level_of:
            found.append(f"csrc/{room}:1: this room has no line in csrc/LAYERS")
            continue
        for number, name in cdef.quoted_includes(source):
            if name in GENERATED:
                continue
            place = f"csrc/{source.relative_to(csrc)}:{number}"
            target = cdef.resolve_include(csrc, source, name)
            if target is None:
                found.append(f"{place}: {name} is no file below csrc")
                continue
            other = cdef.room_of(csrc, target)
            if target.name == COUNTERS and other != room:
                if room != METER:
                    found.append(f"{place}: {name} is read by the meter and by {other} only")
            elif other != room and level_of[other] >= level_of[room]:
                relation = "beside" if level_of[other] == level_of[room] else "above"
                found.append(f"{place}: {room} includes {name}, but {other} is {relation} it")
            else:
                found += [
                    f"{place}: {room} sees {header}, which is {header.partition('/')[0]}'s own"
                    for header in _internal_headers(csrc, target, room)
                ]
    return sorted(set(found) | set(forgotten_counters(csrc, levels)))


def forgotten_counters(csrc: Path, levels: list[list[str]]) -> list[str]:
    """Says so when meter/rooms.def does not have the rooms that count, in the order of LAYERS."""
    table = csrc / METER / "rooms.def"
    if not table.exists():
        return []
    order = [room for level in levels for room in level]
    above = order[order.index(METER) + 1 :]
    wanted = [f"{room}/{COUNTERS}" for room in above if (csrc / room / COUNTERS).exists()]
    listed = [name for _, name in cdef.quoted_includes(table)]
    if listed == wanted:
        return []
    return [f"csrc/{METER}/rooms.def:1: the rooms that count are {', '.join(wanted)}"]


def _internal_headers(csrc: Path, header: Path, room: str) -> list[str]:
    """The internal headers of rooms other than `room` that come with `header`, itself included."""
    met: set[Path] = set()
    to_look_at = [header]
    while to_look_at:
        path = to_look_at.pop()
        if path in met:
            continue
        met.add(path)
        targets = (cdef.resolve_include(csrc, path, name) for _, name in cdef.quoted_includes(path))
        to_look_at += [target for target in targets if target is not None]
    return sorted(
        str(path.relative_to(csrc))
        for path in met
        if path.stem.endswith("_internal") and cdef.room_of(csrc, path) != room
    )


def main() -> int:
    """Prints the violations; exits 1 if there are any."""
    found = violations(ROOT / "csrc")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
