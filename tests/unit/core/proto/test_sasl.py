"""SASL PLAIN: each order of its three requests, what is right, and what the rest is told."""

from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, Cache
from tests.support.core.talk import Talk
from tests.support.packets import OPCODES, Response, error, request, responses, storing

USERS = b"alice:wonder\nempty:\nbob:two words\n"
GOOD, BAD = b"\0alice\0wonder", b"\0alice\0wrong"
IN = Response(OPCODES["sasl_auth"], value=b"Authenticated")
GO_ON = Response(OPCODES["sasl_auth"], 0x21)
OUT = error("sasl_auth", "auth")
NOOP, NOOP_SAID = request("noop"), Response(OPCODES["noop"])


def auth(said: bytes, mechanism: bytes = b"PLAIN") -> bytes:
    return request("sasl_auth", mechanism, said)


def step(said: bytes) -> bytes:
    return request("sasl_step", b"PLAIN", said)


STEP_IN = Response(OPCODES["sasl_step"], value=b"Authenticated")
STEP_OUT = error("sasl_step", "auth")
LIST, LISTED = request("sasl_list"), Response(OPCODES["sasl_list"], value=b"PLAIN")


@pytest.fixture
def talk() -> Iterator[Talk]:
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        cache.set_live("sasl_enabled", 1)
        talk = Talk(cache.open())
        assert lib.proto_set_sasl(talk.proto, USERS, len(USERS)) == lib.PYMC_OK
        yield talk


def said(talk: Talk, sent: bytes) -> list[Response]:
    return responses(talk.ask(sent))


def is_in(talk: Talk) -> bool:
    """Whether a request is answered; one that is not closes the connection."""
    [answer] = said(talk, NOOP)
    assert talk.is_closed == (answer == error("noop", "auth"))
    return answer == NOOP_SAID


@pytest.mark.parametrize(
    ("sent", "answers", "lets_in"),
    [
        (auth(GOOD), [IN], True),
        (auth(BAD), [OUT], False),
        (auth(GOOD) + auth(BAD), [IN, OUT], False),
        (auth(BAD) + auth(GOOD), [OUT, IN], True),
        (auth(GOOD) + LIST, [IN, LISTED], False),
        (LIST + auth(GOOD), [LISTED, IN], True),
        (step(GOOD), [STEP_OUT], False),
        (auth(b"") + step(GOOD), [GO_ON, STEP_IN], True),
        (auth(b"") + step(BAD), [GO_ON, STEP_OUT], False),
        (auth(b"") + step(BAD) + step(GOOD), [GO_ON, STEP_OUT, STEP_OUT], False),
        (auth(b"") + auth(GOOD), [GO_ON, IN], True),
        (auth(b"") + auth(BAD) + step(GOOD), [GO_ON, OUT, STEP_OUT], False),
        (auth(b""), [GO_ON], False),
        (auth(GOOD) + auth(b""), [IN, GO_ON], False),
        (auth(GOOD) + step(GOOD), [IN, STEP_OUT], False),
        (auth(GOOD, b"FOO"), [OUT], False),
        (auth(GOOD, b"plain"), [OUT], False),
        (auth(b"", b"FOO") + step(GOOD), [OUT, STEP_OUT], False),
        (auth(GOOD, b"P" * 33), [error("sasl_auth", "invalid")], False),
        (auth(GOOD) + auth(GOOD, b"P" * 33), [IN, error("sasl_auth", "invalid")], True),
    ],
)
def test_each_order(talk: Talk, sent: bytes, answers: list[Response], lets_in: bool) -> None:
    assert said(talk, sent) == answers
    assert is_in(talk) == lets_in


@pytest.mark.parametrize(
    ("what", "lets_in"),
    [
        (b"alice\0alice\0wonder", True),
        (b"bob\0alice\0wonder", False),
        (b"\0bob\0two words", True),
        (b"\0alice\0wonde", False),
        (b"\0alice\0wonderer", False),
        (b"\0alice\0wonder\0", False),
        (b"\0alice\0", False),
        (b"\0empty\0", False),
        (b"\0\0", False),
        (b"\0", False),
        (b"\0\0\0\0\0", False),
        (b"alice", False),
        (b"\0alice", False),
        (b"alice wonder", False),
        (b"\0alice:wonder\0", False),
        (b"\0alice\0wonder\nbob:two words", False),
    ],
)
def test_who_is_right(talk: Talk, what: bytes, lets_in: bool) -> None:
    assert said(talk, auth(what)) == [IN if lets_in else OUT]
    assert is_in(talk) == lets_in


@pytest.mark.parametrize(
    "sent",
    [
        request("get", b"k"),
        request("getq", b"k"),
        storing("set", b"k", b"v" * 20_000)[:200],
        request("stat"),
        request("0x77"),
        request("get", b"k" * 251),
        request("quitq"),
        NOOP,
    ],
)
def test_what_comes_before_is_refused_and_closed(talk: Talk, sent: bytes) -> None:
    assert said(talk, sent) == [Response(sent[1], 0x20, value=b"Auth failure.")]
    assert talk.is_closed
    # It was no attempt to say who it is.
    assert talk.handle.counters()["auth_cmds"] == 0


def test_version_may_be_asked_for(talk: Talk) -> None:
    assert [one.status for one in said(talk, request("version") * 2)] == [0, 0]


def test_attempts_are_counted(talk: Talk) -> None:
    said(talk, LIST + auth(BAD) + auth(GOOD) + auth(b"") + step(BAD) + auth(GOOD, b"FOO"))
    counters = talk.handle.counters()
    assert (counters["auth_cmds"], counters["auth_errors"]) == (4, 3)


@pytest.mark.parametrize("size", [1025, 9_000, 3_000_000])
def test_a_login_that_cannot_be_is_not_waited_for(talk: Talk, size: int) -> None:
    sent = auth(b"\0alice\0" + b"x" * (size - 7))
    assert said(talk, sent[:40]) == [OUT]
    assert said(talk, sent[40:] + request("version"))[-1].status == 0
    assert talk.handle.counters()["auth_errors"] == 1


def test_a_login_may_come_in_pieces(talk: Talk) -> None:
    for byte in auth(GOOD)[:-1]:
        assert said(talk, bytes([byte])) == []
    assert said(talk, auth(GOOD)[-1:]) == [IN]


def test_other_users_count_from_the_next_login_on(talk: Talk) -> None:
    assert said(talk, auth(GOOD)) == [IN]
    assert lib.proto_set_sasl(talk.proto, b"carol:x\n", 8) == lib.PYMC_OK
    other = Talk(talk.handle)
    assert said(other, auth(GOOD) + auth(b"\0carol\0x")) == [OUT, IN]
    assert is_in(talk)
    assert lib.proto_set_sasl(talk.proto, ffi.NULL, 0) == lib.PYMC_OK
    assert said(other, auth(b"\0carol\0x")) == [OUT]
