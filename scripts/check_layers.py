"""Checks that the C rooms include only what lies below them, as csrc/LAYERS says.

The Python rooms' order is in pyproject.toml, where import-linter reads it.
"""

import sys
from pathlib import Path

from csrc import cdef

ROOT = Path(__file__).resolve().parent.parent


def violations(csrc: Path) -> list[str]:
    """Every include that goes up, sideways or nowhere, as `file:line: what is wrong`."""
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
            place = f"csrc/{source.relative_to(csrc)}:{number}"
            target = cdef.resolve_include(csrc, source, name)
            if target is None:
                found.append(f"{place}: {name} is no file below csrc")
            elif (other := cdef.room_of(csrc, target)) != room and level_of[other] >= level_of[
                room
            ]:
                relation = "beside" if level_of[other] == level_of[room] else "above"
                found.append(f"{place}: {room} includes {name}, but {other} is {relation} it")
    return sorted(set(found))


def main() -> int:
    """Prints the violations; exits 1 if there are any."""
    found = violations(ROOT / "csrc")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
