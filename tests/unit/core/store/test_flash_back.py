"""An item that goes to flash and comes back is what it was, and keeps its copy there."""

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import TINY_LADDER, Found
from tests.support.core.flash_cache import Log
from tests.support.core.flash_keeper import ADMIT_ALL, ADMIT_COMPRESSED, Admission, FlashKeeper

ON_FLASH = 32768
NOISE = Random(7).randbytes(14_000)
TEXT = b"one thing after the other " * 500
WIDE = 1 << 60
# Key as it is asked for, and what is sent to make it.
ITEMS = {
    "plain": (b"k", b"set k 0 0 5\r\nvalue\r\n"),
    "empty": (b"k", b"set k 3 0 0\r\n\r\n"),
    "flags": (b"k", b"set k 4294967295 0 1\r\nx\r\n"),
    "expiry": (b"k", b"set k 0 500 1\r\nx\r\n"),
    "all fields": (b"k", b"ms k 1 F9 T500 E%d\r\nx\r\n" % WIDE),
    "wide number": (b"k", b"ms k 1 E%d\r\nx\r\n" % WIDE),
    "client's number": (b"k", b"ms k 1 E77\r\nx\r\n"),
    "stale": (b"k", b"ms k 1\r\nx\r\nmd k I T100\r\n"),
    "stale and won": (b"k", b"ms k 1\r\nx\r\nmd k I T100\r\nmg k\r\n"),
    "vivified": (b"k", b"mg k N60\r\n"),
    "tombstone": (b"k", b"ms k 4 F8\r\nabcd\r\nmd k x I\r\n"),
    "binary key": (b"AAEC/w== b", b"ms AAEC/w== 3 b F2\r\nabc\r\n"),
    "longest key": (b"k" * 250, b"set %s 1 0 2\r\nab\r\n" % (b"k" * 250)),
    "number": (b"k", b"set k 0 0 3\r\n  7\r\nincr k 1\r\n"),
    "noise": (b"k", b"set k 1 0 4000\r\n%s\r\n" % NOISE[:4000]),
    "text": (b"k", b"set k 1 0 4000\r\n%s\r\n" % TEXT[:4000]),
    "noise in parts": (b"k", b"set k 1 0 11500\r\n%s\r\n" % NOISE[:11500]),
    "text in parts": (b"k", b"set k 1 99 11500\r\n%s\r\n" % TEXT[:11500]),
    "text in parts, all fields": (
        b"k",
        b"ms k 11000 F9 T500 E%d\r\n%s\r\n" % (WIDE, TEXT[:11000]),
    ),
}


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FlashKeeper]:
    with FlashKeeper(tmp_path, now=100) as made:
        yield made
        made.check()


def _look(tier: FlashKeeper, key: bytes) -> bytes:
    answer = tier.send(b"mg %s f t c s k v u\r\nme %s\r\n" % (key, key))
    # On flash an item is of the class that its size says, in memory of that of its chunk.
    return re.sub(rb" cls=\d+ ", b" ", answer)


def check_round_trip(tier: FlashKeeper, name: str, admission: Admission) -> None:
    key, stored = ITEMS[name]
    tier.send(stored)
    # What is vivified has a winner already; the first to look at what is stale wins.
    tier.send(b"mg %s\r\n" % key)
    expected = _look(tier, key)
    assert expected.startswith(b"VA ")
    assert tier.exile(admission) == 1
    # Read where it is.
    assert _look(tier, key) == expected and tier.worker.counters()["items"] == 0
    # Brought back by the first read of what was read before.
    tier.set_live("ext_recache_rate", 1)
    tier.send(b"mg %s\r\nmg %s\r\n" % (key, key))
    assert tier.counters()["ext_brought_back"] == 1 and tier.worker.counters()["items"] == 1
    assert _look(tier, key) == expected
    # Its copy is still there, so that it can go without being written.
    written = tier.counters()["ext_objects_written"]
    assert tier.entries() == 1 and tier.exile() == 1
    assert tier.counters()["ext_objects_written"] == written
    assert _look(tier, key) == expected


@pytest.mark.parametrize("admission", [ADMIT_ALL, ADMIT_COMPRESSED], ids=["as is", "compressed"])
@pytest.mark.parametrize("name", ITEMS)
def test_it_is_what_it_was(tier: FlashKeeper, name: str, admission: Admission) -> None:
    check_round_trip(tier, name, admission)


@pytest.mark.parametrize("admission", [ADMIT_ALL, ADMIT_COMPRESSED], ids=["as is", "compressed"])
@pytest.mark.parametrize("name", ITEMS)
def test_it_is_what_it_was_with_small_chunks(
    tmp_path: Path, name: str, admission: Admission
) -> None:
    with FlashKeeper(tmp_path, now=100, chunk_bytes=TINY_LADDER) as tier:
        check_round_trip(tier, name, admission)
        tier.check()


def test_a_large_value_from_flash(tmp_path: Path) -> None:
    """Larger than what a reply copies, in parts, several in one reply."""
    log = Log(pages=6, page_bytes=4 << 20, wbuf_bytes=2 << 20, avoid_direct=True)
    value = Random(3).randbytes(1_500_000)
    with FlashKeeper(tmp_path, log, now=100) as tier:
        tier.send(
            b"set a 0 0 1500000\r\n%s\r\nset b 1 0 600000\r\n%s\r\n" % (value, value[:600000])
        )
        assert tier.exile() == 2
        one = b"VALUE a 0 1500000\r\n" + value + b"\r\n"
        two = b"VALUE b 1 600000\r\n" + value[:600000] + b"\r\n"
        assert (
            tier.send(b"get a b a\r\nget b\r\n") == one + two + one + b"END\r\n" + two + b"END\r\n"
        )
        assert tier.send(b"append a 0 0 1\r\nx\r\ntouch b 50\r\n") == b"STORED\r\nTOUCHED\r\n"
        assert tier.send(b"mg a s\r\nmg b s t\r\n") == b"HD s1500001\r\nHD s600000 t50\r\n"
        tier.check()


def test_larger_than_a_buffer_stays_in_memory(tier: FlashKeeper) -> None:
    tier.send(b"set k 0 0 20000\r\n%s\r\n" % TEXT[:11500].ljust(20000))
    assert tier.exile() == 0
    assert tier.examined["too_large"] == 1 and tier.entries() == 0


def test_a_flush_in_the_past_of_an_item_that_came_back(tier: FlashKeeper) -> None:
    """Its second stays that of the record, so it is not younger than it was."""
    tier.set_live("cas_enabled", 0)
    tier.send(b"set k 0 0 1\r\nx\r\n")
    tier.exile()
    tier.set_now(110)
    tier.send(b"incr k 1\r\nget k\r\n")
    found = tier.worker.look(b"k")
    assert isinstance(found, Found) and found.state & ON_FLASH
    tier.worker.flush_all(105)
    assert tier.send(b"get k\r\n") == b"END\r\n" or found.time_seconds >= 105


def test_an_item_that_was_read_in_memory_is_read_again_on_flash(tier: FlashKeeper) -> None:
    """Only reads on flash say what compaction keeps; whether it was fetched stays known."""
    tier.send(b"set k 0 0 1\r\nx\r\nset l 0 0 1\r\nx\r\n")
    tier.send(b"get k l\r\n")
    tier.exile()
    page = tier.in_use()[0]
    assert tier.pages()[page].objects_read == 0
    assert tier.send(b"mg k h\r\n") == b"HD h1\r\n"
    assert tier.pages()[page].objects_read == 1
    done = tier.compact(page, read_only=True)
    assert (done.rescued, done.dropped) == (1, 1)
    tier.sweep()
    assert tier.send(b"mg k h\r\nmg l\r\n") == b"HD h1\r\nEN\r\n"


def test_no_memory_for_what_comes_back_is_said(tmp_path: Path) -> None:
    """Without evictions and with nothing free a change of an item on flash is refused."""
    with FlashKeeper(tmp_path, now=100, limit_bytes=4 << 20) as tier:
        tier.send(b"set k 0 0 3000\r\n%s\r\n" % NOISE[:3000])
        tier.exile()
        tier.set_live("evictions_enabled", 0)
        number = 0
        while tier.send(b"set f%d 0 0 3000\r\n%s\r\n" % (number, NOISE[:3000])) == b"STORED\r\n":
            number += 1
        assert tier.send(b"touch k 10\r\n").startswith(b"SERVER_ERROR")
        assert tier.send(b"append k 0 0 1\r\nx\r\n").startswith(b"SERVER_ERROR")
        assert tier.send(b"gat 10 k\r\n").startswith(b"SERVER_ERROR")
        # Nothing was lost by that.
        assert tier.send(b"mg k s t\r\n") == b"HD s3000 t-1\r\n"
        tier.check()


def test_the_streams_of_the_records(tier: FlashKeeper) -> None:
    tier.send(b"set low 0 20 1\r\nx\r\nset high 0 500 1\r\nx\r\nset never 0 0 1\r\nx\r\n")
    tier.exile(Admission(low_ttl_seconds=100))
    used = {tier.pages()[page].bucket: tier.pages()[page] for page in tier.in_use()}
    assert used[lib.FLASH_LOW_TTL].objects == 1 and used[lib.FLASH_DEFAULT].objects == 2
    assert used[lib.FLASH_LOW_TTL].expires_seconds == 120
    assert used[lib.FLASH_DEFAULT].expires_seconds == 0


def test_why_items_stay_in_memory(tier: FlashKeeper) -> None:
    tier.send(b"set k 0 30 1\r\nx\r\n")
    for admission, reason in [
        (Admission(item_bytes_min=19 + 4), "too_small"),
        (Admission(idle_seconds_min=1), "too_young"),
        (Admission(ttl_seconds_min=31), "too_short_lived"),
        (Admission(unread_percent=0), "never_read"),
    ]:
        assert tier.fill(admission) == 0
        assert tier.examined[reason] == 1, reason
    tier.send(b"get k\r\n")
    assert tier.fill(Admission(active_too=False)) == 0
    assert tier.fill(Admission(unread_percent=0, ttl_seconds_min=30)) == 1
    assert tier.commit() == 0 and tier.entries() == 1
    assert tier.fill() == 0 and tier.examined["clean"] == 1
