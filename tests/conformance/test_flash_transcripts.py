"""Every command means on flash what it means in memory: transcripts, with all items on flash."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import MIB, Cache, Handle
from tests.support.core.flash_cache import Log
from tests.support.core.flash_keeper import ADMIT_ALL, ADMIT_COMPRESSED, KIB, Admission, FlashKeeper
from tests.support.core.flash_replay import Replay
from tests.support.core.talk import Talk
from tests.support.transcript import Transcript, all_transcripts

START_SECONDS = 100
LIMIT_BYTES = 64 * MIB
# One buffer takes the largest value of the transcripts.
LOG = Log(
    pages=64,
    page_bytes=2 * MIB,
    wbuf_bytes=2 * MIB,
    kind=int(lib.FLASH_READER_THREADS),
    threads=1,
    avoid_direct=True,
)

COMMANDS_PER_WRITE = 8


def _without_server(transcript: Transcript) -> Transcript:
    """The steps before the first that asks for statistics."""
    steps = transcript.steps
    end = next((n for n, step in enumerate(steps) if step.text.startswith("stats ")), len(steps))
    return replace(transcript, steps=steps[:end])


# Those that are about a server or its administration, not about items.
ELSEWHERE = (
    *("admin_", "stats_", "dump_", "disabled_", "watch_", "hostile", "http", "time_crawler"),
    "binary_",
)
HERE = [
    _without_server(transcript)
    for transcript in all_transcripts()
    if not transcript.path.name.startswith(ELSEWHERE)
]
SETTINGS = {"-I 512k": ("item_bytes_max", 512 * KIB), "-C": ("cas_enabled", 0)}

# Transcript: what in its answers differs. This list is all that does.
DIFFERENT = {
    # A read of what is on flash does not change its record, so the last access stays that of the
    # time in memory until the item comes back.
    "time_last_access": rb"\bla=\d+",
}


@dataclass(frozen=True, slots=True)
class Way:
    """How the commands reach the items that are on flash."""

    admission: Admission = ADMIT_ALL
    # Everything up to the next expected answer in one feed, so that many reads are under way.
    in_one_piece: bool = False
    # 1: each item comes back to memory with its second read.
    recache_rate: int = 0
    # Pages are compacted before each command too.
    compacts: bool = False


WAYS = {
    "each": Way(),
    "pipelined": Way(ADMIT_COMPRESSED, in_one_piece=True),
    "recached": Way(ADMIT_COMPRESSED, recache_rate=1),
    "compacted": Way(compacts=True, recache_rate=3),
}


def _set_up(cache: Cache, transcript: Transcript) -> None:
    cache.set_live("item_bytes_max", MIB)
    args = " ".join(transcript.args)
    if args in SETTINGS:
        cache.set_live(*SETTINGS[args])


def _in_memory(transcript: Transcript, *, in_one_piece: bool) -> tuple[Replay, dict[str, int]]:
    """The replay that the other is compared with."""
    with Cache(limit_bytes=LIMIT_BYTES) as cache:
        _set_up(cache, transcript)
        handle = cache.open()
        replay = Replay(handle, _clock(handle), in_one_piece=in_one_piece)
        replay.play(transcript)
        return replay, _counted(handle)


def _clock(handle: Handle) -> Callable[[int], None]:
    now = START_SECONDS

    def move(seconds: int) -> None:
        nonlocal now
        now += seconds
        handle.set_now(now)
        handle.turn()

    move(0)
    return move


def _on_flash(transcript: Transcript, folder: Path, way: Way) -> tuple[Replay, dict[str, int]]:
    """The replay with nothing in memory before each command."""
    with FlashKeeper(folder, LOG, limit_bytes=LIMIT_BYTES, now=START_SECONDS) as tier:
        _set_up(tier.cache, transcript)
        tier.set_live("ext_recache_rate", way.recache_rate)

        exiles = count(1)

        def exile() -> None:
            tier.fill(way.admission)
            # In between what is asked for is still in a write buffer.
            if next(exiles) % COMMANDS_PER_WRITE == 0:
                tier.commit()
            tier.drop_memory_copies()
            assert not tier.memory_dump(lib.STORE_DUMP_META)
            if way.compacts:
                for page in tier.in_use():
                    tier.compact(page)
                tier.sweep()

        replay = Replay(
            tier.worker,
            lambda seconds: tier.set_now(tier.now + seconds),
            exile,
            in_one_piece=way.in_one_piece,
        )
        replay.play(transcript)
        tier.check()
        return replay, _counted(tier.worker)


def _counted(handle: Handle) -> dict[str, int]:
    """What the statistics of commands are made of, over all classes and queues."""
    counted = handle.counters()
    for class_id in range(1, len(handle.cache.shape.chunk_bytes) + 1):
        for name, value in handle.class_counters(class_id).items():
            kept = "hits" if name.startswith("hits_to_") else name
            counted[kept] = counted.get(kept, 0) + value
    # What is in memory; who removes the dead, and what was counted for that; the tier's own.
    for name in (
        "items",
        "item_bytes",
        "read_retries",
        "optimistic_retries",
        "reclaimed",
        "expired_unfetched",
    ):
        del counted[name]
    own = ("ext_", "flushed_", "items_with_copy", "get_extstore", "recache_from_extstore")
    return {name: value for name, value in counted.items() if not name.startswith(own)}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transcript", HERE, ids=lambda transcript: transcript.path.stem)
def test_answers_from_flash_are_those_from_memory(
    transcript: Transcript, way: str, tmp_path: Path
) -> None:
    memory, memory_counted = _in_memory(transcript, in_one_piece=WAYS[way].in_one_piece)
    flash, flash_counted = _on_flash(transcript, tmp_path, WAYS[way])
    assert len(memory.answers) == len(flash.answers)
    different = DIFFERENT.get(transcript.path.stem, rb"(?!)")
    for expected, got in zip(memory.answers, flash.answers, strict=True):
        assert got[:2] == expected[:2]
        assert re.sub(different, b"", got[2]) == re.sub(different, b"", expected[2]), got[0]
    if WAYS[way].compacts:
        # Compaction takes the dead away before anybody meets them, as the crawler does.
        for name in ("get_expired", "get_flushed"):
            assert flash_counted.pop(name) <= memory_counted.pop(name)
    assert flash_counted == memory_counted


WIDE_LOG = Log(
    pages=64, page_bytes=256 * KIB, wbuf_bytes=64 * KIB, depth=4, threads=2, avoid_direct=True
)


def _everything(count: int) -> bytes:
    """Reads, changes and misses of many keys, to be fed at once."""
    keys = b" ".join(b"k%d" % number for number in range(count))
    asked = [b"get %s\r\n" % keys, b"gets %s nothing\r\n" % keys, b"gat 500 %s\r\n" % keys]
    for number in range(count):
        asked += [
            b"get k%d\r\n" % number,
            b"mg k%d v t f c k O%d\r\n" % (number, number),
            b"incr n%d 3\r\nget n%d k%d\r\n" % (number, number, number + 1),
            b"append k%d 0 0 2\r\nyz\r\nmg k%d s v q\r\n" % (number, number),
            b"mn\r\nmd k%d q\r\nmg k%d v\r\nadd k%d 3 0 1\r\nw\r\n" % ((number,) * 3),
            b"touch k%d 77\r\nmg k%d t\r\nget nothing k%d k%d\r\n" % ((number,) * 4),
        ]
    return b"".join(asked)


@pytest.mark.slow
@pytest.mark.parametrize("piece_bytes", [1 << 30, 5000, 100])
@pytest.mark.parametrize("kind", [lib.FLASH_READER_AUTO, lib.FLASH_READER_THREADS])
def test_replies_are_in_order_however_many_reads_are_under_way(
    tmp_path: Path, kind: int, piece_bytes: int
) -> None:
    count = 60
    stored = b"".join(
        b"set k%d %d 0 %d\r\n%s\r\nset n%d 0 0 2\r\n97\r\n"
        % (number, number, number * 30, b"v" * (number * 30), number)
        for number in range(count)
    )
    asked = _everything(count)
    with Cache(limit_bytes=LIMIT_BYTES) as cache:
        handle = cache.open()
        _clock(handle)
        memory = Talk(handle, values_max=64)
        memory.ask(stored)
        expected = memory.ask(asked)
    log = replace(WIDE_LOG, kind=int(kind))
    with FlashKeeper(tmp_path, log, limit_bytes=LIMIT_BYTES, now=START_SECONDS) as tier:
        tier.send(stored)
        assert tier.exile() == 2 * count
        got = b""
        for at in range(0, len(asked), piece_bytes):
            got += tier.send(asked[at : at + piece_bytes])
            if piece_bytes < len(asked):
                tier.exile()
        assert got == expected
        tier.check()
