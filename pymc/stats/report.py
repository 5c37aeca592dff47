"""Reports of `stats` as tables: the key of each line, where its value comes from, what it says.

A table is a text with a row for each line, in the order of the report:

    key                        a counter; its kind, unit and help stand in its counters.def
    key=name                   the value has another name than the key
    key kind unit help         a value that is made of others; kind is counter, gauge or text
    key?condition              the line is only there where the condition holds
    worker_{worker}_pid        there is one for each worker; the value's name is what follows
    ...                        the counters whose rows name this report and that have no row here

As text it costs a worker nothing until it is asked: no worker has objects of its own for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import NamedTuple

from pymc.core.meter import counter_rows

Values = Mapping[str, object]
# What a label stands for, one after the other: what is put in its place, and the values.
Group = Iterable[tuple[object, Values]]
# A label, and the lines that stand together under it.
Templates = tuple[tuple[str, str], ...]

OTHERS = "..."
# Counters of flash and TLS say so in their names, but not in a report that is about nothing else.
_PREFIXES = {"extstore": "ext_", "tls": "tls_"}


class Line(NamedTuple):
    """One line of a report. Without a kind `source` is a counter, whose row has the rest."""

    key: str
    source: str
    condition: str
    kind: str
    unit: str
    help: str

    @property
    def label(self) -> str:
        """What stands in braces in the key; nothing if there is one such line only."""
        return self.key.partition("{")[2].partition("}")[0]


def read_table(table: str, report: str) -> Iterator[Line]:
    """The lines of a table. Raises ValueError for a row that is neither bare nor whole.

    One at a time: a worker that makes a template needs no memory for all of them.
    """
    for row in table.strip().splitlines():
        if row == OTHERS:
            yield from (Line(*other, "", "", "", "") for other in _others(table, report))
            continue
        head, *about = row.split(None, 3)
        key, source, condition = _parse_head(head)
        kind, unit, help_text = about or ("", "", "")
        yield Line(key, source, condition, kind, unit, help_text)


def _parse_head(head: str) -> tuple[str, str, str]:
    """The key, the name of its value, and the condition."""
    name, _, condition = head.partition("?")
    key, _, source = name.partition("=")
    # Behind a label and the sign that parts it from the rest.
    rest = key.rpartition("}")[2][1:] if "}" in key else key
    return key, source or rest, condition


@cache
def _others(table: str, report: str) -> tuple[tuple[str, str], ...]:
    """The keys and names of the counters that the report shows and the table does not name."""
    named = {_parse_head(row.split(None, 1)[0])[1] for row in table.strip().splitlines()}
    return tuple(
        (row.name.removeprefix(_PREFIXES.get(report, "")), row.name)
        for row in counter_rows()
        if report in row.shown and row.name not in named
    )


@cache
def templates(table: str, report: str, conditions: tuple[str, ...] = ()) -> Templates:
    """The lines that stand together under one label, or under none, to be filled in with `%`.

    Filling in many at once takes a third of the time of one after the other, and such a text is
    all that a worker keeps of a report.
    """
    wanted = (
        line
        for line in read_table(table, report)
        if not line.condition or line.condition in conditions
    )
    return tuple(
        (label, "".join(map(_template_of, lines)))
        for label, lines in groupby(wanted, key=lambda line: line.label)
    )


def _template_of(line: Line) -> str:
    key = line.key.replace("{", "%(").replace("}", ")s")
    return f"STAT {key} %({line.source})s\r\n"


def report_parts(
    templates_in_order: Templates, values: Values, groups: Mapping[str, Group]
) -> Iterator[bytes]:
    """The lines of a report without the END, in parts; `groups` has what its labels stand for."""
    for label, text in templates_in_order:
        if not label:
            yield (text % values).encode("latin-1", "replace")
            continue
        for name, own in groups[label]:
            yield (text % {label: name, **own}).encode("latin-1", "replace")
