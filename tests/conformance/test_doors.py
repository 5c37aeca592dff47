"""The transcripts again, on a server that is reached otherwise: what is answered is the same."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.connection import Connection
from tests.support.datagrams import DatagramConnection
from tests.support.programs import pymc_program
from tests.support.replay import Connect, replay
from tests.support.server import Server
from tests.support.transcript import Kind, Transcript, all_transcripts

# It shows addresses.
_ONLY_TCP = {"stats_conns"}
# What a connection remembers between two datagrams, and what takes the right to administer.
_SENT_IN_PIECES = {Kind.CUT, Kind.CLOSE, Kind.SWITCH}
_ADMINISTRATION = ("flush", "verbosity", "lru", "slabs", "watch", "shutdown", "extstore", "stat ")


def _fits(transcript: Transcript) -> bool:
    """Whether a server without further flags can play it, beside others."""
    needs_own = (
        transcript.args
        or transcript.path.stem in _ONLY_TCP
        or transcript.is_fresh
        or transcript.moves_clock
    )
    return not needs_own and not transcript.is_slow and transcript.counts_for(RELEASE)


def _fits_udp(transcript: Transcript) -> bool:
    texts = [step.text for step in transcript.steps if step.counts_for(RELEASE)]
    kinds = {step.kind for step in transcript.steps if step.counts_for(RELEASE)}
    return not kinds & _SENT_IN_PIECES and not any(
        text.startswith(_ADMINISTRATION) for text in texts
    )


RELEASE = pymc_program().release
TRANSCRIPTS = [transcript for transcript in all_transcripts() if _fits(transcript)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("doors") / "socket"
    doors = ["-s", str(path), "-o", "unix_and_tcp", "-p", "-1", "-l", "127.0.0.1", "-U", "-1"]
    with Server(pymc_program(), ["-t", "2", *doors]) as made:
        yield made


def _play(transcript: Transcript, server: Server, connect: Connect) -> None:
    with Connection(("127.0.0.1", server.ports[0][1])) as connection:
        assert connection.ask("flush_all") == b"OK"
        replay(transcript, server, connect)


def _params(transcripts: list[Transcript]) -> list[object]:
    return [pytest.param(one, id=one.path.stem) for one in transcripts]


@pytest.mark.parametrize("transcript", _params(TRANSCRIPTS))
def test_over_a_unix_socket(server: Server, transcript: Transcript) -> None:
    _play(transcript, server, server.connect)


@pytest.mark.parametrize("transcript", _params([one for one in TRANSCRIPTS if _fits_udp(one)]))
def test_by_datagrams(server: Server, transcript: Transcript) -> None:
    _play(transcript, server, partial(DatagramConnection, server.udp_port))
