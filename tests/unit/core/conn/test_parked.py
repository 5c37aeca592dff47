"""Administrative commands: rows of PARKED and PARKED_SENDING."""

from pymc.core.ffi import lib
from tests.support.core.conn_rig import END, MANY, Rig, stuck


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
    assert rig.answer(rig.request(), b"bye", lib.CONN_ANSWER_CLOSE)
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
    assert rig.answer(ticket, b"one\r\n", lib.CONN_ANSWER_MORE)
    assert (client.state, client.hear()) == ("PARKED", b"one\r\n")
    # Two parts in a row are named once.
    assert rig.answer(ticket, b"two\r\n", lib.CONN_ANSWER_MORE)
    assert rig.streams() == [ticket]
    assert rig.answer(ticket, END)
    assert (client.state, client.hear()) == ("READING", b"two\r\n" + END)
    assert rig.streams() == []


def test_parts_wait(rig: Rig) -> None:
    client = rig.client()
    client.ask(b"lru_crawler metadump all\r\n")
    ticket = rig.request()
    assert rig.answer(ticket, b"one\r\n", lib.CONN_ANSWER_MORE)
    assert rig.streams() == [ticket]
    client.take(2)
    assert rig.answer(ticket, b"two\r\n", lib.CONN_ANSWER_MORE)
    assert (client.state, client.shown) == ("PARKED_SENDING", lib.CONNECTION_WRITE)
    assert client.wants == (False, True)
    assert rig.answer(ticket, b"three\r\n", lib.CONN_ANSWER_MORE)
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
    assert rig.answer(rig.request(), b"bye", lib.CONN_ANSWER_CLOSE)
    assert client.state == "CLOSING"
    client.take(MANY)
    rig.serve()
    assert (client.state, client.hear()) == ("CLOSED", reply + b"bye")


def test_broken_while_answered(rig: Rig) -> None:
    client, _ = stuck(rig, b"stats\r\n")
    ticket = rig.request()
    assert rig.answer(ticket, b"STAT a 1\r\n", lib.CONN_ANSWER_MORE)
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
