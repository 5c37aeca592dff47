"""Connections that are encrypted: what they say and hear, whatever way the records are cut."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import lib, text
from pymc.core.tls import TlsContext, Verify
from tests.support.core.conn_rig import END, MANY, Rig, put, shown
from tests.support.core.tls_conn import TlsClient, client_context, server_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
LARGE = bytes(range(256)) * 4000


@pytest.fixture
def server(rig: Rig) -> Iterator[TlsContext]:
    context = server_context(rig)
    yield context
    context.release()


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def client(rig: Rig, server: TlsContext, request: pytest.FixtureRequest) -> TlsClient:
    return TlsClient(rig, server, client_context(request.param))


def test_handshake(rig: Rig, client: TlsClient) -> None:
    assert client.state == "HANDSHAKE"
    client.greet()
    assert client.ask(b"mn\r\nversion\r\n") == b"MN\r\nVERSION 1.6.38\r\n"
    assert rig.counter("ssl_handshake_errors") == 0


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_handshake_in_pieces(rig: Rig, client: TlsClient, piece_bytes: int) -> None:
    client.piece_bytes = piece_bytes
    client.greet()
    value = b"x" * 3000
    lines = b"set a 0 0 3000\r\n" + value + b"\r\nget a\r\nmn\r\n"
    assert client.ask(lines) == b"STORED\r\n" + shown(b"a", value) + END + b"MN\r\n"


@pytest.mark.parametrize("junk", [b"get a\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff"])
def test_handshake_of_junk(rig: Rig, server: TlsContext, client: TlsClient, junk: bytes) -> None:
    client.greet()
    bad = TlsClient(rig, server)
    bad.say(junk + bytes(100))
    rig.serve()
    assert (bad.state, bad.view.is_closed) == ("CLOSED", True)
    assert rig.counter("ssl_handshake_errors") == 1
    # What OpenSSL has to say of the one does not end another.
    assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_handshake_that_ends(rig: Rig, server: TlsContext) -> None:
    client = TlsClient(rig, server)
    client.listen()
    client.say(client.out.read()[:50])
    client.end()
    rig.serve()
    assert client.state == "CLOSED"
    assert rig.counter("ssl_handshake_errors") == 1


def test_handshake_that_breaks(rig: Rig, server: TlsContext) -> None:
    client = TlsClient(rig, server)
    client.break_off()
    rig.serve()
    assert client.state == "CLOSED"


def test_handshake_that_takes_too_long(rig: Rig, server: TlsContext) -> None:
    """The deadline counts from the beginning, whatever comes meanwhile."""
    rig.tick(1000)
    client = TlsClient(rig, server)
    client.listen()
    hello = client.out.read()
    for second in range(6):
        client.say(hello[second : second + 1])
        rig.serve()
        rig.tick(1000 + second)
        assert client.state == "HANDSHAKE"
    rig.tick(1006)
    assert client.state == "CLOSED"
    assert rig.counter("tls_failed_late") == 1
    assert rig.counter("ssl_handshake_errors") == 1


def test_established_connections_have_no_deadline(rig: Rig, server: TlsContext) -> None:
    rig.tick(1000)
    client = TlsClient(rig, server).greet()
    rig.tick(2000)
    assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_few_handshakes_in_a_turn(rig: Rig, server: TlsContext, client: TlsClient) -> None:
    """Those who are established are served in each turn, a storm of others in pieces."""
    client.greet()
    storm = [TlsClient(rig, server) for _ in range(20)]
    for one in storm:
        one.listen()
        one.say(one.out.read())
    client.tls.write(b"mn\r\n")
    client.say(client.out.read())
    rig.turn()
    assert client.hear() == b"MN\r\n"
    for one in storm:
        one.listen()
    # Who got an answer has something to say to it.
    assert len([one for one in storm if one.out.pending]) == 8
    rig.serve()
    for one in storm:
        one.greet()


def test_time_of_handshakes_in_a_turn(rig: Rig, server: TlsContext, client: TlsClient) -> None:
    """When their time is over, the others' next turn comes; each turn has one step at least."""
    client.greet()
    lib.memory_loop_set_pace(rig.loop, 1_000_000)
    storm = [TlsClient(rig, server) for _ in range(3)]
    for one in storm:
        one.listen()
        one.say(one.out.read())
    for done in range(1, 4):
        client.tls.write(b"mn\r\n")
        client.say(client.out.read())
        assert rig.turn()
        client.listen()
        assert client.got == b"MN\r\n" * done
        for one in storm:
            one.listen()
        assert len([one for one in storm if one.out.pending]) == done
    for one in storm:
        one.greet()


def test_closed_while_its_handshake_waits(rig: Rig, server: TlsContext) -> None:
    storm = [TlsClient(rig, server) for _ in range(10)]
    for one in storm:
        one.listen()
        one.say(one.out.read())
    rig.turn()
    rig.tick(100_000)
    assert {one.state for one in storm} == {"CLOSED"}
    assert not rig.turn()


def test_whom_it_talks_to(rig: Rig, tmp_path: Path) -> None:
    server = server_context(rig, Verify.REQUIRED)
    client = TlsClient(rig, server, client_context(folder=tmp_path)).greet()
    server.release()
    assert client.ask(b"mn\r\n") == b"MN\r\n"
    assert text(client.view.identity) == "spiffe://example.org/web"


def test_a_certificate_that_is_missing(rig: Rig) -> None:
    server = server_context(rig, Verify.REQUIRED)
    client = TlsClient(rig, server)
    server.release()
    with pytest.raises(ssl.SSLError, match="certificate required"):
        client.pump()
    assert client.state == "CLOSED"
    assert rig.counter("ssl_handshake_errors") == 1


@pytest.mark.parametrize("piece_bytes", [0, 1000, 20_000])
def test_large_values(rig: Rig, client: TlsClient, piece_bytes: int) -> None:
    client.greet()
    client.piece_bytes = piece_bytes
    size = len(LARGE)
    assert client.ask(b"set a 0 0 %d\r\n" % size + LARGE + b"\r\nmn\r\n") == b"STORED\r\nMN\r\n"
    assert client.ask(b"get a\r\n") == shown(b"a", LARGE) + END
    assert client.ask(b"set a 0 0 0\r\n\r\nget a\r\n") == b"STORED\r\n" + shown(b"a", b"") + END


@pytest.mark.parametrize("size", [16_384, 40_000, 300_000])
def test_one_large_value_behind_another(rig: Rig, client: TlsClient, size: int) -> None:
    """Where large values come only their line is received at first; the rest has no event."""
    client.greet()
    for number in range(4):
        value = LARGE[number : number + size]
        assert client.ask(b"set a 0 0 %d\r\n" % size + value + b"\r\n") == b"STORED\r\n"
        assert client.ask(b"get a\r\n") == shown(b"a", value) + END


def test_many_commands_in_one_record(rig: Rig, client: TlsClient) -> None:
    client.greet()
    lines = b"".join(b"set k%d 0 0 1\r\nx\r\n" % number for number in range(800))
    assert len(lines) < 16_384
    client.tls.write(lines)
    client.say(client.out.read())
    rig.serve()
    assert client.hear() == b"STORED\r\n" * 800


def test_half_a_record_is_waited_for(rig: Rig, client: TlsClient) -> None:
    client.greet()
    client.tls.write(b"mn\r\n")
    record = client.out.read()
    for at in range(len(record) - 1):
        client.say(record[at : at + 1])
        rig.serve()
        assert client.hear() == b""
        # Nothing is tried again before more comes.
        assert not rig.turn()
    client.say(record[-1:])
    rig.serve()
    assert client.hear() == b"MN\r\n"


@pytest.mark.parametrize("taken", [1, 333, 17_000, 200_000])
def test_a_client_that_takes_little(rig: Rig, client: TlsClient, taken: int) -> None:
    client.greet()
    value = LARGE if taken > 1000 else LARGE[:40_000]
    expected = put(rig, b"a", value) + END + b"MN\r\n" + put(rig, b"b", b"") + END
    client.take(0)
    client.tls.write(b"get a\r\nmn\r\nget b\r\n")
    client.say(client.out.read())
    rig.serve()
    assert client.state == "SENDING"
    got = bytearray()
    for _ in range(200_000):
        client.take(taken)
        rig.serve()
        got += client.hear()
        if client.state == "READING":
            break
    client.take(MANY)
    assert bytes(got) == expected
    assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_both_write_and_nobody_reads(rig: Rig, client: TlsClient) -> None:
    """What waits for a client is bounded, and its input is not received without end."""
    client.greet()
    expected = put(rig, b"a", LARGE[:300_000]) + END
    client.take(1000)
    for _ in range(40):
        client.tls.write(b"get a\r\n" * 5)
    said = client.out.read()
    client.say(said)
    rig.serve()
    assert client.state == "SENDING"
    kept_bytes = client.view.kept_bytes
    assert client.wants == (False, True)
    # What it says on top of that stays where it is.
    for _ in range(10):
        client.tls.write(b"mn\r\n" * 4000)
    client.say(client.out.read())
    rig.serve()
    assert client.view.kept_bytes == kept_bytes
    client.take(MANY)
    rig.serve()
    assert client.hear() == expected * 200 + b"MN\r\n" * 40_000


def test_quit_ends_properly(rig: Rig, client: TlsClient) -> None:
    client.greet()
    put(rig, b"a", LARGE)
    assert client.ask(b"get a\r\nquit\r\n") == shown(b"a", LARGE) + END
    assert client.has_met_notify
    assert client.view.is_closed


def test_no_word_of_an_end_behind_half_a_record(rig: Rig, client: TlsClient) -> None:
    client.greet()
    put(rig, b"a", LARGE)
    client.take(5000)
    client.tls.write(b"get a\r\n")
    client.say(client.out.read())
    rig.serve()
    client.break_off()
    rig.serve()
    assert client.view.is_closed
    client.listen()
    assert not client.has_met_notify


def test_the_clients_end_comes_with_its_last_command(rig: Rig, client: TlsClient) -> None:
    client.greet()
    expected = put(rig, b"a", b"x") + END
    client.tls.write(b"get a\r\n")
    client.notify()
    client.say(client.out.read())
    rig.serve()
    assert client.view.is_closed
    assert rig.counter("ssl_handshake_errors") == 0
    assert client.hear() == expected
    assert client.has_met_notify


def test_last_commands_of_a_client_that_is_gone(rig: Rig, server: TlsContext) -> None:
    """Tickets cannot be written to it; what it said is done all the same."""
    client = TlsClient(rig, server)
    client.listen()
    client.say(client.out.read())
    rig.serve()
    client.listen()
    client.tls.write(b"set a 0 0 1 noreply\r\nx\r\n")
    client.say(client.out.read())
    client.end()
    rig.serve()
    assert client.view.is_closed
    assert rig.handle.get(b"a") == b"x"


def test_damaged_record(rig: Rig, server: TlsContext, client: TlsClient) -> None:
    other = TlsClient(rig, server).greet()
    client.greet()
    client.tls.write(b"set a 0 0 1\r\nx\r\n")
    record = bytearray(client.out.read())
    record[-1] ^= 1
    client.say(bytes(record))
    rig.serve()
    assert client.state == "CLOSED"
    assert other.ask(b"get a\r\n") == END


def test_buffers_come_back_after_a_pause(rig: Rig, server: TlsContext) -> None:
    rig.tick(1000)
    client = TlsClient(rig, server).greet()
    for second in range(1001, 1010):
        rig.tick(second)
    assert client.ask(b"mn\r\n") == b"MN\r\n"
    # Also in the middle of a record.
    client.tls.write(b"mn\r\n")
    record = client.out.read()
    client.say(record[:5])
    rig.serve()
    for second in range(1010, 1020):
        rig.tick(second)
    client.say(record[5:])
    rig.serve()
    assert client.hear() == b"MN\r\n"
