"""Lines of unusual length, answers without memory for pins: what a session does at its limits."""

import pytest

from pymc.core.ffi import lib
from tests.unit.core.driver import TINY_LADDER, Cache, Handle
from tests.unit.core.talk import Talk

BLANKS = b" " * 9_000
PIN_BYTES = 17_000


@pytest.fixture
def talk(parted: Handle) -> Talk:
    return Talk(parted)


@pytest.mark.parametrize("cut", [1, 5_000, 9_001, 9_030, 12_000, 17_000])
@pytest.mark.parametrize("verb", [b"set", BLANKS + b"set", b"set" + BLANKS])
def test_long_line_with_its_value_in_pieces(talk: Talk, verb: bytes, cut: int) -> None:
    stream = verb + b" k 0 0 8000\r\n" + b"v" * 8_000 + b"\r\nget k\r\n"
    # As from a socket, the whole line is there when the session looks at it.
    cut = max(cut, stream.index(b"\n") + 1)
    talk.feed(stream[:cut])
    assert len(talk.pending) <= 8_192 + 2_048
    talk.feed(stream[cut:])
    assert talk.received == b"STORED\r\nVALUE k 0 8000\r\n" + b"v" * 8_000 + b"\r\nEND\r\n"


@pytest.mark.parametrize("value_bytes", [5, 8_000, 20_000])
@pytest.mark.parametrize("cut", [0, 1, 4_000])
def test_long_meta_line(talk: Talk, value_bytes: int, cut: int) -> None:
    value = b"v" * value_bytes
    line = b"ms k %d P%s k O123 c\r\n" % (value_bytes, b"p" * 5_000)
    talk.feed(line + value[:cut])
    talk.feed(value[cut:] + b"\r\nmg k s\r\n")
    answer = talk.received.split(b"\r\n")
    assert answer[0].startswith(b"HD kk O123 c")
    assert answer[1] == b"HD s%d" % value_bytes


def hold_pins(handle: Handle) -> list[Talk]:
    """Conversations that hold every pin of the process, since nobody takes their replies."""
    holders: list[Talk] = []
    for _ in range(20):
        holder = Talk(handle, values_max=10_000)
        holders.append(holder)
        holder.pending = b"get big\r\n" * 1_000
        assert holder.feed_once() == lib.SESSION_REPLY_FULL
    return holders


def test_a_get_without_pins_is_answered_by_a_copy(store: Handle) -> None:
    talk = Talk(store)
    value = b"v" * PIN_BYTES
    talk.feed(b"set big 0 0 %d\r\n%s\r\n" % (PIN_BYTES, value))
    holders = hold_pins(store)
    before = store.counters()["get_copied_for_claims"]
    assert talk.ask(b"get big\r\n") == b"VALUE big 0 %d\r\n%s\r\nEND\r\n" % (PIN_BYTES, value)
    assert store.counters()["get_copied_for_claims"] == before + 1
    # Readers have not used up what writers need.
    assert talk.ask(b"set large 0 0 600000\r\n" + b"w" * 600_000 + b"\r\n") == b"STORED\r\n"
    for holder in holders:
        holder.close()
    assert store.counters()["response_buf_bytes"] == 0


def hold_copies(handle: Handle) -> list[Talk]:
    """Conversations whose replies wait with all the copies that one process may hold."""
    value = b"h" * (8 << 20)
    Talk(handle).feed(b"set huge 0 0 %d\r\n%s\r\n" % (len(value), value))
    holders = [Talk(handle) for _ in range(9)]
    for holder in holders:
        holder.pending = b"get huge\r\n"
        holder.feed_once()
    return holders


def test_get_without_pins_or_memory(store: Handle) -> None:
    talk = Talk(store)
    value = b"v" * PIN_BYTES
    talk.feed(b"set big 0 0 %d\r\n%s\r\nset a 0 0 1\r\nx\r\n" % (PIN_BYTES, value))
    holders = hold_pins(store) + hold_copies(store)
    talk.received = b""
    error = b"SERVER_ERROR out of memory writing get response\r\n"
    small = b"VALUE a 0 1\r\nx\r\n"
    # The error ends the answer; the next command has its own.
    talk.feed(b"get a big a big\r\nget a\r\ngat 0 big a\r\nmg big v\r\nmg a v\r\n")
    assert talk.received == small + error + small + b"END\r\n" + error + b"EN\r\nVA 1\r\nx\r\n"
    talk.received = b""
    talk.feed(b"get big" + b" a" * 30 + b"\r\nmn\r\n")
    assert talk.received == error + b"MN\r\n"
    talk.received = b""
    for byte in b"get big a a\r\nmn\r\n":
        talk.feed(bytes([byte]))
    assert talk.received == error + b"MN\r\n"
    for holder in holders:
        holder.close()
    talk.received = b""
    talk.feed(b"get big\r\n")
    assert talk.received == b"VALUE big 0 %d\r\n%s\r\nEND\r\n" % (PIN_BYTES, value)


def test_auth_line_is_bounded() -> None:
    with Cache(chunk_bytes=TINY_LADDER, live={"auth_required": 1}) as cache:
        talk = Talk(cache.open())
        talk.feed(b"set" + BLANKS + b"k 0 0 5\r\n")
        assert talk.received == b"CLIENT_ERROR unauthenticated\r\n"
