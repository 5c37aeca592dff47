"""The same transcripts over TLS: what is sent and answered is what it is over plain TCP."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.certificate_files import CertificateFiles
from tests.support.programs import Program, pymc_program
from tests.support.replay import replay
from tests.support.tls_server import TlsServer
from tests.support.transcript import Transcript, all_transcripts

PYMC = pymc_program()
# TLS has keys of its own in these.
WITH_TLS_KEYS = {"stats_settings", "stats_general", "stats_off", "admin_unknown"}


def _cases() -> list[object]:
    """Those that can share a server stand side by side."""
    wanted = [
        transcript
        for transcript in all_transcripts()
        if transcript.counts_for(PYMC.release) and transcript.path.stem not in WITH_TLS_KEYS
    ]
    ordered = sorted(wanted, key=lambda t: (t.args, t.moves_clock, t.path.name))
    return [pytest.param(each, id=each.path.stem, marks=_marks(each)) for each in ordered]


def _marks(transcript: Transcript) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.slow] if transcript.is_slow else []
    return [*marks, pytest.mark.debug] if transcript.moves_clock else marks


class LastServer:
    """The server that was used last, which the next transcript may want as well."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._files = CertificateFiles(folder)
        self._stack = stack
        self._key: object = None

    def server(self, transcript: Transcript) -> TlsServer:
        key = (transcript.args, transcript.moves_clock)
        if key != self._key or transcript.is_fresh:
            self._stack.close()
            args = ["-t", "2", *transcript.args]
            started = TlsServer(PYMC, self._files, args, clock=transcript.moves_clock)
            self._server = self._stack.enter_context(started)
        # What the next one finds must be as new.
        self._key = None if transcript.is_fresh else key
        return self._server


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LastServer]:
    with ExitStack() as stack:
        yield LastServer(tmp_path_factory.mktemp("certificates"), stack)


@pytest.mark.parametrize("transcript", _cases())
def test_transcript_over_tls(last: LastServer, transcript: Transcript, pymc: Program) -> None:
    server = last.server(transcript)
    if "-F" not in transcript.args and not transcript.is_fresh:
        with server.connect() as connection:
            assert connection.ask("flush_all") == b"OK"
    replay(transcript, server)
