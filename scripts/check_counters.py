"""Checks the rows of csrc/*/counters.def: every counter is counted, and by nobody below its room.

What counts is found by reading the text: a C statement that names COUNTER_x or CLASS_x and does
more than read it, or a Python file outside pymc/stats that counts and has the name. That each row
is shown where it says is a test's to prove (tests/unit/stats/test_described.py).
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from csrc import cdef

ROOT = Path(__file__).resolve().parent.parent
METER = "meter"
_ROW = re.compile(r"^(CLASS_)?(COUNTER|GAUGE|PROCESS_GAUGE|PEAK)\((\w+),", re.M)
_NAMED = re.compile(r"\b(COUNTER|CLASS)_([a-z]\w*)\b")
_STORES = r"(SHARED_\w+|racy_write)\(\s*[^,;]*\[\s*{0}\s*\]\s*,"
_PYTHON_COUNTS = re.compile(r"\.count(_for)?\(")


class Row(NamedTuple):
    """One counter: the name that C uses, the room that has its row, and the row's line."""

    c_name: str
    room: str
    line: int

    @property
    def place(self) -> str:
        """Where the row stands, for messages."""
        return f"csrc/{self.room}/counters.def:{self.line}"


def read_rows(csrc: Path) -> list[Row]:
    """The rows of all rooms."""
    rows = []
    for table in sorted(csrc.glob("*/counters.def")):
        text = table.read_text()
        for found in _ROW.finditer(text):
            prefix = "CLASS" if found.group(1) else "COUNTER"
            line = text.count("\n", 0, found.start()) + 1
            rows.append(Row(f"{prefix}_{found.group(3)}", table.parent.name, line))
    return rows


def counted_in_c(csrc: Path) -> Iterator[tuple[str, Path]]:
    """Every name of a counter in a statement that counts, and the file of the statement."""
    for source in cdef.room_files(csrc, "*.[ch]"):
        if cdef.room_of(csrc, source) == METER:
            continue
        for statement in cdef.strip_comments(source.read_text()).split(";"):
            for found in _NAMED.finditer(statement):
                name = found.group()
                is_indexed = re.search(rf"\[\s*{name}\s*\](?!\s*=)", statement)
                if not is_indexed or re.search(_STORES.format(name), statement):
                    yield name, source


def counted_in_python(package: Path) -> set[str]:
    """The words in quotes of the Python files that count."""
    words: set[str] = set()
    for source in sorted(package.rglob("*.py")):
        text = source.read_text()
        if source.parent.name != "stats" and _PYTHON_COUNTS.search(text):
            words.update(re.findall(r'"([a-z]\w*)"', text))
    return words


def violations(csrc: Path, package: Path) -> list[str]:
    """Rows that nobody counts, rows above a room that counts them, names with two rows."""
    levels = cdef.read_layers(csrc / "LAYERS")
    level_of = {room: level for level, rooms in enumerate(levels) for room in rooms}
    rows = read_rows(csrc)
    row_of = {row.c_name: row for row in rows}
    found = [f"{row.place}: {row.c_name} has two rows" for row in rows if row_of[row.c_name] != row]
    counted = {f"COUNTER_{word}" for word in counted_in_python(package)}
    for name, source in counted_in_c(csrc):
        counted.add(name)
        row, room = row_of.get(name), cdef.room_of(csrc, source)
        if row and row.room != room and level_of[row.room] >= level_of[room]:
            place = f"csrc/{source.relative_to(csrc)}"
            found.append(
                f"{row.place}: {name} is counted in {place}, which does not see {row.room}"
            )
    found += [
        f"{row.place}: nobody counts {row.c_name}" for row in rows if row.c_name not in counted
    ]
    return sorted(set(found))


def main() -> int:
    """Prints the violations; exits 1 if there are any."""
    found = violations(ROOT / "csrc", ROOT / "pymc")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
