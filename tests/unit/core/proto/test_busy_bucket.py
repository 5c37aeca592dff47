"""Sessions that meet a bucket another process holds: parked, answered later, in order."""

from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, Cache, Handle, Outcome
from tests.support.core.talk import Talk


class Rig:
    """Two processes on one cache; the second one holds the bucket of one key."""

    def __init__(self) -> None:
        self.cache = Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER)
        self.store = self.cache.open(0)
        self.store.waits_for_buckets = False
        lib.proc_avoid_waiting(self.store.proc, True)
        self.stopped = self.cache.open(1)
        self.now = 2
        self.is_held = False

    def talk(self) -> Talk:
        talk = Talk(self.store)
        talk.waits_for_buckets = False
        return talk

    def hold(self) -> None:
        self.stopped.hold(b"held")
        self.is_held = True

    def release(self) -> None:
        self.stopped.release(b"held")
        self.is_held = False

    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        self.store.set_now(self.now)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    if rig.is_held:
        rig.release()
    rig.store.check()
    rig.cache.close()


# What the held key's command is, with value 5, flags 3 and no expiry before it.
COMMANDS = [
    b"get held\r\n",
    b"gets held\r\n",
    b"gat 100 held\r\n",
    b"get free held none\r\n",
    b"get held free held\r\n",
    b"set held 1 0 2\r\nab\r\n",
    b"add held 1 0 2\r\nab\r\n",
    b"replace held 1 0 2\r\nab\r\n",
    b"append held 1 0 2\r\nab\r\n",
    b"prepend held 1 0 2\r\nab\r\n",
    b"cas held 1 0 2 77\r\nab\r\n",
    b"incr held 3\r\n",
    b"decr held 3\r\n",
    b"incr held 300\r\n",
    b"touch held 100\r\n",
    b"delete held\r\n",
    b"mg held v f t s k O123\r\n",
    b"mg held v T100 t\r\n",
    b"mg held v E9 N30 R99999\r\n",
    b"ms held 2 c O1\r\nab\r\n",
    b"ms held 2 MA\r\nab\r\n",
    b"ms held 2 ME\r\nab\r\n",
    b"md held O1\r\n",
    b"md held x\r\n",
    b"md held I T30\r\n",
    b"ma held N0 J3 v t c\r\n",
    b"ma held D100 v\r\n",
    b"me held\r\n",
]
AROUND = (b"set free 0 0 1\r\nf\r\nget free\r\n", b"get free held\r\nmg held v f t\r\nmn\r\n")


def _prepare(store: Handle) -> Talk:
    talk = Talk(store)
    talk.ask(b"set held 3 0 1\r\n5\r\n")
    return talk


def _plainly(line: bytes) -> tuple[bytes, dict[str, int]]:
    """What a cache with nothing in the way answers and counts."""
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        store = cache.open(0)
        talk = _prepare(store)
        return talk.ask(AROUND[0] + line + AROUND[1]), _counted(store)


def _counted(store: Handle) -> dict[str, int]:
    names = ("requests", "cmd_get", "cmd_touch", "cmd_meta", "get_misses", "total_items", "items")
    counters = store.counters()
    kept = {name: counters[name] for name in (*names, "cas_misses", "item_bytes")}
    for class_id in range(1, len(LADDER) + 1):
        for name, value in store.class_counters(class_id).items():
            kept[name] = kept.get(name, 0) + value
    return kept


@pytest.mark.parametrize("line", COMMANDS)
def test_the_reply_comes_later_and_is_the_same(line: bytes, rig: Rig) -> None:
    answer, counted = _plainly(line)
    talk = _prepare(rig.store)
    talk.waits_for_buckets = False
    other = rig.talk()
    rig.hold()
    assert rig.store.look(b"free") == Outcome.MISS
    waits = rig.store.counters()["busy_waits"]
    said = talk.ask(AROUND[0] + line + AROUND[1])
    assert answer.startswith(said) and said.startswith(b"STORED\r\nVALUE free")
    assert talk.pending
    for _ in range(3):
        talk.feed(b"")
        assert other.ask(b"mn\r\n") == b"MN\r\n"
        assert other.ask(b"mg free\r\n") == b"HD\r\n"
    assert talk.received[-len(said) :] == said
    assert rig.store.counters()["busy_waits"] == waits + 1
    rig.release()
    said += talk.ask(b"")
    assert said == answer
    ours = _counted(rig.store)
    ours["requests"] -= 6
    ours["cmd_get"] -= 3
    ours["hits_to_hot"] -= 3
    assert ours == counted


@pytest.mark.parametrize("line", COMMANDS)
def test_there_is_an_end_to_it(line: bytes, rig: Rig) -> None:
    talk = _prepare(rig.store)
    talk.waits_for_buckets = False
    rig.hold()
    talk.ask(b"set free 0 0 1\r\nf\r\n")
    said = talk.ask(line)
    rig.pass_time(9)
    said += talk.ask(b"")
    assert b"busy" not in said
    rig.pass_time(1)
    said += talk.ask(b"mn\r\n")
    hit = b"VALUE free 0 1\r\nf\r\n" if line.startswith(b"get free") else b""
    assert said == hit + b"SERVER_ERROR busy\r\nMN\r\n"
    assert rig.store.counters()["busy_refused"] == 1
    # The next command has all its time again.
    assert talk.ask(b"get held\r\n") == b""
    rig.pass_time(9)
    assert talk.ask(b"") == b""
    rig.release()
    assert talk.ask(b"") == b"VALUE held 3 1\r\n5\r\nEND\r\n"


@pytest.mark.parametrize("command", [b"set held 0 0 600000", b"append held 0 0 600000"])
def test_a_large_value_is_received_once(command: bytes, rig: Rig) -> None:
    value = bytes(range(65, 91)) * (600_000 // 26 + 1)
    value = value[:600_000]
    talk = _prepare(rig.store)
    talk.waits_for_buckets = False
    rig.hold()
    talk.feed(command + b"\r\n" + value[:300_000])
    assert talk.feed_directly(value[300_000:300_100]) > 0
    talk.feed(value[300_100:] + b"\r\nmn\r\n")
    assert talk.received == b"STORED\r\n"
    assert talk.pending == b"mn\r\n"
    talk.feed(b"")
    rig.release()
    assert talk.ask(b"") == b"STORED\r\nMN\r\n"
    whole = (b"5" if command.startswith(b"append") else b"") + value
    is_equal = rig.store.get(b"held") == whole
    assert is_equal


def test_one_who_leaves_meanwhile_leaves_nothing(rig: Rig) -> None:
    talk = _prepare(rig.store)
    talk.waits_for_buckets = False
    used = rig.store.slab().pages_used
    rig.hold()
    talk.feed(b"set held 0 0 600000\r\n" + b"x" * 600_000 + b"\r\n")
    talk.close()
    rig.release()
    assert rig.store.get(b"held") == b"5"
    for _ in range(50):
        assert rig.store.put(b"a", b"x" * 600_000).outcome == Outcome.STORED
    assert rig.store.slab().pages_used <= used + 4


@pytest.mark.debug
def test_who_won_before_the_wait_has_won(rig: Rig) -> None:
    """`mg N` makes the item and must wait then: its client is still the one that fills it."""
    looks = 0

    def hold_once_it_is_made(_context: object) -> None:
        nonlocal looks
        looks += 1
        # Looks come before and after the making; somebody stops in a change of the new item.
        if looks > 1 and not rig.is_held:
            rig.hold()

    talk = rig.talk()
    callback = ffi.callback("void(void *)", hold_once_it_is_made)
    lib.link_set_interferer(rig.store.store, callback, ffi.NULL)
    said = talk.ask(b"mg held N30 T60 t v\r\n")
    lib.link_set_interferer(rig.store.store, ffi.NULL, ffi.NULL)
    assert said == b"" and rig.is_held
    rig.release()
    assert talk.ask(b"") == b"VA 0 t60 W\r\n\r\n"
    assert talk.ask(b"mg held v\r\n") == b"VA 0 Z\r\n\r\n"
