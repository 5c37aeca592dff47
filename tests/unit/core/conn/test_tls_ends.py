"""What is sent to an encrypted client besides replies: a ticket, and the word that it ends."""

import ssl

import pytest

from tests.support.core.conn_rig import END, MANY, Rig, put
from tests.support.core.tls_conn import TlsClient, client_context, server_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
LARGE = bytes(range(256)) * 4000


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def client(rig: Rig, request: pytest.FixtureRequest) -> TlsClient:
    server = server_context(rig)
    client = TlsClient(rig, server, client_context(request.param))
    server.release()
    return client


@pytest.fixture
def newest(rig: Rig) -> TlsClient:
    """A client of TLS 1.3 that has got the server's part of the handshake, and answers it next."""
    server = server_context(rig, resumes=True)
    client = TlsClient(rig, server)
    server.release()
    client.listen()
    client.say(client.out.read())
    rig.serve()
    client.listen()
    assert client.view.sends == 1
    return client


def _has_ticket(client: TlsClient) -> bool:
    client.listen()
    session = client.tls.session
    return session is not None and session.has_ticket


def test_a_ticket_leaves_with_the_first_reply(rig: Rig, newest: TlsClient) -> None:
    newest.tls.write(b"mn\r\n")
    newest.say(newest.out.read())
    rig.serve()
    assert newest.view.sends == 2
    assert newest.hear() == b"MN\r\n"
    assert _has_ticket(newest)


def test_a_ticket_does_not_wait_for_a_request(rig: Rig, newest: TlsClient) -> None:
    newest.say(newest.out.read())
    rig.serve()
    assert newest.view.sends == 2
    assert _has_ticket(newest)


def test_a_ticket_that_waits_for_room(rig: Rig, newest: TlsClient) -> None:
    newest.take(10)
    newest.tls.write(b"mn\r\n")
    newest.say(newest.out.read())
    rig.serve()
    assert newest.hear() == b""
    newest.take(MANY)
    rig.serve()
    assert newest.hear() == b"MN\r\n"
    assert _has_ticket(newest)


def test_a_ticket_before_a_large_reply(rig: Rig, newest: TlsClient) -> None:
    expected = put(rig, b"a", LARGE) + END
    assert newest.ask(b"get a\r\n") == expected
    assert _has_ticket(newest)


def test_a_ticket_and_an_alert(rig: Rig, newest: TlsClient) -> None:
    """What came behind the handshake is no record: the client is told, and the ticket is first."""
    newest.say(newest.out.read() + b"\x17\x03\x03\x00\x20" + bytes(32))
    rig.serve()
    assert newest.view.is_closed
    with pytest.raises(ssl.SSLError, match="bad record mac"):
        newest.listen()


@pytest.mark.parametrize("has_left", [False, True])
def test_a_client_that_has_left_is_sent_nothing(
    rig: Rig, client: TlsClient, *, has_left: bool
) -> None:
    """One that has said that it ends may wait for the same word, unless it closed its side too."""
    client.greet()
    client.ask(b"mn\r\n")
    sends = client.view.sends
    client.notify()
    client.say(client.out.read())
    if has_left:
        client.end()
    rig.serve()
    assert client.view.is_closed
    assert client.view.sends == sends + (not has_left)
    client.listen()
    assert client.has_met_notify != has_left


def test_one_that_has_closed_its_side_hears_of_the_end(rig: Rig, client: TlsClient) -> None:
    """It is still there: it got a reply after that."""
    client.greet()
    client.tls.write(b"mn\r\n")
    client.notify()
    client.say(client.out.read())
    client.end()
    rig.serve()
    assert client.hear() == b"MN\r\n"
    assert client.has_met_notify
