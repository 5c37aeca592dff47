"""TLS as clients meet it: Python's ssl, openssl s_client, pymemcache; certificates and rights."""

import os
import re
import shlex
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pymc.tls import dev
from tests.support.certificate_files import CertificateFiles
from tests.support.certs import Authority, Pair
from tests.support.connection import ClosedError, Connection
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server
from tests.support.tls_server import TlsConnection, TlsServer, client_context

WORKERS = 3


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(tmp_path)


@pytest.fixture
def server(pymc: Program, files: CertificateFiles) -> Iterator[TlsServer]:
    with TlsServer(pymc, files, ["-t", str(WORKERS), "-o", "ssl_session_cache"]) as started:
        yield started


def s_client(server: TlsServer, *args: str, sends: bytes = b"mn\r\nquit\r\n") -> str:
    """What `openssl s_client` prints that sends some commands."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-ign_eof"]
        + ["-CAfile", str(server.files.folder / "ca.pem"), *args],
        input=sends,
        capture_output=True,
        timeout=scaled(30),
    )
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_openssl_is_served(server: TlsServer, version: str) -> None:
    said = s_client(server, f"-{version.lower().replace('.', '_').replace('v', '')}")
    assert f"New, {version}" in said
    assert "Verify return code: 0 (ok)" in said
    assert "\nMN\r\n" in said
    assert "Secure Renegotiation IS" in said or version == "TLSv1.3"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_clients_with_small_records(server: TlsServer, version: str) -> None:
    """A client may ask for records of 512 bytes at most; whatever is longer goes in several."""
    value = b"0123456789abcdef" * 5000
    with server.connect() as connection:
        assert connection.store("a", value) == b"STORED"
    said = s_client(server, version, "-maxfraglen", "512", sends=b"get a\r\nmn\r\nquit\r\n")
    assert f"VALUE a 0 80000\r\n{value.decode()}\r\nEND\r\nMN\r\n" in said


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(server: TlsServer, version: str) -> None:
    said = s_client(server, version, "-cipher", "ALL:@SECLEVEL=0")
    assert "MN" not in said
    assert "alert protocol version" in said


def test_the_lowest_version_is_a_setting(pymc: Program, files: CertificateFiles) -> None:
    with TlsServer(pymc, files, ["-t", "1", "-o", "ssl_min_version=3"]) as server:
        assert "alert protocol version" in s_client(server, "-tls1_2")
        assert "\nMN\r\n" in s_client(server, "-tls1_3")
        assert server.stats("settings")["ssl_min_version"] == "tlsv1.3"


def test_ciphers_are_a_setting(pymc: Program, files: CertificateFiles) -> None:
    cipher = "ECDHE-ECDSA-AES256-GCM-SHA384"
    with TlsServer(pymc, files, ["-t", "1", "-o", f"ssl_ciphers={cipher}"]) as server:
        assert f"Cipher is {cipher}" in s_client(server, "-tls1_2")
        other = "ECDHE-ECDSA-AES128-GCM-SHA256"
        assert "handshake failure" in s_client(server, "-tls1_2", "-cipher", other)


def test_ciphers_that_there_are_not(pymc: Program, files: CertificateFiles) -> None:
    said = start_error(pymc, files, "-o", "ssl_ciphers=foo")
    assert "Error setting the provided cipher(s): foo" in said


def start_error(pymc: Program, files: CertificateFiles, *args: str) -> str:
    done = subprocess.run(
        [pymc.path, "-u", "root", "-p", "1", "-Z", "-o", files.options, *args],
        capture_output=True,
        text=True,
        timeout=scaled(60),
    )
    assert done.returncode == 64, done.stderr
    return done.stderr


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_goes_on_with_any_worker(
    server: TlsServer, files: CertificateFiles, version: str
) -> None:
    session = str(files.folder / "session")
    assert "New, TLS" in s_client(server, version, "-sess_out", session)
    for _ in range(5 * WORKERS):
        said = s_client(server, version, "-sess_in", session, "-sess_out", session)
        assert "Reused, TLS" in said
    with server.connect() as connection:
        assert connection.ask("refresh_certs") == b"OK"
    for pid in server.worker_pids():
        os.kill(pid, 9)
    wait_until(lambda: "Reused, TLS" in s_client(server, version, "-sess_in", session), "again")
    stats = server.stats("tls")
    assert int(stats["handshakes_resumed"]) > 0


def test_no_session_goes_on_unless_that_is_wanted(pymc: Program, files: CertificateFiles) -> None:
    session = files.folder / "session"
    with TlsServer(pymc, files, ["-t", "1"]) as server:
        for version in ("-tls1_2", "-tls1_3"):
            assert "New, TLS" in s_client(server, version, "-sess_out", str(session))
            if session.exists():
                said = s_client(server, version, "-sess_in", str(session))
                assert "New, TLS" in said and "\nMN\r\n" in said


def test_old_ticket_keys_are_forgotten(pymc: Program, files: CertificateFiles) -> None:
    session = str(files.folder / "session")
    args = ["-t", "2", "-o", "ssl_session_cache,ssl_ticket_seconds=1"]
    with TlsServer(pymc, files, args) as server:
        assert "\nMN\r\n" in s_client(server, "-tls1_2", "-sess_out", session)
        assert Path(session).stat().st_size > 0

        def begins_anew() -> bool:
            said = s_client(server, "-tls1_2", "-sess_in", session)
            assert "\nMN\r\n" in said
            return "New, TLS" in said

        wait_until(begins_anew, "a new key")


def test_early_data_are_refused(server: TlsServer, files: CertificateFiles) -> None:
    session, early = files.folder / "session", files.folder / "early"
    early.write_bytes(b"set early 0 0 1\r\n1\r\n")
    s_client(server, "-tls1_3", "-sess_out", str(session))
    said = s_client(server, "-tls1_3", "-sess_in", str(session), "-early_data", str(early))
    assert "\nMN\r\n" in said and "Reused, TLS" in said
    assert "Early data was accepted" not in said
    with server.connect() as connection:
        assert connection.fetch("early") is None


def test_pymemcache_is_served(server: TlsServer) -> None:
    from pymemcache.client.base import Client

    port = server.port
    client = Client(("localhost", port), tls_context=server.context, timeout=scaled(10))
    try:
        large = os.urandom(900_000)
        assert client.set("large", large) and client.set("b", b"2")
        assert client.get("large") == large
        assert client.get_many(["large", "b", "c"]) == {"large": large, "b": b"2"}
        assert client.stats("tls")[b"certificate_subject"] == b"CN=localhost"
    finally:
        client.close()


def test_plain_text_is_not_answered(server: TlsServer) -> None:
    with Connection(server.address) as plain:
        plain.send(b"get a\r\n")
        assert b"END" not in plain.read_to_close()
    assert int(server.stats()["ssl_handshake_errors"]) == 1


def test_plain_and_encrypted_ports_side_by_side(pymc: Program, files: CertificateFiles) -> None:
    args = ["-t", "2", "-l", "127.0.0.1:-1,notls:127.0.0.1:-1"]
    with TlsServer(pymc, files, args) as server:
        (_, _), (_, plain_port) = server.ports
        with Connection(("127.0.0.1", plain_port)) as plain, server.connect() as encrypted:
            assert plain.store("a", b"1") == b"STORED"
            assert encrypted.fetch("a") == b"1"


def test_a_unix_socket_stays_plain(pymc: Program, files: CertificateFiles) -> None:
    path = str(files.folder / "socket")
    args = ["-Z", "-o", files.options, "-s", path]
    with Server(pymc, args) as server, server.connect() as plain:
        assert plain.store("a", b"1") == b"STORED"
        assert plain.stats("settings")["ssl_enabled"] == "yes"


def test_passwords_are_asked_for_behind_tls(pymc: Program, files: CertificateFiles) -> None:
    tokens = files.folder / "tokens"
    tokens.write_text("alice:wonder\n")
    args = ["-t", "1", "-Y", str(tokens)]
    with TlsServer(pymc, files, args) as server, server.connect() as connection:
        assert connection.ask("get a") == b"CLIENT_ERROR unauthenticated"
        assert connection.ask("refresh_certs") == b"CLIENT_ERROR unauthenticated"
        assert connection.store("auth", b"alice wonder") == b"STORED"
        assert connection.ask("refresh_certs") == b"OK"


def answer_of(server: TlsServer, client: Pair | None, *lines: str) -> list[bytes] | str:
    """What a client is answered to some lines; the reason in OpenSSL's words if it is refused."""
    try:
        with server.connect_as(client_context(server.files, client)) as connection:
            return [connection.ask(line) for line in lines]
    except ssl.SSLError as error:
        return error.reason or str(error)
    except (OSError, ClosedError) as error:
        return str(error)


def test_verify_modes(pymc: Program, files: CertificateFiles) -> None:
    good = files.root.client()
    unknown = Authority.root("unknown").client()
    for mode, without in ((0, True), (1, True), (2, False), (3, False)):
        args = ["-t", "1", "-o", f"ssl_verify_mode={mode}"]
        with TlsServer(pymc, files, args, client=good) as server:
            assert answer_of(server, good, "mn") == [b"MN"], mode
            assert (answer_of(server, None, "mn") == [b"MN"]) is without, mode
            assert (answer_of(server, unknown, "mn") == [b"MN"]) is (mode == 0), mode


READER, WRITER, NOBODY = "spiffe://test/reader/1", "writer.test", "spiffe://test/nobody"
ALLOWED = f"""
# Who reads.
spiffe://test/reader/* read
{WRITER} read, write
spiffe://test/boss
"""


def test_identities_and_their_rights(pymc: Program, files: CertificateFiles) -> None:
    root, ids = files.root, files.folder / "ids"
    ids.write_text(ALLOWED)
    boss = root.client(uri="spiffe://test/boss")
    reader, writer = root.client(uri=READER), root.client(dns=WRITER)
    args = ["-t", "2", "-o", f"ssl_verify_mode=2,ssl_allowed_ids={ids}"]
    with TlsServer(pymc, files, args, client=boss) as server:
        assert answer_of(server, reader, "get a", "touch a 0") == [
            b"END",
            b"CLIENT_ERROR not permitted",
        ]
        assert answer_of(server, writer, "touch a 0", "refresh_certs") == [
            b"NOT_FOUND",
            b"CLIENT_ERROR not permitted",
        ]
        assert answer_of(server, boss, "refresh_certs") == [b"OK"]
        assert "ACCESS_DENIED" in str(answer_of(server, root.client(uri=NOBODY), "mn")).upper()
        assert int(server.stats("tls")["ssl_denied"]) == 1
        with server.connect() as connection:
            conns = connection.stats("conns")
            assert "spiffe://test/boss" in conns.values()
        ids.write_text("spiffe://test/boss\nnonsense here\n")
        said = str(answer_of(server, boss, "refresh_certs"))
        assert "ids" in said and "2" in said
        ids.write_text(f"{NOBODY}\nspiffe://test/boss\n")
        assert answer_of(server, boss, "refresh_certs") == [b"OK"]
        assert answer_of(server, root.client(uri=NOBODY), "mn") == [b"MN"]
        assert answer_of(server, reader, "mn") != [b"MN"]


def test_six_hundred_cas_break_no_hello(pymc: Program, files: CertificateFiles) -> None:
    client = files.root.client()
    roots = b"".join(Authority.root(f"root {number} {'x' * 40}").pem for number in range(600))
    files.write("ca.pem", files.root.pem + roots)
    with TlsServer(pymc, files, ["-t", "1", "-o", "ssl_verify_mode=2"], client=client) as server:
        assert answer_of(server, client, "mn") == [b"MN"]
        assert server.stats("tls")["ca_certificates"] == "601"


def dev_lines(folder: Path) -> list[str]:
    exit_code, text = dev.main(["dev", str(folder)])
    assert exit_code == 0
    return text.splitlines()


def command_in(lines: Sequence[str], start: str, port: int) -> list[str]:
    line = next(line for line in lines if line.startswith(start))
    return [word.replace("11211", str(port)) for word in shlex.split(line)]


def test_certificates_to_try_things_out(pymc: Program, tmp_path: Path) -> None:
    """Each command that is printed does what it says, as far as the tool is there."""
    folder = tmp_path / "dev"
    lines = dev_lines(folder)
    keys = sorted(path.name for path in folder.iterdir() if path.stat().st_mode & 0o077 == 0)
    assert keys == ["ca-key.pem", "client-dns-key.pem", "client-spiffe-key.pem", "server-key.pem"]
    options = [word for word in command_in(lines, "pymc ", 0) if word not in ("pymc", "-l")]
    options.remove("127.0.0.1")
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "client-dns.pem", folder / "client-dns-key.pem")
    with DevServer(pymc, options, context) as server:
        port = server.port
        done = subprocess.run(
            command_in(lines, "openssl ", port),
            input=b"mn\r\nquit\r\n",
            capture_output=True,
            timeout=scaled(30),
        )
        assert done.stdout == b"MN\r\n"
        at = lines.index("import ssl")
        program = "\n".join(lines[at:]).replace("11211", str(port))
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, timeout=scaled(30)
        )
        assert (done.stdout, done.stderr) == (b"b'value'\n", b"")
        conns = " ".join(server.stats("conns").values())
        assert dev.DNS_CLIENT in conns
    code, said = dev.main(["dev", str(folder)])
    assert code == 1 and "already" in said
    assert dev.main(["prod", "x"]) == (64, dev.USAGE)


class DevServer(Server):
    """A server with the options that were printed; `context` is a client that may connect."""

    def __init__(self, program: Program, args: Sequence[str], context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(program, args)

    def connect(self, timeout_seconds: float = scaled(10.0)) -> Connection:
        return TlsConnection(self.address, timeout_seconds, self.context)


def test_what_checks_stays_in_no_process(server: TlsServer, files: CertificateFiles) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may look into processes that hide their memory")
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    assert not re.search(r"cryptography|OpenSSL", maps)
    for child in server.children():
        assert "cryptography" not in Path(f"/proc/{child.pid}/maps").read_text()
