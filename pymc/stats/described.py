"""What each line of the reports says, for whoever shows them in another form: name, unit, help."""

from collections.abc import Iterator
from typing import NamedTuple

from pymc.core.meter import CounterRow, class_counter_rows, counter_rows
from pymc.stats.classes import ITEMS, SLABS
from pymc.stats.flash import EXTSTORE
from pymc.stats.general import GENERAL
from pymc.stats.own import OWN
from pymc.stats.report import read_table
from pymc.stats.tls import TLS

# The words behind `stats`; the report without one is called after the command.
TABLES = {
    "stats": GENERAL,
    "items": ITEMS,
    "slabs": SLABS,
    "extstore": EXTSTORE,
    "tls": TLS,
    "pymc": OWN,
}


class Described(NamedTuple):
    """One line of a report; where the key has a {label} there are several."""

    report: str
    key: str
    # counter: only rises; gauge: rises and falls; text: no number.
    kind: str
    unit: str
    help: str
    # The counter that the line shows; nothing when it is made of others.
    counter: str


def describe() -> Iterator[Described]:
    """All lines of all tables, in their order."""
    per_process = {row.name: row for row in counter_rows()}
    per_class = {row.name: row for row in class_counter_rows()}
    for report, table in TABLES.items():
        # Both have some names in common, as evicted_unfetched's sum over all classes.
        rows = per_class if report in ("items", "slabs") else per_class | per_process
        for line in read_table(table, report):
            if line.kind:
                yield Described(report, line.key, line.kind, line.unit, line.help, "")
            else:
                yield _described(report, line.key, rows[line.source])


def _described(report: str, key: str, row: CounterRow) -> Described:
    return Described(report, key, row.kind, row.unit, row.help, row.name)
