"""Open files: as many as -c and the process itself need, or as many as a hard limit leaves."""

import resource

import pytest

from pymc import cli
from pymc.config import Settings, StartupError
from pymc.supervisor import identity

LISTENING_SOCKETS = 8


def settings_of(*args: str) -> Settings:
    return cli.parse(["-u", "root", *args], "pymc", {})


def raise_under(
    monkeypatch: pytest.MonkeyPatch, hard: int, settings: Settings
) -> tuple[bool, int, list[str]]:
    """Whether the start goes on, the soft limit then, and what was said."""
    soft = [min(256, hard)]
    said: list[str] = []

    def set_limit(kind: int, limits: tuple[int, int]) -> None:
        if limits[1] > hard:
            raise ValueError("not allowed to raise maximum limit")
        soft[0] = limits[0]

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft[0], hard))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    monkeypatch.setattr(identity, "say", said.append)
    try:
        identity.raise_limits(settings, LISTENING_SOCKETS)
    except StartupError:
        return False, soft[0], said
    return True, soft[0], said


@pytest.mark.parametrize(
    ("hard", "connections", "workers", "starts", "warns"),
    [
        # Room for all: no more than needed is taken.
        (100_000, 1024, 4, True, False),
        # Just -c: each worker has descriptors of its own, so four serve them all the same.
        (1024, 1024, 4, True, False),
        (1024, 1024, 1, True, True),
        (1023, 1024, 4, False, False),
        # Few connections, but the process itself needs more.
        (60, 50, 4, False, False),
    ],
)
def test_open_files(
    monkeypatch: pytest.MonkeyPatch,
    hard: int,
    connections: int,
    workers: int,
    starts: bool,
    warns: bool,
) -> None:
    settings = settings_of("-c", str(connections), "-t", str(workers))
    started, soft, said = raise_under(monkeypatch, hard, settings)
    assert started == starts
    assert soft <= hard
    if starts:
        assert soft >= min(hard, connections + LISTENING_SOCKETS + 64)
    assert len(said) == int(warns)
    if warns:
        assert said[0].startswith("warning: the limit of 1024 open files leaves room for some 9")
