"""Random kills, and in debug builds bad I/O, of a server with flash; every answer is checked."""

import re
import subprocess
import sys

import pytest

from pymc.core.ffi import HAS_DEBUG
from tests.support.programs import ROOT

SECONDS = 8
SMALL = ("--memory-mb=16", "--flash-mb=32", "--page-mb=8", "--keys=3000", "--clients=2")


def soak(*words: str) -> dict[str, int]:
    """Runs the soak tool; the numbers of its summary."""
    command = [sys.executable, "-m", "tests.soak.soak", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return {name: int(count) for name, count in re.findall(r"^  (.+?):? (\d+)$", done.stdout, re.M)}


@pytest.mark.slow
def test_random_kills() -> None:
    faults = ["--faults"] if HAS_DEBUG else []
    found = soak(f"--minutes={SECONDS / 60}", "--kill-seconds=1", "--seed=11", *SMALL, *faults)
    kills = found.get("kills of keepers", 0) + found.get("kills of workers", 0)
    assert kills == found["came back"] >= 3
    assert found["get_extstore"] > 100
    assert found["extstore_page_allocs"] > 0
    assert found["badcrc_from_extstore"] == 0 or faults


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_ten_minutes_of_kills() -> None:
    found = soak("--minutes=10", "--kill-seconds=3", "--seed=12")
    assert found["came back"] > 200
    assert found["badcrc_from_extstore"] == 0
