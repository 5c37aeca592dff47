"""Lines of unusual length, answers without memory for pins: what a session does at its limits."""

import pytest

from tests.support.core.driver import TINY_LADDER, Cache, Handle
from tests.support.core.pin_holder import PinHolder, roomy_cache
from tests.support.core.talk import Talk

BLANKS = b" " * 9_000


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


def test_a_get_without_pins_is_answered_by_a_copy() -> None:
    with roomy_cache() as cache:
        store = cache.open()
        talk = Talk(store)
        holder = PinHolder(store)
        holder.hold_all()
        key, value = holder.key_without_pin, holder.value
        before = store.counters()["get_copied_for_claims"]
        assert talk.ask(b"get %s\r\n" % key) == b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (
            key,
            len(value),
            value,
        )
        assert store.counters()["get_copied_for_claims"] == before + 1
        # Readers have not used up what writers need.
        assert talk.ask(b"set large 0 0 600000\r\n" + b"w" * 600_000 + b"\r\n") == b"STORED\r\n"
        holder.close()
        assert store.counters()["response_buf_bytes"] == 0
        assert store.chunks()["pins"] == 0


def test_get_without_pins_or_memory() -> None:
    with roomy_cache() as cache:
        store = cache.open()
        talk = Talk(store)
        holder = PinHolder(store)
        holder.hold_all()
        big, value = holder.key_without_pin, holder.value
        # Its replies wait with all the copies that one process may hold.
        holder.hold_copies()
        talk.feed(b"set a 0 0 1\r\nx\r\n")
        talk.received = b""
        error = b"SERVER_ERROR out of memory writing get response\r\n"
        small = b"VALUE a 0 1\r\nx\r\n"
        # The error ends the answer; the next command has its own.
        talk.feed(b"get a %s a %s\r\nget a\r\n" % (big, big))
        talk.feed(b"gat 0 %s a\r\nmg %s v\r\nmg a v\r\n" % (big, big))
        assert talk.received == small + error + small + b"END\r\n" + error + b"EN\r\nVA 1\r\nx\r\n"
        talk.received = b""
        talk.feed(b"get %s" % big + b" a" * 30 + b"\r\nmn\r\n")
        assert talk.received == error + b"MN\r\n"
        talk.received = b""
        for byte in b"get %s a a\r\nmn\r\n" % big:
            talk.feed(bytes([byte]))
        assert talk.received == error + b"MN\r\n"
        holder.close()
        talk.received = b""
        talk.feed(b"get %s\r\n" % big)
        assert talk.received == b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (big, len(value), value)


def test_auth_line_is_bounded() -> None:
    with Cache(chunk_bytes=TINY_LADDER, live={"auth_required": 1}) as cache:
        talk = Talk(cache.open())
        talk.feed(b"set" + BLANKS + b"k 0 0 5\r\n")
        assert talk.received == b"CLIENT_ERROR unauthenticated\r\n"
