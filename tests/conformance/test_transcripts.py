"""Replays every wire transcript on pymc and on each memcached of this machine; all must agree."""

from collections.abc import Iterator

import pytest

from tests.support.programs import Program, faketime_library, oracle_programs, pymc_program
from tests.support.replay import replay
from tests.support.server import Server, ServerPool, server_pool
from tests.support.transcript import Transcript, all_transcripts

TRANSCRIPTS = all_transcripts()
# Enough threads for a second worker to be there; few enough to keep the machine free.
THREADS = ("-t", "2")


def _args(transcript: Transcript) -> tuple[str, ...]:
    return transcript.args if "-t" in transcript.args else (*THREADS, *transcript.args)


def _cases(programs: list[Program]) -> list[object]:
    """One case a server and transcript; those that can share a server stand side by side."""
    ordered = sorted(TRANSCRIPTS, key=lambda t: (t.args, t.moves_clock, t.path.name))
    return [
        pytest.param(
            program,
            transcript,
            id=f"{program.name}-{transcript.path.stem}",
            marks=_marks(program, transcript),
        )
        for program in programs
        for transcript in ordered
        if transcript.counts_for(program.release)
    ]


def _marks(program: Program, transcript: Transcript) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.slow] if transcript.is_slow else []
    # The clock of a release build does not move.
    return [*marks, pytest.mark.debug] if program.is_pymc and transcript.moves_clock else marks


@pytest.fixture(scope="module")
def pool() -> Iterator[ServerPool]:
    with server_pool() as servers:
        yield servers


@pytest.mark.parametrize(("program", "transcript"), _cases([pymc_program(), *oracle_programs()]))
def test_transcript(pool: ServerPool, program: Program, transcript: Transcript) -> None:
    clock = transcript.moves_clock
    if clock and not program.is_pymc and not faketime_library():
        pytest.skip("the clock of a memcached moves only with libfaketime, which is not installed")
    if transcript.is_fresh:
        with Server(program, _args(transcript), clock=clock) as server:
            _replay(transcript, server)
        return
    server = pool.server(program, _args(transcript), clock=clock)
    if "-F" not in transcript.args:
        with server.connect() as connection:
            assert connection.ask("flush_all") == b"OK"
    _replay(transcript, server)


def test_the_newest_oracle_is_there(newest_oracle: Program) -> None:
    """Where it is not, this says that the transcripts ran on fewer servers than meant."""
    assert newest_oracle in oracle_programs()


def _replay(transcript: Transcript, server: Server) -> None:
    assert not transcript.moves_clock or server.has_clock()
    replay(transcript, server)
