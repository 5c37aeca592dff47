"""Records as wholes: clients that fall silent within one, and how long those are that they get."""

import ssl
from collections.abc import Iterator

import pytest

from pymc.core.tls import TlsContext
from tests.support.core.conn_rig import Client, Rig
from tests.support.core.tls_conn import TlsClient, client_context, server_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
HEADER_BYTES = 5
# What a record has besides its plaintext, with the ciphers of these versions.
EXTRA_BYTES = {ssl.TLSVersion.TLSv1_2: 24, ssl.TLSVersion.TLSv1_3: 17}
VALUE = b"x" * 40_000


@pytest.fixture
def server(rig: Rig) -> Iterator[TlsContext]:
    context = server_context(rig)
    yield context
    context.release()


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return ssl.TLSVersion(request.param)


@pytest.fixture
def client(rig: Rig, server: TlsContext, version: ssl.TLSVersion) -> TlsClient:
    rig.cache.set_live("value_timeout_seconds", 60)
    rig.tick(1000)
    return TlsClient(rig, server, client_context(version)).greet()


def record_of(client: TlsClient, data: bytes) -> bytes:
    client.tls.write(data)
    return client.out.read()


@pytest.mark.parametrize("sent_bytes", [1, 5, 6, -1])
def test_silent_within_a_record(rig: Rig, client: TlsClient, sent_bytes: int) -> None:
    client.say(record_of(client, b"mn\r\n" * 100)[:sent_bytes])
    rig.serve()
    rig.tick(1059)
    assert client.state == "READING"
    rig.tick(1060)
    assert client.state == "CLOSED"
    assert rig.counter("value_timeouts") == 1


def test_silent_within_the_record_behind_another(rig: Rig, client: TlsClient) -> None:
    client.say(record_of(client, b"mn\r\n") + record_of(client, b"mn\r\n")[:-1])
    rig.serve()
    assert client.hear() == b"MN\r\n"
    rig.tick(1060)
    assert client.state == "CLOSED"


def test_slow_within_a_record(rig: Rig, client: TlsClient) -> None:
    """Who goes on is waited for, and is no longer looked at once the record is whole."""
    record = record_of(client, b"mn\r\n")
    for number, byte in enumerate(record):
        client.say(bytes([byte]))
        rig.serve()
        rig.tick(1000 + 50 * number)
    assert client.hear() == b"MN\r\n"
    rig.tick(10_000)
    assert client.ask(b"mn\r\n") == b"MN\r\n"
    assert rig.counter("value_timeouts") == 0


def plain_lengths(client: TlsClient, version: ssl.TLSVersion) -> list[int]:
    """Of the records that wait for the client, which it does not decrypt."""
    data = Client.hear(client)
    lengths = []
    while data:
        bytes_behind = int.from_bytes(data[3:HEADER_BYTES], "big")
        lengths.append(bytes_behind - EXTRA_BYTES[version])
        data = data[HEADER_BYTES + bytes_behind :]
    return lengths


def test_the_first_record_after_a_pause_is_small(
    rig: Rig, client: TlsClient, version: ssl.TLSVersion
) -> None:
    assert client.ask(b"set a 0 0 %d\r\n%s\r\n" % (len(VALUE), VALUE)) == b"STORED\r\n"
    all_bytes = len(b"VALUE a 0 40000\r\n") + len(VALUE) + len(b"\r\nEND\r\n")
    full = [16_384, 16_384, all_bytes - 2 * 16_384]
    small = [4096, 16_384, 16_384, all_bytes - 2 * 16_384 - 4096]
    now = 1000
    for seconds, expected in ((0, full), (1, full), (2, small), (0, full)):
        for _ in range(seconds):
            now += 1
            rig.tick(now)
        client.say(record_of(client, b"get a\r\n"))
        rig.serve()
        assert plain_lengths(client, version) == expected
