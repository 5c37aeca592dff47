"""The check of counters: each row is counted, by its own room or one above; then the core."""

from pathlib import Path

import pytest

from scripts import check_counters

ROWS = """// Says what.
COUNTER(hits, "keys", "stats", "Reads.")
CLASS_GAUGE(items, "items", "part",
            "Items.")
"""
COUNTS = "f(COUNTER_hits);\nSHARED_STORE(a[CLASS_items], a[CLASS_items] + 1);\n"


def violations(csrc: Path, **texts: str) -> str:
    (csrc / "LAYERS").write_text("shm\nmeter\nlow | beside\nmid\nhigh\n")
    (csrc / "pymc").mkdir()
    (csrc / "mid").mkdir()
    (csrc / "mid" / "counters.def").write_text(ROWS)
    for place, text in texts.items():
        folder, _, kind = place.partition("_")
        path = csrc / folder / f"a.{kind}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return "\n".join(check_counters.violations(csrc, csrc / "pymc"))


@pytest.mark.parametrize("room", ["mid", "high"])
def test_counted_in_its_room_or_above(tmp_path: Path, room: str) -> None:
    assert violations(tmp_path, **{f"{room}_c": COUNTS}) == ""


def test_counted_below(tmp_path: Path) -> None:
    said = violations(tmp_path, low_c=COUNTS)
    assert "csrc/mid/counters.def:2: COUNTER_hits is counted in csrc/low/a.c, which" in said
    assert "csrc/mid/counters.def:3: CLASS_items is counted in csrc/low/a.c, which" in said


@pytest.mark.parametrize(
    "text",
    [
        "// f(COUNTER_hits);\n",
        "x = counters[COUNTER_hits];\n",
        "SHARED_STORE(last, counters[COUNTER_hits]);\n",
        "f(COUNTER_hits_to_hot);\n",
    ],
)
def test_who_reads_does_not_count(tmp_path: Path, text: str) -> None:
    said = violations(tmp_path, mid_c=text)
    assert "csrc/mid/counters.def:2: nobody counts COUNTER_hits" in said
    assert "csrc/mid/counters.def:3: nobody counts CLASS_items" in said


@pytest.mark.parametrize(
    "text",
    [
        "static const uint16_t of[] = {[DONE] = COUNTER_hits};\n",
        "SHARED_STORE(proc->counters[COUNTER_hits], 1);\n",
        "SHARED_ADD(counters[COUNTER_hits], 1, RELAXED);\n",
        "count(proc, is_on ? COUNTER_hits : COUNTER_other, 1);\n",
    ],
)
def test_who_counts(tmp_path: Path, text: str) -> None:
    assert "COUNTER_hits" not in violations(tmp_path, high_c=text)


def test_python_counts(tmp_path: Path) -> None:
    assert "COUNTER_hits" not in violations(tmp_path, pymc_py='store.count("hits")\n')


def test_python_that_only_shows_does_not(tmp_path: Path) -> None:
    assert "nobody counts COUNTER_hits" in violations(tmp_path, pymc_py='show("hits")\n')


def test_two_rows_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "high").mkdir()
    (tmp_path / "high" / "counters.def").write_text(ROWS)
    assert "COUNTER_hits has two rows" in violations(tmp_path, high_c=COUNTS)


def test_the_core_counts_all_its_counters() -> None:
    root = check_counters.ROOT
    assert len(check_counters.read_rows(root / "csrc")) > 100
    assert check_counters.violations(root / "csrc", root / "pymc") == []
