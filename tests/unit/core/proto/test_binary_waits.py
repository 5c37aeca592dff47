"""Binary requests that have to wait: for a bucket that another process holds, for flash."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import LADDER, MIB, Cache, Handle
from tests.support.core.flash_cache import FlashCache, Log
from tests.support.core.talk import Talk
from tests.support.packets import (
    Response,
    counting,
    error,
    request,
    responses,
    storing,
    touching,
)

NOOP, NOOP_SAID = request("noop"), Response(0x0A)
SETUP = storing("setq", b"held", b"5", 3) + storing("setq", b"more", b"m" * 50_000, 7)
REQUESTS = [
    request("get", b"held"),
    request("getk", b"held"),
    request("getq", b"none") + request("getkq", b"held") + request("getq", b"more"),
    touching("touch", b"held", 100),
    touching("gat", b"held", 100),
    touching("gatkq", b"held", 0),
    storing("set", b"held", b"ab", 1),
    storing("set", b"held", b"ab" * 30_000, 1),
    storing("add", b"held", b"ab"),
    storing("addq", b"held", b"ab" * 30_000),
    storing("replace", b"held", b"ab"),
    storing("set", b"held", b"ab", cas=77),
    request("append", b"held", b"ab"),
    request("prependq", b"held", b"ab" * 10_000),
    counting("incr", b"held", 3),
    counting("decr", b"held", 30),
    counting("incrq", b"held", 300),
    request("delete", b"held"),
    request("deleteq", b"held", cas=77),
]


def counted(store: Handle) -> dict[str, int]:
    names = ["requests", "cmd_get", "cmd_touch", "get_misses", "total_items", "items", "cas_misses"]
    counters = store.counters()
    return {name: counters[name] for name in names}


def same(found: list[Response]) -> list[tuple[object, ...]]:
    """Without CAS numbers, which depend on how often somebody tried."""
    return [(one.opcode, one.status, one.extras, one.key, one.value) for one in found]


def plainly(sent: bytes) -> tuple[list[Response], dict[str, int]]:
    """What a cache with nothing in the way answers and counts."""
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        store = cache.open(0)
        talk = Talk(store)
        talk.ask(SETUP)
        return responses(talk.ask(sent)), counted(store)


@pytest.fixture
def cache() -> Iterator[Cache]:
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        yield cache


def name_of(sent: object) -> str:
    return f"{sent[1]:02x}-{len(sent)}" if isinstance(sent, bytes) else ""


@pytest.mark.parametrize("sent", REQUESTS, ids=name_of)
def test_a_busy_bucket_only_delays(cache: Cache, sent: bytes) -> None:
    wanted, moves = plainly(sent + NOOP)
    store, other = cache.open(0), cache.open(1)
    store.waits_for_buckets = False
    lib.proc_avoid_waiting(store.proc, True)
    talk = Talk(store)
    talk.ask(SETUP)
    talk.waits_for_buckets = False
    other.hold(b"held")
    talk.feed(sent + NOOP)
    for _ in range(3):
        talk.feed(b"")
    before = responses(talk.received)
    assert NOOP_SAID not in before
    other.release(b"held")
    talk.feed(b"")
    assert same(responses(talk.received)) == same(wanted)
    assert counted(store) == moves
    store.check()


@pytest.mark.parametrize("sent", REQUESTS, ids=name_of)
def test_there_is_an_end_to_it(cache: Cache, sent: bytes) -> None:
    store, other = cache.open(0), cache.open(1)
    store.waits_for_buckets = False
    lib.proc_avoid_waiting(store.proc, True)
    talk = Talk(store)
    talk.ask(SETUP)
    talk.waits_for_buckets = False
    store.set_now(2)
    other.hold(b"held")
    talk.feed(sent + NOOP)
    store.set_now(12)
    talk.feed(b"")
    found = responses(talk.received)
    other.release(b"held")
    assert found[-1] == NOOP_SAID
    busy = [one for one in found if one.status == 0x85]
    assert len(busy) == 1 and busy[0].value == error("get", "busy").value
    assert store.counters()["busy_refused"] == 1
    store.check()


@pytest.mark.parametrize("sent", REQUESTS, ids=name_of)
def test_on_flash_is_as_in_memory(tmp_path: Path, sent: bytes) -> None:
    wanted, moves = plainly(sent + NOOP)
    with FlashCache(tmp_path, Log(avoid_direct=True), chunk_bytes=LADDER) as tier:
        talk = tier.talk
        talk.ask(SETUP)
        assert tier.to_flash() == 2
        assert same(responses(talk.ask(sent + NOOP))) == same(wanted)
        found = counted(tier.worker)
        for name in ("requests", "cmd_get", "cmd_touch", "get_misses", "cas_misses"):
            assert found[name] == moves[name], name


def test_reads_of_a_pipeline_are_under_way_together(tmp_path: Path) -> None:
    with FlashCache(tmp_path, Log(avoid_direct=True), chunk_bytes=LADDER) as tier:
        talk = tier.talk
        keys = [b"key-%d" % number for number in range(8)]
        talk.ask(b"".join(storing("setq", key, key * 200) for key in keys))
        assert tier.to_flash() == len(keys)
        talk.waits_for_flash = False
        talk.feed(b"".join(request("getkq", key) for key in keys) + NOOP)
        # The session waits for the first one, and the others have been begun.
        reads = tier.worker.reads
        assert reads is not None
        assert lib.flash_reader_submit(reads.pointer) == len(keys)
        talk.waits_for_flash = True
        talk.feed(b"")
        found = responses(talk.received)
        assert [one.key for one in found[:-1]] == keys
        assert tier.worker.counters()["get_extstore"] == len(keys)
