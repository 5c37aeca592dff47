"""Open files: as many as -c and the process need, or as many connections as a limit leaves."""

import resource

import pytest

from pymc import cli
from pymc.config import EXIT_OS_ERROR, Settings, StartupError
from pymc.launch import identity

LISTENING_SOCKETS = 8


def settings_of(*args: str) -> Settings:
    return cli.parse(["-u", "root", *args], "pymc", {})


def raise_under(
    monkeypatch: pytest.MonkeyPatch, hard: int, settings: Settings
) -> tuple[int, int, list[str]]:
    """The connections that are served, the soft limit then, and what was said."""
    soft = [min(256, hard)]
    said: list[str] = []

    def set_limit(kind: int, limits: tuple[int, int]) -> None:
        if limits[1] > hard:
            raise ValueError("not allowed to raise maximum limit")
        soft[0] = limits[0]

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft[0], hard))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    monkeypatch.setattr(identity, "say", said.append)
    raised = identity.raise_limits(settings, LISTENING_SOCKETS)
    return raised.connections_max, soft[0], said


@pytest.mark.parametrize(
    ("hard", "connections", "workers", "served"),
    [
        # Room for all: no more than needed is taken.
        (100_000, 1024, 4, 1024),
        # Just -c: each worker has descriptors of its own, so four serve them all the same.
        (1024, 1024, 4, 1024),
        (512, 1024, 4, 1024),
        # Less than that: the server itself has 8 + 64 and four for each worker.
        (1024, 1024, 1, 1024 - 76),
        (256, 1024, 4, 4 * (256 - 88)),
        (89, 1024, 4, 4),
        # Just enough: nothing is said.
        (100, 48, 4, 48),
    ],
)
def test_open_files(
    monkeypatch: pytest.MonkeyPatch, hard: int, connections: int, workers: int, served: int
) -> None:
    settings = settings_of("-c", str(connections), "-t", str(workers))
    connections_max, soft, said = raise_under(monkeypatch, hard, settings)
    assert connections_max == served
    assert min(hard, connections + LISTENING_SOCKETS + 64) <= soft <= hard
    assert len(said) == int(served < connections)
    for line in said:
        assert line.startswith("warning: failed to set rlimit for open files. Try starting as root")
        assert f"the hard limit is {hard}: at most {served} connections are served" in line


def test_no_room_for_a_single_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartupError) as failed:
        raise_under(monkeypatch, 88, settings_of("-c", "50", "-t", "4"))
    assert failed.value.exit_code == EXIT_OS_ERROR
    assert failed.value.hint == (
        "-c 50 wants 138 open files, the hard limit is 88, of which the server itself takes 88"
    )
