"""Failed logins: their answers are held back, and nothing else is."""

from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.conn_rig import Client, Rig
from tests.support.core.driver import MIB, Cache

USERS = b"alice:wonder\nbob:builder\n"
FAILED = b"CLIENT_ERROR authentication failure\r\n"
START = 1000


@pytest.fixture
def rig() -> Iterator[Rig]:
    more = lib.addresses_reserve_bytes()
    with Cache(limit_bytes=64 * MIB, reserve_bytes_more=more) as cache:
        assert lib.addresses_create(cache.arena) == 0
        made = Rig(cache, cache.open())
        assert lib.memory_loop_set_auth(made.loop, USERS, len(USERS)) == 0
        made.tick(START)
        yield made
        made.close()
        made.handle.check()
        assert made.counter("logins_delayed") == 0


def login(token: bytes) -> bytes:
    return b"set x 0 0 %d\r\n%s\r\n" % (len(token), token)


def fail(rig: Rig, behind: bytes = b"") -> Client:
    client = rig.client()
    client.say(login(b"alice wrong") + behind)
    rig.serve()
    return client


def test_delayed(rig: Rig) -> None:
    client = fail(rig)
    assert (client.state, client.shown) == ("DELAYED", lib.CONNECTION_WRITE)
    assert client.wants == (False, False)
    assert client.hear() == b""
    rig.tick(START + 1)
    assert client.hear() == FAILED
    assert (client.state, client.shown) == ("READING", lib.CONNECTION_READ)
    assert client.ask(login(b"alice wonder") + b"mn\r\n") == b"STORED\r\nMN\r\n"
    assert (rig.counter("auth_cmds"), rig.counter("auth_errors")) == (2, 1)


def test_each_one_takes_longer(rig: Rig) -> None:
    now = START
    for seconds in (1, 2, 4, 8, 16, 16):
        client = fail(rig)
        assert rig.counter("logins_delayed") == 1
        rig.tick(now + seconds - 1)
        assert client.hear() == b""
        now += seconds
        rig.tick(now)
        assert client.hear() == FAILED


def test_who_knows_the_password_does_not_wait(rig: Rig) -> None:
    waiting = [fail(rig) for _ in range(5)]
    other = rig.client()
    assert other.ask(login(b"bob builder") + b"get a\r\n") == b"STORED\r\nEND\r\n"
    assert [client.hear() for client in waiting] == [b""] * 5


def test_while_passwords_are_tried_good_logins_wait_too(rig: Rig) -> None:
    for _ in range(128):
        fail(rig)
    client = rig.client()
    client.say(login(b"alice wonder") + b"mn\r\n")
    rig.serve()
    assert (client.state, client.hear()) == ("DELAYED", b"")
    rig.tick(START + 16)
    rig.serve()
    assert client.hear() == b"STORED\r\nMN\r\n"


def test_what_is_no_attempt_does_not_wait(rig: Rig) -> None:
    client = rig.client()
    unknown = b"CLIENT_ERROR unauthenticated\r\n"
    assert client.ask(b"get a\r\nstats\r\nversion\r\nnonsense\r\n") == 4 * unknown
    assert client.ask(login(b"alice")) == b"CLIENT_ERROR bad authentication token format\r\n"
    assert client.ask(b"\r\n" * 1000) == 1000 * unknown
    assert client.ask(b"set x 0 0 4294967295\r\n") == unknown
    assert client.ask(b"set x 0 0 -1\r\nset x 0 0 1025\r\n") == 2 * unknown
    assert rig.counter("auth_errors") == 0


def test_what_comes_behind_it_waits_as_well(rig: Rig) -> None:
    client = fail(rig, login(b"bob wrong") + login(b"bob builder") + b"mn\r\n")
    client.say(b"mn\r\n")
    rig.serve()
    assert client.view.waiting_bytes == len(b"mn\r\n")
    rig.tick(START + 1)
    # The second attempt of the same line waits for its own time.
    assert (client.hear(), client.state) == (FAILED, "DELAYED")
    rig.tick(START + 2)
    assert client.hear() == b""
    rig.tick(START + 3)
    rig.serve()
    assert client.hear() == FAILED + b"STORED\r\nMN\r\nMN\r\n"


def test_it_ends_its_side_and_waits_for_the_answer(rig: Rig) -> None:
    client = fail(rig)
    client.end()
    rig.serve()
    assert client.state == "DELAYED"
    rig.tick(START + 1)
    rig.serve()
    assert (client.hear(), client.state) == (FAILED, "CLOSED")


def test_broken_while_delayed(rig: Rig) -> None:
    clients = [fail(rig) for _ in range(6)]
    for client in clients[:3]:
        client.break_off()
    rig.serve()
    assert [client.state for client in clients] == ["CLOSED"] * 3 + ["DELAYED"] * 3
    assert rig.counter("logins_delayed") == 3
    rig.tick(START + 100)
    assert [client.hear() for client in clients] == [b""] * 3 + [FAILED] * 3


def test_who_does_not_take_the_answer_is_sent_it_later(rig: Rig) -> None:
    client = rig.client()
    client.take(5)
    client.say(login(b"alice wrong"))
    rig.serve()
    rig.tick(START + 1)
    assert (client.state, client.hear()) == ("SENDING", FAILED[:5])
    client.take(1000)
    rig.serve()
    assert (client.state, client.hear()) == ("READING", FAILED[5:])


def test_many_wait_and_are_answered_in_time(rig: Rig) -> None:
    clients = [fail(rig) for _ in range(300)]
    assert rig.counter("logins_delayed") == 300
    assert rig.counter("response_buf_bytes") == 300 * len(FAILED)
    for client in clients[::3]:
        client.break_off()
    rig.serve()
    rig.tick(START + 16)
    heard = [client.hear() for client in clients]
    assert [part for number, part in enumerate(heard) if number % 3] == [FAILED] * 200
    assert not any(heard[::3])
    assert rig.counter("response_buf_bytes") == 0
