"""The table in csrc/conn/README.md: it has the moves of the code, and each row has its test."""

import re
from pathlib import Path

from pymc.core.ffi import lib, text

ROOT = Path(__file__).resolve().parents[4]
HERE = Path(__file__).resolve().parent
STATES = [text(lib.conn_state_name(state)) for state in range(lib.CONN_STATES)]


def rows() -> list[list[str]]:
    lines = (ROOT / "csrc" / "conn" / "README.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in cells if row[0] in STATES]


def test_the_table_has_the_moves_of_the_code() -> None:
    shown = {(row[0], row[3]) for row in rows() if row[0] != row[3]}
    known = {
        (STATES[a], STATES[b])
        for a in range(len(STATES))
        for b in range(len(STATES))
        if lib.conn_may_move(a, b)
    }
    assert shown == known


def test_each_row_has_a_test() -> None:
    written = "".join(path.read_text() for path in sorted(HERE.glob("test_*.py")))
    tests = set(re.findall(r"^def test_(\w+)\(", written, re.M))
    assert [row for row in rows() if row[4] not in tests] == []


def test_what_is_no_state_has_no_moves() -> None:
    for wrong in (-1, lib.CONN_STATES):
        assert not lib.conn_may_move(wrong, lib.CONN_READING)
        assert not lib.conn_may_move(lib.CONN_READING, wrong)
        assert text(lib.conn_state_name(wrong)) == "?"
    assert not any(lib.conn_may_move(lib.CONN_CLOSED, state) for state in range(lib.CONN_STATES))
