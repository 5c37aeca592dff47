"""Checks the table of settings against the code: one row per setting, and each row is read.

Names that a user, a script or C knows a setting by belong to one row each. A setting is read by
`live_get(..., LIVE_name)` in C, by `live("name")` in Python, or as `settings.name` outside
pymc/config; what nobody reads has to say in its row why it is accepted.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from pymc.config.features import FEATURES_NOT_BUILT
from pymc.config.row import Row
from pymc.config.settings import BUNDLES, ROWS

ROOT = Path(__file__).resolve().parent.parent
# Reading and writing all of them alike is no use of one.
_NO_READERS = ("pymc/config/", "pymc/live_settings.py")
_IN_C = re.compile(r"\bLIVE_(\w+)")
_READ_IN_C = re.compile(r"\blive_get\([^;]*?\bLIVE_(\w+)")
_FROM_ARENA = re.compile(r"\b(set_)?live\(\s*\"(\w+)\"")
_FROM_SETTINGS = re.compile(r"\bsettings\.(\w+)")
# The enumeration's own names.
_NO_SETTINGS = {"COUNT"}


def said_twice(rows: Mapping[str, Row]) -> Iterator[str]:
    """Names that two rows have."""
    owners: dict[tuple[str, object], set[str]] = defaultdict(set)
    for name, row in rows.items():
        said = {
            "flag": row.flag,
            "long option": row.long,
            "variable": row.env,
            "key of stats settings": row.stats_key,
            "place in stats settings": row.stats_position,
            "name in C": row.shared.name_of(name) if row.shared else "",
        }
        for what, value in said.items():
            if value:
                owners[what, value].add(name)
        for option in row.options:
            owners["suboption", option].add(name)
    for option in BUNDLES:
        owners["suboption", option].add("a bundle")
    for (what, value), names in owners.items():
        if len(names) > 1:
            yield f"{what} {value} belongs to {' and '.join(sorted(names))}"


def not_as_read(rows: Mapping[str, Row], texts: Mapping[str, str]) -> Iterator[str]:
    """Rows that nobody reads, rows that say so and are read, and uses that have no row."""
    shared = {row.shared.name_of(name): name for name, row in rows.items() if row.shared}
    read, uses = _uses(texts)
    for path, used in uses:
        if used not in shared:
            yield f"{path}: no row stands in the arena as {used}"
    acts = {shared.get(name, name) for name in read}
    acts |= {feature.setting for feature in FEATURES_NOT_BUILT}
    for name, row in rows.items():
        if row.idle and name in acts:
            yield f"{name} is read, but its row says that it is idle: {row.idle}"
        if not row.idle and name not in acts:
            yield f"{name} is read nowhere; its row may say in `idle` why it is accepted"
        if row.live and not row.shared:
            yield f"{name} is changed by a command, so it has to be shared"


def _uses(texts: Mapping[str, str]) -> tuple[set[str], list[tuple[str, str]]]:
    """The names that are read, and each use of a name in the arena with its file."""
    read: set[str] = set()
    uses = []
    for path, text in texts.items():
        if path.startswith("csrc/"):
            found = [name for name in _IN_C.findall(text) if name not in _NO_SETTINGS]
            read.update(_READ_IN_C.findall(text))
            uses += [(path, name) for name in found]
        elif not path.startswith(_NO_READERS):
            read.update(_FROM_SETTINGS.findall(text))
            for writes, name in _FROM_ARENA.findall(text):
                uses.append((path, name))
                if not writes:
                    read.add(name)
    return read, uses


def read_texts(root: Path) -> dict[str, str]:
    """The C and Python files of the server."""
    files = [*root.glob("csrc/**/*.[ch]"), *root.glob("pymc/**/*.py")]
    return {str(path.relative_to(root)): path.read_text() for path in sorted(files)}


def findings(rows: Mapping[str, Row], texts: Mapping[str, str]) -> list[str]:
    """All that is wrong, one line each."""
    return [*said_twice(rows), *not_as_read(rows, texts)]


def main() -> int:
    """Prints what is wrong; exits 1 if anything is."""
    found = findings(ROWS, read_texts(ROOT))
    print("".join(f"pymc/config: {line}\n" for line in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
