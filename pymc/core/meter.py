"""What C counts: the names of all counters in the order of C's numbers, and their rows."""

from collections.abc import Iterator
from typing import Any

from pymc.core.ffi import lib, text
from pymc.record import Record

COUNTER_NAMES: tuple[str, ...] = tuple(
    text(lib.meter_row(i).name) for i in range(lib.meter_count())
)
COUNTER_INDEX = {name: index for index, name in enumerate(COUNTER_NAMES)}
CLASS_COUNTER_NAMES: tuple[str, ...] = tuple(
    text(lib.meter_class_row(i).name) for i in range(lib.meter_class_count())
)


class CounterRow(Record):
    """One row of a counters.def; csrc/meter/README.md says what the columns mean."""

    name: str
    # counter: only rises; gauge: goes down again, and `stats reset` leaves it alone.
    kind: str
    unit: str
    shown: tuple[str, ...]
    help: str


def counter_rows() -> Iterator[CounterRow]:
    """The rows of what is counted per process. They are read from C each time: few ask."""
    return (_row(lib.meter_row(i)) for i in range(len(COUNTER_NAMES)))


def class_counter_rows() -> Iterator[CounterRow]:
    """The rows of what is counted per process and slab class."""
    return (_row(lib.meter_class_row(i)) for i in range(len(CLASS_COUNTER_NAMES)))


def _row(row: Any) -> CounterRow:
    kind = "counter" if row.kind == lib.METER_COUNTER else "gauge"
    return CounterRow(
        text(row.name), kind, text(row.unit), tuple(text(row.shown).split()), text(row.help)
    )
