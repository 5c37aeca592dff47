"""Binary clients: pipelines and pieces, values from and into the arena, doors, rights, the log."""

import os
from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, Cache
from tests.support.core.talk import Talk
from tests.support.packets import (
    OPCODES,
    Response,
    counting,
    error,
    request,
    responses,
    storing,
    touching,
)

NOOP, NOOP_SAID = request("noop"), Response(OPCODES["noop"])
READ, WRITE, ADMIN = lib.SESSION_MAY_READ, lib.SESSION_MAY_WRITE, lib.SESSION_MAY_ADMIN


@pytest.fixture
def talk() -> Iterator[Talk]:
    with Cache(limit_bytes=64 * MIB, chunk_bytes=LADDER) as cache:
        yield Talk(cache.open(), answers_admin=False)


def said(talk: Talk, sent: bytes) -> list[Response]:
    return responses(talk.ask(sent))


def values(found: list[Response]) -> list[tuple[int, bytes]]:
    return [(one.opaque, one.value) for one in found]


def test_a_pipeline_longer_than_a_batch_keeps_its_order(talk: Talk) -> None:
    keys = [b"key-%d" % number for number in range(100)]
    assert said(talk, b"".join(storing("setq", key, b"v" + key) for key in keys) + NOOP) == [
        NOOP_SAID
    ]
    asked = [
        request("getq" if number % 3 else "getkq", key if number % 2 else b"none", opaque=number)
        for number, key in enumerate(keys)
    ]
    found = said(talk, b"".join(asked) + NOOP)
    wanted = [(number, b"v" + key) for number, key in enumerate(keys) if number % 2]
    assert values(found[:-1]) == wanted and found[-1] == NOOP_SAID
    counters = talk.handle.counters()
    assert (counters["cmd_get"], counters["get_misses"], counters["requests"]) == (100, 50, 202)


@pytest.mark.parametrize("step", [1, 7, 23, 25, 1000])
def test_pieces_change_nothing(talk: Talk, step: int) -> None:
    sent = (
        storing("set", b"a", b"x" * 3000, 5)
        + request("get", b"a")
        + counting("incr", b"n", 2, 40)
        + touching("gat", b"a", 0)
        + request("0x1b", b"key", b"body")
        + storing("set", b"large", b"l" * 50_000)
        + request("append", b"large", b"m" * 20_000)
        + request("getk", b"large")
        + NOOP
    )
    whole = Talk(talk.handle)
    wanted = said(whole, sent)
    assert len(wanted) == 9 and wanted[-1] == NOOP_SAID
    assert wanted[7].value == b"l" * 50_000 + b"m" * 20_000
    assert said(whole, request("delete", b"n")) == [Response(OPCODES["delete"])]
    for at in range(0, len(sent), step):
        talk.feed(sent[at : at + step])
    found = responses(talk.received)
    assert [one.value for one in found] == [one.value for one in wanted]
    assert [one.status for one in found] == [one.status for one in wanted]


def test_a_large_value_is_received_into_its_item(talk: Talk) -> None:
    value = bytes(range(256)) * 3000
    head = storing("set", b"large", value, opaque=3)[: 24 + 8 + 5]
    talk.feed(head + value[:10_000])
    at = 10_000
    while taken := talk.feed_directly(value[at : len(value) - 1]):
        at += taken
    # The last byte is not placed: with it the session ends the value.
    assert at == len(value) - 1
    assert talk.feed_directly(value[at:]) == 0
    [stored] = said(talk, value[at:])
    assert (stored.status, stored.opaque) == (0, 3)
    [got] = said(talk, request("get", b"large"))
    assert got.value == value and got.cas == stored.cas


def test_pinned_values_stand_where_they_belong(talk: Talk) -> None:
    large = {b"a": b"a" * 20_000, b"b": b"b" * 30_000, b"c": b"c" * 9_000}
    for key, value in large.items():
        said(talk, storing("setq", key, value))
    sent = b"".join(request("getkq", key) for key in [b"a", b"none", b"b", b"c", b"a"])
    found = said(talk, sent + NOOP)
    assert [(one.key, one.value == large.get(one.key)) for one in found[:-1]] == [
        (b"a", True),
        (b"b", True),
        (b"c", True),
        (b"a", True),
    ]
    assert found[-1] == NOOP_SAID


def test_one_who_leaves_in_the_middle_of_a_value_leaves_nothing(talk: Talk) -> None:
    said(talk, storing("set", b"k", b"old"))
    other = Talk(talk.handle)
    other.feed(storing("set", b"k", b"x" * 100_000)[:60_000])
    assert lib.session_is_filling_value(other.session)
    other.close()
    [got] = said(talk, request("get", b"k"))
    assert got.value == b"old"
    talk.handle.check()


def test_the_first_byte_chooses_for_good(talk: Talk) -> None:
    assert said(talk, NOOP) == [NOOP_SAID]
    assert talk.ask(b"version\r\n") == b"" and talk.is_closed
    text = Talk(talk.handle)
    assert text.ask(b"mn\r\n\x80\x0aget none\r\n") == b"MN\r\nERROR\r\nEND\r\n"


@pytest.mark.parametrize(
    ("protocol", "asks", "sent", "is_closed"),
    [
        (lib.SESSION_BINARY, "", b"v", True),
        (lib.SESSION_BINARY, "", NOOP, False),
        (lib.SESSION_ASCII, "", b"\x80\x0a\r\n", False),
        (lib.SESSION_NEGOTIATES, "sasl_enabled", b"v", True),
        (lib.SESSION_ASCII, "sasl_enabled", b"v", True),
        (lib.SESSION_NEGOTIATES, "auth_required", NOOP, True),
        (lib.SESSION_BINARY, "auth_required", NOOP, True),
        (lib.SESSION_NEGOTIATES, "auth_required", b"v", False),
        (lib.SESSION_NEGOTIATES, "sasl_enabled", request("version"), False),
    ],
)
def test_no_door_leads_past_a_login(
    talk: Talk, protocol: int, asks: str, sent: bytes, is_closed: bool
) -> None:
    if asks:
        talk.handle.cache.set_live(asks, 1)
    lib.session_set_protocol(talk.session, protocol)
    answer = talk.ask(sent)
    assert talk.is_closed == is_closed
    assert talk.handle.counters()["protocol_refused"] == is_closed
    assert not (is_closed and answer)


def test_with_both_logins_each_protocol_has_its_own(talk: Talk) -> None:
    for name in ("auth_required", "sasl_enabled"):
        talk.handle.cache.set_live(name, 1)
    assert said(talk, request("get", b"k")) == [error("get", "auth")]
    assert Talk(talk.handle).ask(b"get k\r\n") == b"CLIENT_ERROR unauthenticated\r\n"


def test_a_turn_ends_between_two_requests(talk: Talk) -> None:
    lib.session_set_turn(talk.session, talk.handle.counters()["requests"] + 3)
    talk.pending = request("getk", b"none") * 5
    assert talk.feed_once() == lib.SESSION_YIELD
    assert len(responses(talk.drain())) == 3
    lib.session_set_turn(talk.session, 0)
    assert talk.feed_once() == lib.SESSION_NEEDS_INPUT
    assert len(responses(talk.drain())) == 2


def test_a_first_key_is_seen_ahead(talk: Talk) -> None:
    sent = storing("set", b"key", b"v")
    text = b"set key 0 0 1\r\nv\r\n"
    peek = lib.session_peek_key
    wanted = peek(talk.proto, text, len(text))
    assert wanted
    for one in (sent, request("getq", b"key"), touching("gat", b"key", 3)):
        assert peek(talk.proto, one, len(one)) == wanted
    for one in (NOOP, sent[:20], sent[:34], request("get", b""), request("get", b"k" * 300)[:100]):
        assert peek(talk.proto, one, len(one)) == 0


@pytest.mark.parametrize(
    ("rights", "sent", "is_permitted"),
    [
        (READ, request("get", b"k"), True),
        (WRITE, request("get", b"k"), False),
        (READ, storing("set", b"k", b"v" * 20_000), False),
        (READ, storing("setq", b"k", b"v"), False),
        (READ, request("deleteq", b"none"), False),
        (READ, counting("incr", b"k"), False),
        (READ, touching("gat", b"k", 0), False),
        (READ | WRITE, touching("gat", b"k", 0), True),
        (READ | WRITE, request("flush"), False),
        (READ | WRITE | ADMIN, request("flush"), True),
        (READ, request("stat", b"reset"), False),
        (READ, request("stat", b"detail on"), False),
        (0, request("version"), True),
    ],
)
def test_rights_are_those_of_text_commands(
    talk: Talk, rights: int, sent: bytes, is_permitted: bool
) -> None:
    said(talk, storing("set", b"k", b"5"))
    lib.session_set_rights(talk.session, rights)
    found = said(talk, sent + NOOP)
    assert found[-1] == NOOP_SAID
    refused = talk.handle.counters()["commands_not_permitted"]
    if is_permitted:
        assert found[0].status == 0 and refused == 0
        return
    assert found[:-1] == [Response(sent[1], 0x20, value=b"Auth failure.")]
    assert refused == 1
    lib.session_set_rights(talk.session, READ)
    assert [one.value for one in said(talk, request("get", b"k"))] == [b"5"]


def test_a_disabled_command_is_no_command(talk: Talk) -> None:
    lib.proto_disable_commands(talk.proto, b"set")
    sent = storing("setq", b"k", b"v" * 100) + storing("add", b"k", b"v")
    found = said(talk, sent + NOOP)
    assert found[0] == error("setq", "unknown") and found[1].status == 0
    assert talk.handle.counters()["commands_disabled"] == 1


def test_a_stat_parks_with_its_number(talk: Talk) -> None:
    number = ffi.new("uint32_t *")
    assert not lib.session_admin_is_binary(talk.session, number)
    said(talk, request("stat", b"settings", opaque=0x01020304))
    assert talk.admin_lines == [b"settings"]
    assert lib.session_admin_is_binary(talk.session, number)
    assert bytes(ffi.buffer(number)) == b"\1\2\3\4"
    lib.session_resume(talk.session)
    said(talk, request("stat"))
    assert talk.admin_lines[-1] == b""


def test_keys_that_text_cannot_carry_are_shown_encoded(talk: Talk) -> None:
    said(talk, storing("set", b"a b", b"1") + counting("incr", b"c\nd", 1, 5))
    said(talk, storing("set", b"plain-key-of-some-length", b"1"))
    text = Talk(talk.handle)
    assert text.ask(b"mg YSBi b k v\r\n") == b"VA 1 kYSBi b\r\n1\r\n"
    assert text.ask(b"mg Ywpk b k v\r\n") == b"VA 1 kYwpk b\r\n5\r\n"
    shown = text.ask(b"mg plain-key-of-some-length k\r\n")
    assert shown == b"HD kplain-key-of-some-length\r\n"


def test_the_log_has_a_line_for_each(talk: Talk) -> None:
    talk.handle.cache.set_live("verbosity", 2)
    reader, writer = os.pipe()
    log = lib.log_open(writer, b"")
    try:
        lib.proto_set_log(talk.proto, log)
        said(talk, storing("set", b"a\nb", b"v") + request("get", b"none") + request("0x1b"))
        lines = os.read(reader, 65536).decode().splitlines()
    finally:
        lib.proto_set_log(talk.proto, ffi.NULL)
        lib.log_close(log)
        os.close(reader)
        os.close(writer)
    assert lines == [
        "<0 binary 0x01 set a\\x0ab",
        ">0 binary 0x01 status 0x0000, 0 bytes",
        "<0 binary 0x00 get none",
        ">0 binary 0x00 status 0x0001, 9 bytes",
        "<0 binary 0x1b unknown ",
        ">0 binary 0x1b status 0x0081, 15 bytes",
    ]
