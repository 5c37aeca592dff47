"""What a transport may do that sockets do not: hold input back, or have to send before it receives.

An encrypting transport does both.
"""

import pytest

from pymc.core.ffi import lib
from tests.support.core.conn_rig import END, MANY, Rig, put, shown


@pytest.mark.parametrize("record_bytes", [1, 7, 100, 16_384])
def test_records_that_no_event_tells_of(rig: Rig, record_bytes: int) -> None:
    client = rig.client()
    lib.memory_client_use_records(client.pointer, record_bytes)
    value = b"x" * 20_000
    lines = b"set a 0 0 20000\r\n" + value + b"\r\nget a\r\nmn\r\n"
    assert client.ask(lines) == b"STORED\r\n" + shown(b"a", value) + END + b"MN\r\n"


def test_records_behind_a_reply_that_waits(rig: Rig) -> None:
    """While it sends nothing is received; what the transport holds is not forgotten."""
    reply = put(rig, b"a", b"x" * 1000) + END
    client = rig.client()
    lib.memory_client_use_records(client.pointer, 7)
    client.take(10)
    client.say(b"get a\r\nmn\r\n")
    rig.serve()
    assert client.state == "SENDING"
    client.take(MANY)
    rig.serve()
    assert client.hear() == reply + b"MN\r\n"


def test_records_behind_an_administrative_command(rig: Rig) -> None:
    client = rig.client()
    lib.memory_client_use_records(client.pointer, 7)
    client.say(b"stats\r\nmn\r\n")
    rig.serve()
    assert client.state == "PARKED"
    assert rig.answer(rig.request(), END)
    rig.serve()
    assert client.hear() == END + b"MN\r\n"


def test_it_has_to_send_before_it_receives(rig: Rig) -> None:
    client = rig.client()
    assert client.ask(b"mn\r\n") == b"MN\r\n"
    lib.memory_client_send_first(client.pointer)
    client.say(b"version\r\n")
    rig.turn()
    assert client.view.waiting_bytes == len(b"version\r\n")
    assert client.wants == (True, False)
    rig.serve()
    assert client.hear() == b"VERSION 1.6.38\r\n"
    # It waits for input again, and for nothing else.
    assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_more_comes_while_it_is_read_from_again(rig: Rig) -> None:
    """In one turn it is received from for what the transport held, and for an event."""
    reply = put(rig, b"a", b"x") + END
    client = rig.client()
    lib.memory_client_use_records(client.pointer, 6)
    client.say(b"mn\r\nget a\r\nmn\r\n")
    rig.turn()
    assert (client.hear(), client.view.kept_bytes) == (b"MN\r\n", 2)
    client.say(b"version\r\n")
    rig.serve()
    assert client.hear() == reply + b"MN\r\nVERSION 1.6.38\r\n"
