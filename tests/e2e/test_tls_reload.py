"""Certificates that change while the server runs: by command, by SIGHUP, on disk, broken ones."""

import os
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificate_files import CertificateFiles
from tests.support.certs import DAY, Authority, Names, Span, utc_now
from tests.support.connection import ClosedError, Connection
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.tls_server import TlsServer, client_context

WORKERS = 3


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(tmp_path)


@pytest.fixture
def server(pymc: Program, files: CertificateFiles) -> Iterator[TlsServer]:
    with TlsServer(pymc, files, ["-t", str(WORKERS)]) as started:
        yield started


def refresh(server: TlsServer) -> str:
    with server.connect(scaled(30.0)) as connection:
        return connection.ask("refresh_certs").decode()


def serials(server: TlsServer) -> set[int]:
    """Of many new connections, so that each worker has some."""
    return {server.serial() for _ in range(8 * WORKERS)}


def serial(files: CertificateFiles) -> int:
    return files.pair.certificate.serial_number


def rounds(server: TlsServer) -> int:
    stats = server.stats("tls")
    return int(stats["loaded_generations"]) + int(stats["load_refusals"])


def test_all_workers_load_what_is_new(server: TlsServer, files: CertificateFiles) -> None:
    before = serial(files)
    assert serials(server) == {before}
    with server.connect() as old:
        files.renew()
        assert refresh(server) == "OK"
        assert serials(server) == {serial(files)}
        # Who was there goes on.
        assert old.store("a", b"1") == b"STORED"
    stats = server.stats()
    assert int(stats["time_since_server_cert_refresh"]) < 60
    assert server.stats("tls")["certificate_serial"] == f"{serial(files):x}"
    assert "certificates loaded: CN=localhost" in server.stderr


Spoil = Callable[[CertificateFiles], object]
BROKEN: dict[str, Spoil] = {
    "a key of another certificate": lambda files: files.write(
        "key.pem", files.root.server().key_pem
    ),
    "half of a new pair": lambda files: files.write("chain.pem", files.root.server().chain_pem),
    "an expired one": lambda files: write_pair(files, span=Span.past()),
    "one of the future": lambda files: write_pair(files, span=Span.future()),
    "no file": lambda files: (files.folder / "chain.pem").unlink(),
    "an expired CA": lambda files: files.write("ca.pem", Authority.root(span=Span.past()).pem),
    "half a file": lambda files: files.write("key.pem", files.pair.key_pem[:100]),
    "an empty file": lambda files: files.write("ca.pem", b""),
}


def write_pair(files: CertificateFiles, span: Span) -> None:
    pair = files.root.issue(Names("localhost", dns=["localhost"]), "server", span)
    files.write("chain.pem", pair.chain_pem)
    files.write("key.pem", pair.key_pem)


def test_bad_files_leave_the_old_ones_in_use_and_say_why(
    server: TlsServer, files: CertificateFiles
) -> None:
    kept = serial(files)
    texts = {path: path.read_bytes() for path in files.folder.glob("*.pem")}
    for name, spoil in BROKEN.items():
        spoil(files)
        said = refresh(server)
        assert said.startswith("Error loading the "), name
        assert str(files.folder) in said, name
        assert said in server.stderr, name
        assert server.serial() == kept, name
        for path, text in texts.items():
            path.write_bytes(text)
    assert serials(server) == {kept}
    # On a slow machine the supervisor has looked by itself as well.
    assert int(server.stats("tls")["load_refusals"]) >= len(BROKEN)
    assert refresh(server) == "OK"


def test_hangup_loads_them_as_well(server: TlsServer, files: CertificateFiles) -> None:
    files.renew()
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: server.serial() == serial(files), "the new certificate")
    wait_until(lambda: serials(server) == {serial(files)}, "all workers")


def test_a_storm_of_hangups_and_swaps_ends_with_the_newest(
    server: TlsServer, files: CertificateFiles
) -> None:
    with server.connect() as bystander:
        for _ in range(20):
            files.renew()
            os.kill(server.pid, signal.SIGHUP)
            assert bystander.store("a", b"1") == b"STORED"
    assert refresh(server) == "OK"
    assert serials(server) == {serial(files)}


def test_workers_that_die_meanwhile_come_back_with_what_counts(
    server: TlsServer, files: CertificateFiles
) -> None:
    pids = server.worker_pids()
    for pid in pids:
        files.renew()
        with server.connect(scaled(30.0)) as connection:
            connection.send(b"refresh_certs\r\n")
            os.kill(pid, signal.SIGKILL)
            # It may have been the one that was asked.
            try:
                assert connection.read_line() in (b"OK\r\n", b"")
            except (ClosedError, OSError):
                pass
    wait_until(lambda: not set(pids) & set(server.worker_pids()), "new workers")
    wait_until(lambda: refresh(server) == "OK", "a round without deaths")
    assert serials(server) == {serial(files)}


def test_a_worker_that_is_started_later_gets_the_loaded_ones_not_the_files(
    server: TlsServer, files: CertificateFiles
) -> None:
    kept = serial(files)
    pid = server.worker_pids()[0]
    files.write("chain.pem", b"nonsense")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in server.worker_pids(), "a new worker")
    assert serials(server) == {kept}


def test_a_ca_that_was_removed_is_no_longer_trusted(pymc: Program, files: CertificateFiles) -> None:
    old_client, other = files.root.client(), Authority.root("another root")
    new_client = other.client()
    args = ["-t", str(WORKERS), "-o", "ssl_verify_mode=2"]
    with TlsServer(pymc, files, args, client=old_client) as server:
        new_context = client_context(files, new_client)
        assert not is_welcome(server, client_context(files))
        assert is_welcome(server, server.context)
        assert not is_welcome(server, new_context)
        with server.connect() as connection:
            files.write("ca.pem", other.pem)
            assert connection.ask("refresh_certs") == b"OK"
        for _ in range(4 * WORKERS):
            assert not is_welcome(server, server.context)
            assert is_welcome(server, new_context)
        server.context = new_context


def test_a_client_that_is_revoked_is_turned_away(pymc: Program, files: CertificateFiles) -> None:
    good, bad = files.root.client(), files.root.client()
    files.write("crl.pem", files.root.crl_pem())
    args = ["-t", "2", "-o", f"ssl_verify_mode=2,ssl_crl={files.folder}/crl.pem"]
    with TlsServer(pymc, files, args, client=good) as server:
        bad_context = client_context(files, bad)
        assert is_welcome(server, bad_context)
        files.root.revoke(bad)
        files.write("crl.pem", files.root.crl_pem())
        assert refresh(server) == "OK"
        for _ in range(8):
            assert not is_welcome(server, bad_context)
            assert is_welcome(server, server.context)
        assert int(server.stats("tls")["failed_revoked"]) == 8


def is_cut_off(connection: Connection) -> bool:
    """Whether the server ends a connection on which nothing was asked, in order: TLS says so."""
    with connection:
        # An end without close_notify is an error then.
        connection.socket.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        try:
            connection.read_line()
        except ClosedError:
            return True
    return False


def test_clients_that_are_no_longer_good_are_cut_off(
    pymc: Program, files: CertificateFiles
) -> None:
    boss = files.root.client(uri="spiffe://test/boss")
    clients = {name: files.root.client(uri=f"spiffe://test/{name}") for name in "abc"}
    files.write("ids", b"spiffe://test/*\n")
    files.write("crl.pem", files.root.crl_pem())
    options = f"ssl_verify_mode=2,ssl_crl={files.folder}/crl.pem,ssl_allowed_ids={files.folder}/ids"
    with TlsServer(pymc, files, ["-t", "2", "-o", options], client=boss) as server:
        a, b, c = [server.connect_as(client_context(files, each)) for each in clients.values()]
        assert [each.ask("mn") for each in (a, b, c)] == [b"MN"] * 3
        assert refresh(server) == "OK"
        files.root.revoke(clients["a"])
        files.write("crl.pem", files.root.crl_pem())
        assert refresh(server) == "OK"
        assert is_cut_off(a)
        # A log stream goes on by itself, so it ends with the certificate, and with the right to it.
        watchers = [server.connect_as(client_context(files, clients[name])) for name in "bc"]
        assert [each.ask("watch fetchers") for each in watchers] == [b"OK"] * 2
        files.write("ids", b"spiffe://test/boss\nspiffe://test/c read\n")
        assert refresh(server) == "OK"
        assert is_cut_off(b)
        assert all(is_cut_off(each) for each in watchers)
        assert [c.ask("mn"), c.ask("touch k 0")] == [b"MN", b"CLIENT_ERROR not permitted"]
        c.close()


@pytest.mark.debug
def test_certificates_end_while_the_server_runs(pymc: Program, files: CertificateFiles) -> None:
    ends = Span(ends=utc_now() + DAY)
    short, long = files.root.client(span=ends), files.root.client()
    args = ["-t", "2", "-o", "ssl_verify_mode=2,ssl_session_cache"]
    with TlsServer(pymc, files, args, client=long, clock=True) as server:
        context = client_context(files, short)
        with server.connect_as(context) as connection:
            assert connection.ask("mn") == b"MN"
            session = connection.socket.session  # type: ignore[attr-defined]
            server.move_clock(2 * 86400)
            assert connection.ask("mn") == b"MN"
            assert refresh(server) == "OK"
            assert is_cut_off(connection)
        assert not is_welcome(server, context)
        # Nor by a ticket that it got while it was good.
        assert not is_welcome(server, context, session)
        assert int(server.stats("tls")["failed_expired"]) == 2


def is_welcome(
    server: TlsServer, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> bool:
    """Whether a client gets an answer: with TLS 1.3 it learns only then what the server thinks."""
    try:
        with server.connect_as(context, session=session) as connection:
            return connection.ask("version").startswith(b"VERSION")
    except (OSError, ClosedError):
        return False


def test_keys_that_only_root_may_read(pymc: Program, files: CertificateFiles) -> None:
    """They are read before the user changes; later the server goes on with what it has."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    (files.folder / "key.pem").chmod(0o600)
    kept = serial(files)
    with TlsServer(pymc, files, ["-t", "2", "-u", "nobody"]) as server:
        said = refresh(server)
        assert said.startswith("Error loading the ")
        assert said.endswith("Permission denied")
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: rounds(server) == 3, "the round of SIGHUP")
        assert server.serial() == kept


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda files: (files.folder / "chain.pem").unlink(),
            "Error loading the certificate chain",
        ),
        (lambda files: files.write("key.pem", b"x"), "Error loading the key: "),
        (lambda files: write_pair(files, Span.past()), "has expired at"),
    ],
)
def test_a_start_with_bad_files_says_why(
    pymc: Program, files: CertificateFiles, spoil: Spoil, said: str
) -> None:
    spoil(files)
    done = subprocess.run(
        [pymc.path, "-u", "root", "-p", "0", "-Z", "-p", "1", "-o", files.options],
        capture_output=True,
        text=True,
        timeout=scaled(60),
    )
    assert (done.returncode, said in done.stderr) == (64, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_certificates_are_shown_whole(pymc: Program, files: CertificateFiles) -> None:
    """The leaf and those between it and the root, so that who knows the root alone is content."""
    lower = files.root.intermediate().intermediate("lower")
    pair = lower.server()
    files.write("chain.pem", pair.chain_pem)
    files.write("key.pem", pair.key_pem)
    with TlsServer(pymc, files, ["-t", "1"]) as server:
        assert server.serial() == pair.certificate.serial_number
        assert server.stats("tls")["certificate_chain"] == "3"
