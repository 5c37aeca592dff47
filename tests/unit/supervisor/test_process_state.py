"""What is read of a process, whatever it calls itself."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.supervisor.process_state import read_state

COMM = Path("/proc/self/comm")


@pytest.fixture
def own_name() -> Iterator[Path]:
    before = COMM.read_text()
    yield COMM
    COMM.write_text(before)


@pytest.mark.parametrize("name", ["plain", "a) Z (b", ") T 1 (", "(("])
def test_a_name_is_not_taken_for_a_state(own_name: Path, name: str) -> None:
    own_name.write_text(name)
    state = read_state(os.getpid())
    assert (state.letter, state.is_halted) == ("R", False)
    assert state.cpu_seconds > 0


def test_nothing_is_known_of_who_is_gone() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    state = read_state(pid)
    assert (state.letter, state.where, state.cpu_seconds) == ("?", "", 0.0)
    assert not state.is_halted
