"""The load generator and the harness over TLS: handshakes, certificates, and values verified."""

import json
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.harness import certificates, loadgen, openssl, servers, text_client, workloads
from bench.harness.certificates import Certificates, TlsPort
from bench.harness.selfcheck import Answer, Store, TinyServer
from bench.harness.servers import Kind, Limits
from tests.support.deadline import scaled

TIMEOUT_SECONDS = scaled(20)
KEYS = 6
# The load generator gives up when nothing came for so long.
STALL = round(scaled(8))


def honest(store: Store, key: bytes) -> tuple[bytes, bytes]:
    return key, store[key]


def flips_a_bit(store: Store, key: bytes) -> tuple[bytes, bytes]:
    value = store[key]
    return key, value[:-1] + bytes([value[-1] ^ 1])


@pytest.fixture(scope="module", params=["ec", "rsa"])
def held(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.made(request.param, tmp_path_factory.mktemp("certificates"))


@dataclass
class Rig:
    """A server over TLS, and load generators that talk to it."""

    server: TinyServer
    port: TlsPort

    def run(self, **arguments: int | str | bool) -> tuple[int, dict[str, Any]]:
        """The exit code, and what was reported."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        words = loadgen.command(self.port, {"keys": KEYS, "connections": 1, **given})
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        return done.returncode, json.loads(done.stdout or "{}")


def rig(held: Certificates, answer: Answer = honest, is_mutual: bool = False) -> Iterator[Rig]:
    loadgen.build()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(held.chain("server"), held.key("server"))
    if is_mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(held.authority)
    server = TinyServer({}, answer, context)
    try:
        yield Rig(server, TlsPort(server.port, held, is_mutual))
    finally:
        server.close()


@pytest.fixture
def served(held: Certificates) -> Iterator[Rig]:
    yield from rig(held)


@pytest.fixture
def mutual(held: Certificates) -> Iterator[Rig]:
    yield from rig(held, is_mutual=True)


@pytest.fixture
def lying(held: Certificates) -> Iterator[Rig]:
    yield from rig(held, flips_a_bit)


def handshakes(report: dict[str, Any]) -> tuple[int, int, int]:
    count = report["latency"]["handshake"]["count"]
    return report["full_handshakes"], report["resumed_handshakes"], count


# More than a record, more than the socket's part at once, and more than the client's buffer.
@pytest.mark.parametrize(
    ("value_bytes", "depth"), [(100, 1), (20_000, 3), (500_000, 3), (20_000, 50)]
)
def test_values_of_any_size_come_whole(served: Rig, value_bytes: int, depth: int) -> None:
    assert served.run(load=True, value_bytes=value_bytes)[0] == 0
    code, report = served.run(requests=100, value_bytes=value_bytes, pipeline=depth, stall=STALL)
    assert (code, report["hits"], report["wrong_values"]) == (0, 100, 0)


def test_a_wrong_value_is_found(lying: Rig) -> None:
    assert lying.run(load=True)[0] == 0
    assert lying.run(requests=KEYS)[0] == 1


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_each_new_connection_is_a_full_handshake(served: Rig, version: str) -> None:
    cipher = {"tls_cipher": "ALL"} if version == "1.2" else {}
    served.run(load=True)
    code, report = served.run(requests=KEYS, churn=True, tls_version=version, **cipher)
    assert code == 0
    # The first connection was there before the run; the last one may not get as far.
    full, resumed, count = handshakes(report)
    assert full == count and full in (KEYS - 1, KEYS) and resumed == 0


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_sessions_are_resumed_when_asked_for(served: Rig, version: str) -> None:
    cipher = {"tls_cipher": "ALL"} if version == "1.2" else {}
    served.run(load=True)
    code, report = served.run(
        requests=KEYS, churn=True, tls_resume=True, tls_version=version, **cipher
    )
    assert code == 0
    full, resumed, count = handshakes(report)
    assert resumed == count and resumed in (KEYS - 1, KEYS) and full == 0


def test_a_server_is_checked_against_its_authority(served: Rig, tmp_path: Path) -> None:
    assert served.run(load=True, tls_ca=str(served.port.certificates.authority))[0] == 0
    other = certificates.made("ec", tmp_path)
    assert served.run(load=True, tls_ca=str(other.authority))[0] == 3


def test_a_client_shows_its_certificate(mutual: Rig) -> None:
    assert mutual.run(load=True)[0] == 0
    bare = Rig(mutual.server, TlsPort(mutual.server.port, mutual.port.certificates))
    assert bare.run(load=True)[0] == 3
    with text_client.Client(mutual.port) as client:
        client.send(b"set k 0 0 1\r\nx\r\n")
        assert client.read_line() == b"STORED"


def test_options_that_do_not_go_together_are_refused(held: Certificates) -> None:
    loadgen.build()
    for wrong in ({"tls-resume": True}, {"binary": True, "multiget": 2}):
        words = loadgen.command(1, {"seconds": 1, **wrong})
        assert subprocess.run(words, capture_output=True, timeout=TIMEOUT_SECONDS).returncode == 2


def test_certificates_are_made_once(held: Certificates) -> None:
    before = held.key("server").read_bytes()
    assert certificates.made(held.folder.name, held.folder.parent) == held
    assert held.key("server").read_bytes() == before


def test_both_servers_get_the_same_words(held: Certificates) -> None:
    plain = servers.memcached_flags(Limits(), 7)
    encrypted = servers.memcached_flags(Limits(), TlsPort(7, held, is_mutual=True))
    assert "-Z" not in plain and encrypted[: encrypted.index("-Z")] == plain[: plain.index("-t")]
    words = dict(
        word.partition("=")[::2] for word in encrypted[encrypted.index("-o") + 1].split(",")
    )
    assert words == {
        "ssl_chain_cert": str(held.chain("server")),
        "ssl_key": str(held.key("server")),
        "ssl_ca_cert": str(held.authority),
        "ssl_verify_mode": "2",
        "ssl_session_cache": "",
    }


def test_servers_share_an_openssl() -> None:
    loadgen.build()
    pymc = Kind("pymc", "pymc", Path("x"))
    assert openssl.shared(pymc) == pymc
    newest = openssl.shared(Kind("memcached-newest", "x", Path("x"), environment=(("A", "b"),)))
    (kept, (name, paths)) = newest.environment
    assert (kept, name) == (("A", "b"), "LD_PRELOAD")
    crypto, tls = map(Path, paths.split(":"))
    assert crypto.is_file() and tls.is_file()
    assert (crypto.name[:12], tls.name[:9]) == ("libcrypto.so", "libssl.so")
    with pytest.raises(loadgen.LoadError):
        openssl.libraries(Path(__file__))


def test_rows_over_tls_are_small_in_a_smoke_run() -> None:
    for workload in workloads.read():
        if workload.kind == "handshakes":
            small = workloads.smoke_sized(workload)
            assert small.run["rate"] == 500 and small.background["connections"] == 8
