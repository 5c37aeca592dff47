"""Fixtures that more than one suite uses, and what holds for every test."""

from collections.abc import Iterator

import pytest

from pymc.core import HAS_DEBUG
from tests.support.deadline import SLOWNESS, scaled
from tests.support.programs import NEWEST_RELEASE, Program, oracle_programs, pymc_program
from tests.support.server import Server
from tests.support.skips import skip_reasons
from tests.support.tcp_memory import TcpMemory, tcp_shortage


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(skip_reasons(), "skip_reasons")
    config.pluginmanager.register(TcpMemory(tcp_shortage), "tcp_memory")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what this build cannot do, and gives slow machines the time they need."""
    limit_seconds = config.getoption("timeout", None) or config.getini("timeout")
    for item in items:
        if not HAS_DEBUG and item.get_closest_marker("debug"):
            item.add_marker(pytest.mark.skip(reason="needs a debug build (make test BUILD=debug)"))
        if SLOWNESS != 1:
            own = item.get_closest_marker("timeout")
            seconds = scaled(float(own.args[0] if own else limit_seconds))
            item.add_marker(pytest.mark.timeout(seconds), append=False)


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


@pytest.fixture(scope="session")
def newest_oracle() -> Program:
    """The memcached that pymc is to be like in every word; skips where it is not."""
    for program in oracle_programs():
        if program.release == NEWEST_RELEASE:
            return program
    pytest.skip(f"no memcached {NEWEST_RELEASE} on this machine (scripts/peers.py newest)")


@pytest.fixture
def server(pymc: Program) -> Iterator[Server]:
    """A pymc with two workers and default settings."""
    with Server(pymc, ["-t", "2"]) as started:
        yield started
