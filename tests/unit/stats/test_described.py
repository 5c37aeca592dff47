"""Every counter is shown where its row says, and every line that is shown is described."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

import pymc.stats
from pymc.core.meter import CounterRow, class_counter_rows, counter_rows
from pymc.stats import report
from pymc.stats.described import TABLES, Described, describe
from pymc.stats.report import Line, read_table, templates
from tests.support.certificate_files import CertificateFiles
from tests.support.inprocess import in_process

LINES = list(describe())
FLASH = "ext_page_size=4,ext_wbuf_size=2,ext_path={}/flash:16m"
SOURCES = "".join(path.read_text() for path in Path(pymc.stats.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.report}-{line.key}")
def test_every_line_is_described(line: Described) -> None:
    assert line.kind in ("counter", "gauge", "text")
    assert re.fullmatch(r"[a-z]+", line.unit) or (line.kind, line.unit) == ("text", "-")
    assert re.fullmatch(r"\S.{8,}\.", line.help)


def reports_with(row: CounterRow, reports: Iterable[str]) -> set[str]:
    return {line.report for line in LINES if line.counter == row.name and line.report in reports}


@pytest.mark.parametrize("row", list(counter_rows()), ids=lambda row: row.name)
def test_every_counter_is_shown_where_its_row_says(row: CounterRow) -> None:
    shown = set(row.shown) - {"part"}
    assert reports_with(row, ("stats", "extstore", "tls", "pymc")) == shown
    # What is a part of a value is used for one.
    assert ("part" not in row.shown and shown) or f'"{row.name}"' in SOURCES


@pytest.mark.parametrize("row", list(class_counter_rows()), ids=lambda row: row.name)
def test_every_class_counter_is_shown_where_its_row_says(row: CounterRow) -> None:
    shown = set(row.shown) - {"part"}
    assert reports_with(row, ("stats", "items", "slabs")) == shown
    assert ("part" not in row.shown and shown) or f'"{row.name}"' in SOURCES


def pattern(key: str) -> str:
    return re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(key))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("flash", [False, True])
def test_every_key_of_a_reply_is_described_in_its_order(
    tmp_path: Path, name: str, flash: bool
) -> None:
    tmp_path.chmod(0o777)
    files = CertificateFiles(tmp_path)
    files.write("crl.pem", files.root.crl_pem())
    described = [line for line in LINES if line.report == name]
    args = ["-p", "1", "-Z", "-o", files.options, "-o", f"ssl_crl={tmp_path}/crl.pem"]
    args += ["-o", FLASH.format(tmp_path)] if flash else []
    with in_process(args) as server:
        server.fill("key", 3, 10)
        reply = server.ask("stats" if name == "stats" else f"stats {name}").decode()
    places = []
    for row in reply.splitlines()[:-1]:
        key = row.split(" ")[1]
        found = [n for n, line in enumerate(described) if re.fullmatch(pattern(line.key), key)]
        assert found, key
        # The more of it is written out, the better it fits: worker_0_private_bytes.
        places.append(max(found, key=lambda n: len(described[n].key.partition("{")[0])))
    assert bool(places) == (flash or name != "extstore")
    # Lines with a label begin anew for the next one, all others rise.
    single = [place for place in places if "{" not in described[place].key]
    assert single == sorted(single)


def test_a_row_is_bare_or_whole() -> None:
    table = """
    a
    b=c
    d gauge bytes How many.
    e=f?on text - What it is.
    {worker}_g
    path_{path}=name
    """
    assert list(read_table(table, "items")) == [
        Line("a", "a", "", "", "", ""),
        Line("b", "c", "", "", "", ""),
        Line("d", "d", "", "gauge", "bytes", "How many."),
        Line("e", "f", "on", "text", "-", "What it is."),
        Line("{worker}_g", "g", "", "", "", ""),
        Line("path_{path}", "name", "", "", "", ""),
    ]
    for row in ("a gauge", "a gauge bytes"):
        with pytest.raises(ValueError, match="unpack"):
            list(read_table(row, "items"))


def test_a_new_counter_is_shown_without_further_ado(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        CounterRow("ext_naps", "counter", "naps", ("extstore",), "Naps."),
        CounterRow("naps", "counter", "naps", ("pymc", "extstore"), "Naps."),
        CounterRow("walks", "counter", "walks", ("pymc",), "Walks."),
    ]
    monkeypatch.setattr(report, "counter_rows", lambda: rows)
    own = read_table("first\n...\nwalks\n", "pymc")
    assert [(line.key, line.source) for line in own] == [
        ("first", "first"),
        ("naps", "naps"),
        ("walks", "walks"),
    ]
    flash = read_table("...\nseen=naps", "extstore")
    assert [(line.key, line.source) for line in flash] == [("naps", "ext_naps"), ("seen", "naps")]


@pytest.mark.parametrize("name", ["extstore", "tls", "pymc"])
def test_our_own_reports_have_a_place_for_new_counters(name: str) -> None:
    assert TABLES[name].splitlines().count(report.OTHERS) == 1


def test_templates_go_by_label_and_condition() -> None:
    table = "a\nb?on\nc_{w}_d\nc_{w}_e?on\nf"
    assert templates(table, "items") == (
        ("", "STAT a %(a)s\r\n"),
        ("w", "STAT c_%(w)s_d %(d)s\r\n"),
        ("", "STAT f %(f)s\r\n"),
    )
    on = "".join(text for _, text in templates(table, "items", ("on",)))
    assert on.count("STAT ") == 5
