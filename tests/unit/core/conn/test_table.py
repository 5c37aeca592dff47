"""Each row of the table in csrc/conn/README.md, over the memory transport."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.deadline import wait_until
from tests.unit.core.conn.rig import MANY, Client, Rig
from tests.unit.core.driver import MIB
from tests.unit.core.flash_cache import FlashCache, Log

END = b"END\r\n"
MORE = lib.CONN_ANSWER_MORE
CLOSE = lib.CONN_ANSWER_CLOSE
# As many as are more than a line may have before its first keys are looked up.
KEYS = 2000


def shown(key: bytes, value: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value)


def put(rig: Rig, key: bytes, value: bytes) -> bytes:
    """Stores it; how a get shows it."""
    assert rig.handle.put(key, value).outcome == lib.STORE_STORED
    return shown(key, value)


def stuck(rig: Rig, behind: bytes = b"", taken: int = 10) -> tuple[Client, bytes]:
    """One that takes only some bytes of a reply, and the whole reply."""
    reply = put(rig, b"a", b"x" * 1000) + END
    client = rig.client()
    client.take(taken)
    client.say(b"get a\r\n" + behind)
    rig.serve()
    return client, reply


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


def ahead(rig: Rig) -> tuple[Client, bytes]:
    """One that takes nothing yet and is within a get of KEYS keys and more; one key's answer."""
    reply = put(rig, b"a", b"x" * 1000)
    client = rig.client()
    client.take(10)
    client.say(b"get" + b" a" * KEYS)
    rig.serve()
    assert (client.state, client.shown) == ("SENDING_AHEAD", lib.CONNECTION_WRITE)
    return client, reply


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


def test_quit(rig: Rig) -> None:
    client = rig.client()
    assert client.ask(b"mn\r\nquit\r\nmn\r\n") == b"MN\r\n"
    assert client.state == "CLOSED"
    assert client.view.has_heard_end
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


def test_quit_behind_replies(rig: Rig) -> None:
    client, reply = stuck(rig, b"quit\r\n")
    assert client.state == "CLOSING"
    client.take(100)
    rig.serve()
    assert client.state == "CLOSING"
    assert not client.view.has_heard_end
    client.take(MANY)
    rig.serve()
    assert (client.state, client.hear()) == ("CLOSED", reply)
    assert client.view.has_heard_end
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


def test_parked(rig: Rig) -> None:
    client = rig.client()
    client.say(b"mn\r\nstats settings\r\nmn\r\n")
    rig.serve()
    assert (client.state, client.shown) == ("PARKED", lib.CONNECTION_PARKED)
    assert client.wants == (False, False)
    assert client.hear() == b"MN\r\n"
    client.say(b"version\r\n")
    rig.serve()
    assert client.view.waiting_bytes == len(b"version\r\n")
    ((ticket, line),) = rig.requests()
    assert line == b"stats settings"
    assert rig.answer(ticket, b"STAT a 1\r\nEND\r\n")
    assert client.hear() == b"STAT a 1\r\nEND\r\nMN\r\n"
    rig.serve()
    assert (client.state, client.shown) == ("READING", lib.CONNECTION_READ)
    assert client.hear() == b"VERSION 1.6.38\r\n"
    assert not rig.answer(ticket, b"again")


def test_an_empty_answer(rig: Rig) -> None:
    client = rig.client()
    client.ask(b"stats\r\n")
    assert rig.answer(rig.request(), b"")
    assert (client.state, client.hear()) == ("READING", b"")
    assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_it_ends_its_side_and_waits_for_the_answer(rig: Rig) -> None:
    client = rig.client()
    client.say(b"stats\r\n")
    rig.turn()
    client.end()
    rig.serve()
    assert client.state == "PARKED"
    assert rig.answer(rig.request(), END)
    rig.serve()
    assert (client.hear(), client.state) == (END, "CLOSED")


def test_broken_while_parked(rig: Rig) -> None:
    client = rig.client()
    client.ask(b"stats\r\n")
    ticket = rig.request()
    client.break_off()
    rig.serve()
    assert client.state == "CLOSED"
    assert not rig.answer(ticket, END)
    closing = rig.client()
    closing.ask(b"shutdown\r\n")
    assert rig.answer(rig.request(), b"bye", CLOSE)
    assert (closing.hear(), closing.state) == (b"bye", "CLOSED")
    # Its request was not fetched: there is none any more.
    forgotten = rig.client()
    forgotten.ask(b"stats\r\n")
    forgotten.break_off()
    rig.serve()
    assert rig.requests() == []


def test_parts(rig: Rig) -> None:
    client = rig.client()
    client.ask(b"lru_crawler metadump all\r\n")
    ticket = rig.request()
    assert rig.answer(ticket, b"one\r\n", MORE)
    assert (client.state, client.hear()) == ("PARKED", b"one\r\n")
    # Two parts in a row are named once.
    assert rig.answer(ticket, b"two\r\n", MORE)
    assert rig.streams() == [ticket]
    assert rig.answer(ticket, END)
    assert (client.state, client.hear()) == ("READING", b"two\r\n" + END)
    assert rig.streams() == []


def test_parts_wait(rig: Rig) -> None:
    client = rig.client()
    client.ask(b"lru_crawler metadump all\r\n")
    ticket = rig.request()
    assert rig.answer(ticket, b"one\r\n", MORE)
    assert rig.streams() == [ticket]
    client.take(2)
    assert rig.answer(ticket, b"two\r\n", MORE)
    assert (client.state, client.shown) == ("PARKED_SENDING", lib.CONNECTION_WRITE)
    assert client.wants == (False, True)
    assert rig.answer(ticket, b"three\r\n", MORE)
    assert rig.streams() == []
    client.take(MANY)
    rig.serve()
    assert client.state == "PARKED"
    assert client.wants == (False, False)
    assert client.hear() == b"one\r\ntwo\r\nthree\r\n"
    assert rig.streams() == [ticket]
    client.take(0)
    assert rig.answer(ticket, END)
    assert client.state == "SENDING"
    client.take(MANY)
    rig.serve()
    assert (client.state, client.hear()) == ("READING", END)
    assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_parked_behind_replies(rig: Rig) -> None:
    client, reply = stuck(rig, b"stats\r\nmn\r\n")
    assert (client.state, client.shown) == ("PARKED_SENDING", lib.CONNECTION_PARKED)
    assert client.wants == (False, True)
    ticket = rig.request()
    assert rig.answer(ticket, END)
    assert client.state == "SENDING"
    client.take(MANY)
    rig.serve()
    assert (client.state, client.hear()) == ("READING", reply + END + b"MN\r\n")
    # The client takes what was said before, and only then the answer comes.
    slow, reply = stuck(rig, b"stats\r\nmn\r\n")
    slow.take(MANY)
    rig.serve()
    assert slow.state == "PARKED"
    assert rig.streams() == []
    assert rig.answer(rig.request(), END)
    assert slow.hear() == reply + END + b"MN\r\n"


def test_last_part_closes(rig: Rig) -> None:
    client, reply = stuck(rig, b"shutdown\r\nmn\r\n")
    assert rig.answer(rig.request(), b"bye", CLOSE)
    assert client.state == "CLOSING"
    client.take(MANY)
    rig.serve()
    assert (client.state, client.hear()) == ("CLOSED", reply + b"bye")


def test_broken_while_answered(rig: Rig) -> None:
    client, _ = stuck(rig, b"stats\r\n")
    ticket = rig.request()
    assert rig.answer(ticket, b"STAT a 1\r\n", MORE)
    assert client.state == "PARKED_SENDING"
    client.break_off()
    rig.serve()
    assert client.state == "CLOSED"
    assert not rig.answer(ticket, END)
    assert rig.streams() == []


def test_another_process_answers(rig: Rig) -> None:
    client = rig.client()
    client.ask(b"lru_crawler metadump all\r\nmn\r\n")
    ticket = rig.request()
    lib.memory_client_lend(client.pointer)
    rig.serve()
    assert (client.state, rig.streams()) == ("PARKED", [])
    lib.memory_client_lent_is_done(client.pointer)
    assert rig.streams() == [ticket]
    assert rig.answer(ticket, b"")
    assert (client.state, client.hear()) == ("READING", b"MN\r\n")


def test_on_bucket(rig: Rig) -> None:
    reply = put(rig, b"held", b"7") + END
    holder = rig.cache.open(1)
    client, other = rig.client(), rig.client()
    holder.hold(b"held")
    client.say(b"mn\r\nget held\r\nmn\r\n")
    rig.turn()
    assert (client.state, client.shown) == ("ON_BUCKET", lib.CONNECTION_IO_QUEUE)
    assert client.hear() == b"MN\r\n"
    client.say(b"version\r\n")
    other.say(b"mn\r\n")
    rig.turn()
    assert (client.state, client.view.waiting_bytes) == ("ON_BUCKET", len(b"version\r\n"))
    assert other.hear() == b"MN\r\n"
    holder.release(b"held")
    rig.serve()
    assert (client.state, client.shown) == ("READING", lib.CONNECTION_READ)
    assert client.hear() == reply + b"MN\r\nVERSION 1.6.38\r\n"


def test_broken_on_bucket(rig: Rig) -> None:
    put(rig, b"held", b"7")
    holder = rig.cache.open(1)
    client = rig.client()
    holder.hold(b"held")
    client.say(b"get held\r\n")
    rig.turn()
    assert client.state == "ON_BUCKET"
    client.break_off()
    rig.serve()
    assert client.state == "CLOSED"
    holder.release(b"held")


@pytest.fixture
def flash(tmp_path: Path) -> Iterator[Rig]:
    """Its items k0 to k9 are on flash only."""
    tier = FlashCache(tmp_path, Log(kind=lib.FLASH_READER_THREADS))
    for number in range(10):
        tier.send(b"set k%d 0 0 5\r\nvalue\r\n" % number)
    tier.to_flash()
    made = Rig(tier.cache, tier.worker)
    yield made
    made.close()
    tier.close()


def read_flash(rig: Rig, client: Client) -> None:
    """Turns until no command of the client waits for flash any more."""

    def is_read() -> bool:
        rig.turn()
        return client.state != "ON_FLASH"

    wait_until(is_read, "the read from flash")


def test_on_flash(flash: Rig) -> None:
    client, other = flash.client(), flash.client()
    client.say(b"mn\r\nget k0\r\nmn\r\n")
    flash.turn()
    assert (client.state, client.shown) == ("ON_FLASH", lib.CONNECTION_IO_QUEUE)
    assert client.hear() == b"MN\r\n"
    client.say(b"version\r\n")
    other.say(b"mn\r\n")
    # Whether the read is done by now is the device's to say.
    flash.turn()
    assert other.hear() == b"MN\r\n"
    read_flash(flash, client)
    flash.serve()
    assert (client.state, client.shown) == ("READING", lib.CONNECTION_READ)
    assert client.hear() == shown(b"k0", b"value") + END + b"MN\r\nVERSION 1.6.38\r\n"


def test_it_ends_its_side_on_flash(flash: Rig) -> None:
    client = flash.client()
    client.say(b"get k0\r\n")
    flash.turn()
    assert client.state == "ON_FLASH"
    client.end()
    read_flash(flash, client)
    flash.serve()
    assert (client.state, client.hear()) == ("CLOSED", shown(b"k0", b"value") + END)


def test_broken_on_flash(flash: Rig) -> None:
    client = flash.client()
    client.say(b"get k0\r\n")
    flash.turn()
    assert client.state == "ON_FLASH"
    client.break_off()
    flash.turn()
    assert client.state == "CLOSED"
