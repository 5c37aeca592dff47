"""Fixtures that more than one suite uses."""

from collections.abc import Iterator

import pytest

from tests.support.programs import Program, oracle_programs, pymc_program
from tests.support.server import Server


@pytest.fixture(scope="session")
def pymc() -> Program:
    """The pymc under test."""
    return pymc_program()


@pytest.fixture(scope="session")
def oracle() -> Program:
    """The newest memcached of this machine; skips where there is none."""
    programs = oracle_programs()
    if not programs:
        pytest.skip("no memcached on this machine")
    return programs[0]


@pytest.fixture
def server(pymc: Program) -> Iterator[Server]:
    """A pymc with two workers and default settings."""
    with Server(pymc, ["-t", "2"]) as started:
        yield started
