"""Checks that the C rooms include only what lies below them, as csrc/LAYERS says.

A header `x_internal.h` is its room's own: files of other rooms include it neither directly nor by
way of another header. The Python rooms' order is in pyproject.toml, where import-linter reads it.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from csrc import cdef

ROOT = Path(__file__).resolve().parent.parent
# What csrc/build_core.py makes; it belongs to no room.
GENERATED = {"generated/live.def"}

# Internal headers that other rooms see until these rooms are divided; none is to be added.
SEEN_FROM_OUTSIDE: tuple[str, ...] = ()


def violations(csrc: Path, seen_from_outside: Iterable[str] = ()) -> list[str]:
    """Every include that goes up, sideways, nowhere or inside another room.

    Each is one line `file:line: what is wrong`. `seen_from_outside` names the internal headers that
    count as open to all rooms.
    """
    csrc = csrc.resolve()
    levels = cdef.read_layers(csrc / "LAYERS")
    level_of = {room: level for level, rooms in enumerate(levels) for room in rooms}
    found = []
    for source in cdef.room_files(csrc, "*.[ch]"):
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
            elif (other := cdef.room_of(csrc, target)) != room and level_of[other] >= level_of[
                room
            ]:
                relation = "beside" if level_of[other] == level_of[room] else "above"
                found.append(f"{place}: {room} includes {name}, but {other} is {relation} it")
            else:
                found += [
                    f"{place}: {room} sees {header}, which is {header.partition('/')[0]}'s own"
                    for header in _internal_headers(csrc, target, room)
                    if header not in seen_from_outside
                ]
    return sorted(set(found))


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
    found = violations(ROOT / "csrc", SEEN_FROM_OUTSIDE)
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
