"""`refresh_certs` and `stats tls`, inside the test: the supervisor is the test itself."""

import os
from pathlib import Path

import pytest

from pymc.control import certificates
from pymc.control.answers import WAITING, Parts
from pymc.control.commands import answer_to
from pymc.messages.signals import REFRESH_CERTIFICATES
from pymc.stats.tls import tls_reply
from tests.support.certificate_files import CertificateFiles
from tests.support.inprocess import InProcess, in_process


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(tmp_path)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def tls_server(files: CertificateFiles, *more: str):  # type: ignore[no-untyped-def]
    return in_process(["-p", "1", "-Z", "-o", files.options, *more])


def asked(server: InProcess, line: bytes) -> "Parts":
    answer = answer_to(line, server.context, server.store)
    assert isinstance(answer, Parts)
    return answer


def test_without_tls() -> None:
    with in_process() as server:
        assert server.ask("refresh_certs") == b"Error TLS not enabled\r\n"
        assert server.ask("stats tls") == b"END\r\n"


@pytest.mark.parametrize(
    ("line", "result", "said"),
    [
        (b"refresh_certs", "OK", b"OK\r\n"),
        (b"refresh_certs", "Error loading it", b"Error loading it\r\n"),
        (b"refresh_certs a b", "OK", b"OK\r\n"),
        (b"refresh_certs noreply", "OK", b""),
    ],
)
def test_the_answer_is_what_the_round_came_to(
    files: CertificateFiles,
    signals: list[tuple[int, int]],
    line: bytes,
    result: str,
    said: bytes,
) -> None:
    with tls_server(files) as server:
        material = server.context.tls
        assert material
        # One that is under way began before the client asked.
        material.begin_round()
        parts = asked(server, line).parts
        assert signals == [(os.getpid(), REFRESH_CERTIFICATES.number)]
        assert next(parts) is WAITING
        material.end_round("of another one")
        assert next(parts) is WAITING
        material.begin_round()
        assert next(parts) is WAITING
        material.end_round(result)
        assert list(parts) == [said]


def test_a_supervisor_that_does_not_answer(
    files: CertificateFiles, signals: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_ANSWER_SECONDS", -1.0)
    with tls_server(files) as server:
        assert list(asked(server, b"refresh_certs").parts) == [
            b"Error: the supervisor does not answer\r\n"
        ]


def test_stats_tls_says_what_the_certificate_says(files: CertificateFiles) -> None:
    leaf, root = files.pair.certificate, files.root.certificate
    with tls_server(files) as server:
        material = server.context.tls
        assert material
        ends = leaf.not_valid_after_utc.timestamp()
        reply = tls_reply(server.context, server.store, material, ends - 3 * 86400).decode()
        lines = [line.split(" ") for line in reply.splitlines()[:-1]]
        general = server.ask("stats").decode()
    assert all(len(line) == 3 and ":" not in line[1] for line in lines)
    stats = {key: value for _, key, value in lines}
    assert stats["certificate_subject"] == "CN=localhost"
    assert stats["certificate_issuer"] == "CN=test%20root"
    assert stats["certificate_sans"] == "DNS:localhost,IP:127.0.0.1,IP:::1"
    assert int(stats["certificate_serial"], 16) == leaf.serial_number
    assert stats["certificate_days_left"] == "3"
    assert int(stats["certificate_not_after"]) == ends
    assert int(stats["ca_not_after"]) == root.not_valid_after_utc.timestamp()
    assert (stats["ca_certificates"], stats["loaded_generations"]) == ("1", "1")
    assert (stats["load_refusals"], stats["kernel_tls"]) == ("0", "no")
    assert "crl_revoked" not in stats
    for key in ("ssl_handshake_errors", "ssl_proto_errors", "time_since_server_cert_refresh"):
        assert f"STAT {key} 0\r\n" in general
    assert "ssl_new_sessions" not in general


def test_sessions_are_counted_where_there_are_any(files: CertificateFiles) -> None:
    with tls_server(files, "-o", "ssl_session_cache") as server:
        assert b"STAT ssl_new_sessions 0\r\n" in server.ask("stats")
