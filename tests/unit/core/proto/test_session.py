"""Sessions: every way to cut the input gives the same replies; full replies; what they wait for."""

import random
from itertools import pairwise

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Outcome
from tests.support.core.talk import Talk

LARGE = b"L" * 9000
STREAMS = {
    "classic": b"set a 5 0 3\r\nabc\r\nget a\r\ngets a b a\r\nadd a 0 0 1\r\nx\r\n"
    b"replace a 0 0 2\r\nxy\r\nappend a 0 0 1\r\nz\r\nprepend a 0 0 1\r\np\r\nget a\r\n"
    b"cas a 0 0 1 1\r\nq\r\ndelete a\r\nget a\r\n",
    "numbers": b"set n 0 0 2\r\n99\r\nincr n 1\r\ndecr n 5\r\nincr x 1\r\ntouch n 10\r\n"
    b"gat 20 n\r\nget n\r\n",
    "meta": b"ms a 3 T30 F5 c\r\nabc\r\nmg a v t f s c k O9 q\r\nmg b v q\r\nmn\r\nmd a I T5\r\n"
    b"mg a v\r\nma n N0 J5 v\r\nms Zm9v 2 b k\r\nhi\r\nme a\r\nmg x N30 v\r\nmd a x\r\nmg a s\r\n",
    "errors": b"bogus\r\nget\r\nset a\r\nset a 0 0 -1\r\nset a 0 0 x\r\nset a 0 0 3\r\nabcd\r\n"
    b"get a\r\ndelete a 5\r\nincr a\r\nmg\r\nms a\r\nms a x\r\nflush_all x\r\n\r\n"
    b"get %s\r\n" % (b"k" * 251),
    "noreply": b"set a 0 0 1 noreply\r\n1\r\nincr a 1 noreply\r\ndelete b noreply\r\nget a\r\n"
    b"flush_all noreply\r\nget a\r\ntouch a 1 noreply\r\nversion\r\n",
    "large": b"set l 0 0 9000\r\n%s\r\nget l\r\nms m 9000\r\n%s\r\nmg m s\r\n"
    b"append l 0 0 2\r\nxx\r\nset bad 0 0 9000\r\n%sxx\r\nget bad\r\n" % (LARGE, LARGE, LARGE),
    "blanks": b"  get   a   b  \r\nset  a  0  0  1 \r\nx\r\nget a \r\nget a\nget\ta\r\n"
    b"mg  a  v\r\n",
}


def fresh() -> Handle:
    cache = Cache(chunk_bytes=TINY_LADDER, bucket_start=8, limit_bytes=8 << 20)
    handle = cache.open()
    handle.set_now(100)
    return handle


def answers(pieces: list[bytes]) -> bytes:
    handle = fresh()
    talk = Talk(handle)
    for piece in pieces:
        talk.feed(piece)
    handle.check()
    handle.cache.close()
    return talk.received


@pytest.mark.parametrize("name", STREAMS)
def test_every_prefix_then_the_rest(name: str) -> None:
    stream = STREAMS[name]
    whole = answers([stream])
    assert whole
    step = max(1, len(stream) // 150)
    for cut in range(1, len(stream), step):
        assert answers([stream[:cut], stream[cut:]]) == whole, cut


@pytest.mark.parametrize("name", STREAMS)
def test_byte_by_byte(name: str) -> None:
    stream = STREAMS[name]
    assert answers([stream[i : i + 1] for i in range(len(stream))]) == answers([stream])


@pytest.mark.parametrize("seed", range(20))
def test_random_cuts_of_everything(seed: int) -> None:
    generator = random.Random(seed)
    names = generator.choices(list(STREAMS), k=6)
    stream = b"".join(STREAMS[name] for name in names)
    cuts = sorted(generator.sample(range(1, len(stream)), 40))
    bounds = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(bounds)]
    assert answers(pieces) == answers([stream])


def test_a_full_reply_stops_the_session_until_it_is_sent(parted: Handle) -> None:
    talk = Talk(parted)
    parted.put(b"k", b"v" * 900)
    talk.pending = b"get k\r\n" * 100
    stops = []
    while talk.pending:
        stops.append(talk.feed_once())
        talk.drain()
    assert stops[0] == lib.SESSION_REPLY_FULL
    assert stops[-1] == lib.SESSION_NEEDS_INPUT
    assert talk.received == (b"VALUE k 0 900\r\n%s\r\nEND\r\n" % (b"v" * 900)) * 100


def test_a_full_reply_in_the_middle_of_a_multiget(parted: Handle) -> None:
    talk = Talk(parted)
    for i in range(200):
        parted.put(b"%d" % i, b"v" * 900)
    command = b"get " + b" ".join(b"%d" % i for i in range(200)) + b"\r\n"
    wanted = (
        b"".join(b"VALUE %d 0 900\r\n%s\r\n" % (i, b"v" * 900) for i in range(200)) + b"END\r\n"
    )
    assert talk.ask(command) == wanted


def test_pinned_values_fill_a_reply_by_their_number(parted: Handle) -> None:
    talk = Talk(parted, values_max=2)
    parted.put(b"k", b"v" * 20_000)
    assert talk.ask(b"get k k k k k\r\n").count(b"VALUE k 0 20000\r\n") == 5
    assert parted.limbo_step() == 0


def test_more_pins_than_there_are_claims(parted: Handle) -> None:
    talk = Talk(parted, values_max=9000)
    parted.put(b"k", b"v" * 20_000)
    talk.pending = b"get " + b"k " * 8300 + b"\r\n"
    stop = talk.feed_once()
    assert stop in (lib.SESSION_NEEDS_INPUT, lib.SESSION_REPLY_FULL)
    talk.close()
    assert parted.limbo_step() == 0


@pytest.mark.parametrize("value_bytes", [8193, 9000, 20_000, 100_000])
def test_a_large_value_goes_straight_into_its_item(parted: Handle, value_bytes: int) -> None:
    talk = Talk(parted)
    value = bytes(i % 256 for i in range(value_bytes))
    talk.feed(b"set k 3 0 %d\r\n" % value_bytes + value[:8192])
    assert lib.session_is_reading_value(talk.session)
    rest = value[8192:]
    while rest:
        rest = rest[talk.feed_directly(rest) :]
    assert talk.feed_directly(b"\r\n") == 0
    assert talk.ask(b"\r") == b""
    assert talk.ask(b"\n") == b"STORED\r\n"
    assert not lib.session_is_reading_value(talk.session)
    assert parted.get(b"k") == value


def test_a_small_value_waits_in_the_input(parted: Handle) -> None:
    talk = Talk(parted)
    assert talk.ask(b"set k 0 0 100\r\n" + b"x" * 50) == b""
    assert not lib.session_is_reading_value(talk.session)
    assert len(talk.pending) == 65


@pytest.mark.parametrize("line", [b"set k 0 0 %d\r\n", b"append k 0 0 %d\r\n", b"ms k %d\r\n"])
def test_an_announced_value_takes_no_memory(parted: Handle, line: bytes) -> None:
    talk = Talk(parted)
    head = line % 100_000
    used = parted.slab().pages_used
    assert talk.ask(head + b"x" * 8191) == b""
    assert lib.session_is_awaiting_value(talk.session)
    assert not lib.session_is_reading_value(talk.session)
    assert len(talk.pending) == len(head) + 8191
    assert parted.slab().pages_used == used
    assert talk.ask(b"x") == b""
    assert lib.session_is_reading_value(talk.session)
    assert talk.pending == b""
    assert parted.slab().pages_used > used


def test_an_announced_value_that_is_too_large_is_refused_at_once(parted: Handle) -> None:
    parted.cache.set_live("item_bytes_max", 4_000)
    talk = Talk(parted)
    error = b"SERVER_ERROR object too large for cache\r\n"
    for head in (b"set k 0 0 5000\r\n", b"ms k 5000\r\n"):
        assert talk.ask(head) == error
        assert talk.ask(b"x" * 5000 + b"\r\nmn\r\n") == b"MN\r\n"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"set k 0 0 %d\r\n", b"SERVER_ERROR out of memory storing object\r\n"),
        (b"set k 0 0 %d noreply\r\n", b""),
        (b"ms k %d\r\n", b"SERVER_ERROR out of memory storing object\r\n"),
    ],
)
def test_no_room_for_the_rest_of_a_value(line: bytes, answer: bytes) -> None:
    with Cache(limit_bytes=2 * MIB, chunk_bytes=TINY_LADDER) as cache:
        store = cache.open()
        talk = Talk(store)
        store.put(b"k", b"old")
        value_bytes = 9 * MIB
        head = line % (value_bytes // 64)
        # Half of one value leaves no room for the whole of another.
        cache.set_live("evictions_enabled", 0)
        makings = [store.begin(b"hog%d" % i, 60_000) for i in range(100)]
        assert makings[0].outcome == Outcome.ROOM_MADE
        talk.feed(head + b"x" * 10_000)
        assert lib.session_is_reading_value(talk.session)
        for making in makings:
            while making.fill(b"y" * 1008):
                pass
        rest = value_bytes // 64 - 10_000
        assert talk.ask(b"x" * 5_000) == answer
        assert lib.session_is_swallowing(talk.session)
        assert talk.ask(b"x" * (rest - 5_000) + b"\r\nmn\r\nget k\r\n") == b"MN\r\nEND\r\n"
        assert store.counters()["store_no_memory"] == store.counters()["oom_no_victim"] == 1
        for making in makings:
            making.abandon()
        store.check()


def test_a_refused_value_is_swallowed(parted: Handle) -> None:
    parted.cache.set_live("item_bytes_max", 10_000)
    talk = Talk(parted)
    parted.put(b"k", b"old")
    refused = talk.ask(b"set k 0 0 20000\r\n")
    assert refused == b"SERVER_ERROR object too large for cache\r\n"
    assert lib.session_is_swallowing(talk.session)
    assert talk.ask(b"get k\r\n" + b"x" * (20_000 - 7)) == b""
    assert talk.ask(b"\r\nget k\r\n") == b"END\r\n"


def test_a_lost_connection_leaves_no_half_value(parted: Handle) -> None:
    talk = Talk(parted)
    talk.feed(b"set k 0 0 20000\r\n" + b"x" * 5000)
    talk.close()
    assert parted.check() == 0


@pytest.mark.parametrize("command", [b"stats", b"stats items", b"slabs automove 1", b"verbosity 1"])
def test_administration_parks_the_session(parted: Handle, command: bytes) -> None:
    talk = Talk(parted, answers_admin=False)
    talk.feed(b"version\r\n" + command + b"\r\nmn\r\n")
    assert talk.admin_lines == [command]
    assert talk.pending == b"mn\r\n"
    assert talk.feed_once() == lib.SESSION_PARKED
    lib.session_resume(talk.session)
    assert talk.ask(b"") == b"MN\r\n"


@pytest.mark.parametrize("command", [b"quit\r\n", b"GET / HTTP/1.1\r\n"])
def test_the_end_of_a_conversation(parted: Handle, command: bytes) -> None:
    talk = Talk(parted)
    talk.feed(b"mn\r\n" + command + b"mn\r\n")
    assert talk.is_closed
    assert b"MN\r\n" in talk.received[:4]
    assert talk.received.count(b"MN\r\n") == 1


def test_an_endless_line_ends_the_conversation(parted: Handle) -> None:
    talk = Talk(parted)
    assert talk.ask(b"mn\r\n" + b"x" * 2048) == b"MN\r\n"
    assert not talk.is_closed
    talk.feed(b"x")
    assert talk.is_closed


def test_a_long_get_line_is_answered_as_it_comes(parted: Handle) -> None:
    talk = Talk(parted)
    parted.put(b"a", b"1")
    assert talk.ask(b"get " + b"a " * 1500) == b"VALUE a 0 1\r\n1\r\n" * 1500
    assert talk.ask(b"a\r\n") == b"VALUE a 0 1\r\n1\r\nEND\r\n"


def test_reply_buffers_must_have_room() -> None:
    out = ffi.new("struct reply **")
    assert lib.reply_create(1000, 4, out) == lib.PYMC_INVALID
    assert lib.reply_create(32768, 0, out) == lib.PYMC_INVALID
    assert lib.reply_create(32768, 1, out) == lib.PYMC_OK
    lib.reply_destroy(ffi.NULL, out[0])


def test_draining_into_too_little_room_takes_nothing(parted: Handle) -> None:
    talk = Talk(parted)
    parted.put(b"k", b"v" * 20_000)
    talk.feed(b"get k\r\n", drains=False)
    place = ffi.new("char[]", 100)
    assert lib.reply_drain(talk.proto, talk.reply, place, 100) == -1
    assert talk.drain().startswith(b"VALUE k 0 20000\r\nvvv")


def test_users_and_passwords(parted: Handle) -> None:
    parted.cache.set_live("auth_required", 1)
    talk = Talk(parted)
    users = b"bob:secret\nalice:word\n"
    assert lib.proto_set_auth(talk.proto, users, len(users)) == lib.PYMC_OK
    assert talk.ask(b"get k\r\n") == b"CLIENT_ERROR unauthenticated\r\n"
    assert talk.ask(b"set x 0 0 9\r\nbob wrong\r\n").startswith(b"CLIENT_ERROR")
    assert talk.ask(b"set x 0 0 10\r\nalice word\r\n") == b"STORED\r\n"
    assert talk.ask(b"get k\r\n") == b"END\r\n"
