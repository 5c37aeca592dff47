"""Replies that wait for their client: rows of SENDING, SENDING_AHEAD and CLOSING."""

from pymc.core.ffi import lib
from tests.support.core.conn_rig import END, MANY, Client, Rig, put, stuck
from tests.support.core.driver import MIB

# As many as are more than a line may have before its first keys are looked up.
KEYS = 2000


def ahead(rig: Rig) -> tuple[Client, bytes]:
    """One that takes nothing yet and is within a get of KEYS keys and more; one key's answer."""
    reply = put(rig, b"a", b"x" * 1000)
    client = rig.client()
    client.take(10)
    client.say(b"get" + b" a" * KEYS)
    rig.serve()
    assert (client.state, client.shown) == ("SENDING_AHEAD", lib.CONNECTION_WRITE)
    return client, reply


def test_reply_waits(rig: Rig) -> None:
    client, reply = stuck(rig, b"get a\r\n")
    assert (client.state, client.shown) == ("SENDING", lib.CONNECTION_WRITE)
    assert client.wants == (False, True)
    assert client.hear() == reply[:10]
    assert rig.counter("response_buf_bytes") > 0
    # What it says meanwhile is not received.
    client.say(b"mn\r\n")
    rig.serve()
    assert client.view.waiting_bytes == 4
    client.take(500)
    rig.serve()
    assert (client.state, client.hear()) == ("SENDING", (reply * 2)[10:510])
    client.take(MANY)
    rig.serve()
    assert (client.state, client.shown) == ("READING", lib.CONNECTION_READ)
    assert client.wants == (True, False)
    assert client.hear() == (reply * 2)[510:] + b"MN\r\n"
    assert rig.counter("response_buf_bytes") == 0


def test_values_wait_pinned_in_their_places(rig: Rig) -> None:
    small, large = put(rig, b"s", b"s" * 100), put(rig, b"l", b"l" * 100_000)
    client = rig.client()
    client.take(0)
    client.say(b"get s l s l s\r\n")
    rig.serve()
    want, heard = (small + large) * 2 + small + END, b""
    while len(heard) < len(want):
        client.take(7001)
        rig.serve()
        heard += client.hear()
    assert heard == want
    assert client.state == "READING"


def test_nobody_is_sent_more_than_four_mib_in_a_turn(rig: Rig) -> None:
    """A client that takes all it is sent as fast as it comes."""
    reply = put(rig, b"l", b"l" * (3 * MIB)) * 20 + END
    greedy, modest = rig.client(), rig.client()
    greedy.say(b"get" + b" l" * 20 + b"\r\n")
    modest.say(b"mn\r\n")
    rig.turn()
    heard = greedy.hear()
    assert 4 * MIB <= len(heard) < len(reply)
    assert greedy.state == "SENDING"
    assert modest.hear() == b"MN\r\n"
    while greedy.state == "SENDING":
        assert rig.turn()
        piece = greedy.hear()
        assert piece
        heard += piece
    assert heard == reply


def test_reads_ahead(rig: Rig) -> None:
    """Its replies wait, and it goes on writing the keys of one get."""
    client, reply = ahead(rig)
    assert client.wants == (True, True)
    kept = client.view.kept_bytes
    client.say(b" a" * 50)
    rig.serve()
    assert client.view.waiting_bytes == 0
    assert (client.state, client.view.kept_bytes) == ("SENDING_AHEAD", kept + 100)
    client.say(b" a\r\nmn\r\n")
    rig.serve()
    assert client.state == "SENDING"
    assert client.wants == (False, True)
    client.say(b"mn\r\n")
    rig.serve()
    assert client.view.waiting_bytes == 4
    client.take(MANY)
    rig.serve()
    assert client.hear() == reply * (KEYS + 51) + END + b"MN\r\n" * 2


def test_ahead_and_sent(rig: Rig) -> None:
    client, reply = ahead(rig)
    client.take(MANY)
    rig.serve()
    assert client.state == "READING"
    assert client.wants == (True, False)
    client.hear()
    assert client.ask(b" a a\r\n").endswith(reply * 2 + END)


def test_no_room_ahead(rig: Rig) -> None:
    client, _ = ahead(rig)
    rig.cache.set_live("read_buffer_limit_bytes", 100_000)
    client.say(b" a" * 100_000)
    rig.serve()
    assert client.state == "SENDING"
    assert client.view.waiting_bytes > 0
    assert rig.counter("read_ahead_refused") == 1


def test_the_end_while_ahead(rig: Rig) -> None:
    """It gets what it asked for with whole keys, and no end, since it never wrote one."""
    client, reply = ahead(rig)
    client.end()
    rig.serve()
    assert client.state == "SENDING"
    client.take(MANY)
    rig.serve()
    assert client.state == "CLOSED"
    assert client.hear() == reply * (KEYS - 1)


def test_broken_while_ahead(rig: Rig) -> None:
    client, _ = ahead(rig)
    client.break_off()
    rig.serve()
    assert client.state == "CLOSED"
    assert rig.counter("response_buf_bytes") == rig.counter("read_buf_bytes") == 0


def test_quit_behind_replies(rig: Rig) -> None:
    client, reply = stuck(rig, b"quit\r\n")
    assert client.state == "CLOSING"
    client.take(100)
    rig.serve()
    assert client.state == "CLOSING"
    assert not client.view.has_met_end
    client.take(MANY)
    rig.serve()
    assert (client.state, client.hear()) == ("CLOSED", reply)
    assert client.view.has_met_end
    other, _ = stuck(rig, b"quit\r\n")
    other.break_off()
    rig.serve()
    assert other.state == "CLOSED"


def test_broken_while_sending(rig: Rig) -> None:
    put(rig, b"l", b"l" * 100_000)
    client = rig.client()
    client.take(10)
    client.say(b"get l\r\n")
    rig.serve()
    assert client.state == "SENDING"
    client.break_off()
    rig.serve()
    assert client.state == "CLOSED"
    assert rig.counter("response_buf_bytes") == 0


def test_broken_while_a_reply_is_made(rig: Rig) -> None:
    put(rig, b"l", b"l" * 100_000)
    client = rig.client()
    client.take(0)
    client.say(b"get l\r\n")
    rig.serve()
    client.take(10)
    client.break_off()
    rig.serve()
    assert client.state == "CLOSED"
