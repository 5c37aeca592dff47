"""What a client says, whole and in pieces: rows of READING and YIELDED."""

import pytest

from pymc.core.ffi import lib
from tests.support.core.conn_rig import END, MANY, Rig, put, shown
from tests.support.core.driver import MIB


def test_half_a_line(rig: Rig) -> None:
    client = rig.client()
    line = b"set a 0 0 3\r\nabc\r\nget a\r\n"
    for at in range(len(line) - 1):
        client.say(line[at : at + 1])
        rig.serve()
        assert client.state == "READING"
        assert client.wants == (True, False)
    assert client.view.kept_bytes == len(b"get a\r")
    assert client.ask(line[-1:]) == b"STORED\r\n" + shown(b"a", b"abc") + END
    assert client.view.kept_bytes == 0


def test_pipelines(rig: Rig) -> None:
    client = rig.client()
    lines = b"".join(b"set k%d 0 0 2\r\n%02d\r\n" % (n, n) for n in range(50))
    assert client.ask(lines) == b"STORED\r\n" * 50
    want = b"".join(shown(b"k%d" % n, b"%02d" % n) + END for n in range(50))
    assert client.ask(b"".join(b"get k%d\r\n" % n for n in range(50))) == want


def test_a_group_is_answered_in_one_turn(rig: Rig) -> None:
    """More clients than there are stages; one of them takes nothing yet, one breaks off."""
    reply = put(rig, b"a", b"x" * 100) + END
    clients = [rig.client() for _ in range(40)]
    clients[7].take(0)
    for client in clients:
        client.say(b"get a\r\n")
    clients[9].break_off()
    rig.turn()
    heard = [client.hear() for client in clients]
    assert heard == [b"" if n in (7, 9) else reply for n in range(40)]
    assert clients[7].state == "SENDING"
    assert clients[9].state == "CLOSED"
    clients[7].take(MANY)
    rig.serve()
    assert clients[7].hear() == reply


@pytest.mark.parametrize("value_bytes", [100, 8192, 8193, 20_000, 700_000, 3 * MIB])
@pytest.mark.parametrize("piece_bytes", [1000, 9000, 65_536])
def test_a_value_that_straddles(rig: Rig, value_bytes: int, piece_bytes: int) -> None:
    client = rig.client()
    value = bytes(range(256)) * (value_bytes // 256 + 1)
    value = value[:value_bytes]
    whole = b"set a 0 0 %d\r\n%s\r\nmn\r\n" % (value_bytes, value)
    for at in range(0, len(whole), piece_bytes):
        client.say(whole[at : at + piece_bytes])
        rig.serve()
        if len(b"set a 0 0 3145728\r\n") < at + piece_bytes < value_bytes:
            assert client.shown == lib.CONNECTION_NREAD
            assert client.state == "READING"
    assert client.hear() == b"STORED\r\nMN\r\n"
    assert client.shown == lib.CONNECTION_READ
    assert rig.handle.get(b"a") == value


def test_a_value_that_is_swallowed(rig: Rig) -> None:
    client = rig.client()
    client.say(b"set a 0 0 %d\r\n" % (100 * MIB))
    client.say(b"x" * 1000)
    rig.serve()
    assert client.hear() == b"SERVER_ERROR object too large for cache\r\n"
    assert (client.state, client.shown) == ("READING", lib.CONNECTION_SWALLOW)


def test_yields_after_replies(rig: Rig) -> None:
    """Eight full reply buffers are a turn; others are served before the next one."""
    reply = put(rig, b"a", b"x" * 3000) + END
    greedy, modest = rig.client(), rig.client()
    greedy.say(b"get a\r\n" * 1000)
    rig.turn()
    first = greedy.hear()
    assert greedy.state == "YIELDED"
    assert greedy.wants == (True, False)
    assert len(reply) * 8 < len(first) < len(reply) * 1000
    modest.say(b"mn\r\n")
    rig.turn()
    assert modest.hear() == b"MN\r\n"
    assert greedy.state == "YIELDED"
    rig.serve()
    assert first + greedy.hear() == reply * 1000
    assert greedy.state == "READING"
    assert rig.counter("conn_yields") > 1


def test_yields_after_requests(rig: Rig) -> None:
    rig.cache.set_live("requests_per_event", 5)
    client = rig.client()
    client.say(b"mn\r\n" * 12)
    rig.turn()
    assert (client.hear(), client.state) == (b"MN\r\n" * 5, "YIELDED")
    client.say(b"version\r\n")  # An event that comes in between is not lost.
    rig.turn()
    rig.serve()
    assert client.hear() == b"MN\r\n" * 7 + b"VERSION 1.6.38\r\n"


def test_closed_while_yielded(rig: Rig) -> None:
    rig.cache.set_live("requests_per_event", 1)
    client = rig.client()
    client.say(b"mn\r\nmn\r\n")
    rig.turn()
    assert client.state == "YIELDED"
    rig.close()
    assert rig.counter("curr_connections") == 0


@pytest.mark.parametrize("values", [1, 40])
def test_nobody_is_received_from_for_long_in_a_turn(rig: Rig, values: int) -> None:
    """Of one large value, or of many that are pipelined, some 4 MiB at most are a turn."""
    value_bytes = 20 * MIB // values
    one = b"set a 0 0 %d\r\n%s\r\n" % (value_bytes, b"x" * value_bytes)
    greedy, modest = rig.client(), rig.client()
    greedy.say(one * values)
    most, waiting = 0, len(one) * values
    while waiting:
        modest.say(b"mn\r\n")
        rig.turn()
        assert modest.hear() == b"MN\r\n"
        most = max(most, waiting - greedy.view.waiting_bytes)
        waiting = greedy.view.waiting_bytes
    rig.serve()
    assert greedy.hear() == b"STORED\r\n" * values
    assert 20 * MIB // values // 5 <= most < 6 * MIB


def test_quit(rig: Rig) -> None:
    client = rig.client()
    assert client.ask(b"mn\r\nquit\r\nmn\r\n") == b"MN\r\n"
    assert client.state == "CLOSED"
    assert client.view.has_met_end
    assert client.view.is_closed


def test_the_end_of_input(rig: Rig) -> None:
    """What it said before is answered; half a line is not."""
    client = rig.client()
    client.say(b"mn\r\nmn")
    client.end()
    rig.serve()
    assert (client.hear(), client.state) == (b"MN\r\n", "CLOSED")
    silent = rig.client()
    silent.end()
    rig.serve()
    assert silent.state == "CLOSED"
    assert rig.counter("curr_connections") == 0


def test_no_memory_for_input(rig: Rig) -> None:
    rig.cache.set_live("read_buffer_limit_bytes", 1)
    client = rig.client()
    assert client.ask(b"mn\r\nmn") == b"MN\r\nSERVER_ERROR out of memory reading request\r\n"
    assert client.state == "CLOSED"
    assert rig.counter("read_buf_oom") == 1


def test_silent_in_a_value(rig: Rig) -> None:
    rig.cache.set_live("value_timeout_seconds", 60)
    rig.tick(100)
    client = rig.client()
    client.say(b"set a 0 0 100000\r\n" + b"x" * 20_000)
    rig.serve()
    rig.tick(159)
    assert client.state == "READING"
    rig.tick(160)
    assert client.state == "CLOSED"
    assert rig.counter("value_timeouts") == 1
