"""Reads from flash: what is counted, begun ahead, shared, dropped; damage and foreign records."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, TINY_LADDER, Making
from tests.support.core.flash_cache import FlashCache, Log, Rules
from tests.support.core.records import Outcome
from tests.support.core.talk import Talk


@pytest.fixture(params=[lib.FLASH_READER_AUTO, lib.FLASH_READER_THREADS], ids=["auto", "threads"])
def tier(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FlashCache]:
    with FlashCache(tmp_path, Log(kind=request.param)) as made:
        yield made
        made.check_at_rest()


def value_of(key: str, value_bytes: int = 100) -> bytes:
    return (key.encode() * value_bytes)[:value_bytes]


def shown(key: str, value_bytes: int = 100) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key.encode(), value_bytes, value_of(key, value_bytes))


def fill(tier: FlashCache, keys: list[str], value_bytes: int = 100) -> None:
    for key in keys:
        line = b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), value_bytes, value_of(key, value_bytes))
        assert tier.send(line) == b"STORED\r\n"
    tier.to_flash()
    assert tier.counters()["items"] == 0


def waiting(tier: FlashCache) -> Talk:
    """A conversation that stops where it has to wait for flash."""
    talk = Talk(tier.worker, values_max=64)
    talk.waits_for_flash = False
    return talk


def test_counts_are_those_of_memory(tier: FlashCache) -> None:
    fill(tier, ["a"])
    assert tier.send(b"get a\r\n") == shown("a") + b"END\r\n"
    counters = tier.counters()
    assert counters["get_extstore"] == counters["cmd_get"] == 1
    assert counters["get_misses"] == counters["ext_brought_back"] == 0
    assert counters["requests"] == 2
    assert tier.send(b"touch a 50\r\ngat 60 a\r\nincr a 1\r\nget z\r\nme a\r\n")
    counters = tier.counters()
    assert counters["requests"] == 7
    assert counters["cmd_touch"] == 2
    assert counters["cmd_meta"] == 1
    assert counters["touch_misses"] == 0
    assert counters["get_misses"] == 1
    assert counters["ext_brought_back"] == 1


def test_reads_are_begun_ahead(tier: FlashCache) -> None:
    keys = [f"key{i}" for i in range(20)]
    fill(tier, keys)
    talk = waiting(tier)
    talk.feed(b"get %s\r\n" % b" ".join(key.encode() for key in keys[:10]))
    assert tier.reads.under_way() == 10
    talk.feed(b"".join(b"get %s\r\n" % key.encode() for key in keys[10:]))
    assert tier.reads.under_way() == 20
    assert talk.received == b""
    talk.waits_for_flash = True
    talk.feed(b"")
    want = b"".join(shown(key) for key in keys[:10]) + b"END\r\n"
    want += b"".join(shown(key) + b"END\r\n" for key in keys[10:])
    assert talk.received == want
    counters = tier.counters()
    assert counters["get_extstore"] == counters["cmd_get"] == 20
    assert counters["ext_device_reads"] == 20


def test_mg_lines_are_begun_ahead(tier: FlashCache) -> None:
    keys = [f"key{i}" for i in range(40)]
    fill(tier, keys)
    talk = waiting(tier)
    talk.feed(b"".join(b"mg %s v k q\r\n" % key.encode() for key in keys) + b"mn\r\nmg key")
    assert tier.reads.under_way() == 32
    talk.waits_for_flash = True
    talk.feed(b"0 v\r\n")
    want = b"".join(b"VA 100 k%s\r\n%s\r\n" % (key.encode(), value_of(key)) for key in keys)
    assert talk.received == want + b"MN\r\nVA 100\r\n%s\r\n" % value_of("key0")
    assert tier.counters()["ext_device_reads"] == 41


def test_replies_before_a_read_leave_at_once(tier: FlashCache) -> None:
    fill(tier, ["cold"])
    tier.send(b"set hot 0 0 1\r\nh\r\n")
    talk = waiting(tier)
    talk.feed(b"get hot cold hot\r\nmn\r\n")
    assert talk.received == b"VALUE hot 0 1\r\nh\r\n"
    talk.waits_for_flash = True
    talk.feed(b"")
    assert talk.received.endswith(shown("cold") + b"VALUE hot 0 1\r\nh\r\nEND\r\nMN\r\n")


def test_one_read_serves_all_who_wait(tier: FlashCache) -> None:
    fill(tier, ["a"])
    talks = [waiting(tier) for _ in range(5)]
    for talk in talks:
        talk.feed(b"get a\r\n")
    for talk in talks:
        talk.waits_for_flash = True
        talk.feed(b"")
        assert talk.received == shown("a") + b"END\r\n"
    counters = tier.counters()
    assert counters["ext_device_reads"] == 1
    assert counters["ext_reads_coalesced"] == 4
    assert counters["get_extstore"] == 5


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (b"set a 0 0 3\r\nnew\r\n", b"VALUE a 0 3\r\nnew\r\nEND\r\n"),
        (b"delete a\r\n", b"END\r\n"),
        (b"append a 0 0 3\r\nnew\r\n", b"VALUE a 0 103\r\n%snew\r\nEND\r\n" % value_of("a")),
        (b"touch a -1\r\n", b"END\r\n"),
        (b"flush_all\r\n", b"END\r\n"),
    ],
)
def test_changed_while_it_is_read(tier: FlashCache, change: bytes, answer: bytes) -> None:
    fill(tier, ["a"])
    talk = waiting(tier)
    talk.feed(b"get a\r\n")
    tier.send(change)
    talk.waits_for_flash = True
    talk.feed(b"")
    assert talk.received == answer


def test_page_dropped_while_it_is_read(tier: FlashCache) -> None:
    fill(tier, ["a", "b"])
    talk = waiting(tier)
    talk.feed(b"get a b\r\n")
    page = next(n for n, row in enumerate(tier.pages()) if row.state == lib.FLASH_PAGE_FULL)
    tier.drop_page(page)
    talk.waits_for_flash = True
    talk.feed(b"")
    assert talk.received == b"END\r\n"
    assert tier.entries() == 0


def test_lost_clients_reads_are_aborted(tier: FlashCache) -> None:
    fill(tier, ["a", "b", "c"])
    talk = waiting(tier)
    talk.feed(b"get a b c\r\n")
    talk.close()
    tier.reads.wait_for_all()
    assert tier.reads.memory_bytes() == 0
    counters = tier.counters()
    assert counters["get_extstore"] == counters["get_aborted_extstore"] == 3


def test_large_values(tier: FlashCache) -> None:
    keys = [f"large{i}" for i in range(12)]
    fill(tier, keys, 150_000)
    assert tier.send(b"mg large3 v\r\n") == b"VA 150000\r\n%s\r\n" % value_of("large3", 150_000)
    want = b"".join(shown(key, 150_000) for key in keys) + b"END\r\n"
    assert tier.send(b"get %s\r\n" % b" ".join(key.encode() for key in keys)) == want
    talk = Talk(tier.worker, values_max=64)
    talk.feed(b"get large1 large2\r\n", drains=False)
    talk.close()


def test_compressed_values_in_parts(tmp_path: Path) -> None:
    with FlashCache(tmp_path, chunk_bytes=TINY_LADDER) as tier:
        value = b"over and over " * 5000
        tier.send(b"set a 0 0 %d\r\n%s\r\n" % (len(value), value))
        tier.to_flash(Rules(compress_bytes_min=256))
        want = b"VALUE a 0 %d\r\n%s\r\nEND\r\n" % (len(value), value)
        assert tier.send(b"get a\r\n") == want
        assert tier.counters()["ext_bytes_written"] < len(value) // 4
        assert tier.send(b"touch a 0\r\nget a\r\n") == b"TOUCHED\r\n" + want


def test_damage_is_a_miss(tier: FlashCache) -> None:
    fill(tier, ["a", "b"])
    data = bytearray(tier.files[0].read_bytes())
    place = data.index(value_of("a"))
    data[place + 50] ^= 1
    tier.files[0].write_bytes(data)
    assert tier.send(b"get a b\r\n") == shown("b") + b"END\r\n"
    counters = tier.counters()
    assert counters["badcrc_from_extstore"] == 1
    assert counters["get_misses"] == 1
    assert tier.send(b"mg a v O7 k\r\nincr a 1\r\n") == b"EN O7 ka\r\nNOT_FOUND\r\n"
    assert tier.entries() == 1


def test_memory_for_one_read_at_a_time(tmp_path: Path) -> None:
    with FlashCache(tmp_path, Log(memory_bytes=1000)) as tier:
        keys = [f"key{i}" for i in range(30)]
        fill(tier, keys, 700)
        talks = [Talk(tier.worker, values_max=64) for _ in range(4)]
        for talk in talks:
            talk.waits_for_flash = False
            talk.feed(b"get %s\r\n" % b" ".join(key.encode() for key in keys))
        want = b"".join(shown(key, 700) for key in keys) + b"END\r\n"
        for _ in range(1000):
            if all(talk.received == want for talk in talks):
                break
            tier.reads.wait()
            for talk in talks:
                talk.feed(b"")
        assert all(talk.received == want for talk in talks)


def test_read_often_comes_back(tier: FlashCache) -> None:
    tier.set_live("ext_recache_rate", 2)
    fill(tier, ["a"])
    for _ in range(6):
        assert tier.send(b"get a\r\n") == shown("a") + b"END\r\n"
    counters = tier.counters()
    assert counters["recache_from_extstore"] == counters["ext_brought_back"] == 1
    assert counters["items"] == 1
    assert tier.entries() == 1  # Its copy stays.
    assert tier.drop_memory_copies() == 1
    assert tier.send(b"get a\r\n") == shown("a") + b"END\r\n"


def test_no_memory_for_what_has_to_come_back(tmp_path: Path) -> None:
    with FlashCache(tmp_path, limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER) as tier:
        fill(tier, ["a", "b", "c"], 900)
        talk = Talk(tier.worker, values_max=64)
        # Values on their way in hold memory that cannot be evicted.
        makings: list[Making] = []
        while True:
            making = tier.worker.begin(b"m%d" % len(makings), 900)
            if making.outcome != Outcome.ROOM_MADE:
                break
            makings.append(making)
        assert talk.ask(b"incr a 1\r\n") == b"SERVER_ERROR out of memory\r\n"
        assert talk.ask(b"gat 5 a\r\n") == b"SERVER_ERROR out of memory writing get response\r\n"
        assert talk.ask(b"mg a T30 k\r\n") == b"EN ka\r\n"
        assert talk.ask(b"get a\r\n") == shown("a", 900) + b"END\r\n"
        assert tier.counters()["get_oom_extstore"] == 2
        assert talk.ask(b"delete b\r\nmd c k\r\nmg b\r\n") == b"DELETED\r\nHD kc\r\nEN\r\n"
        for making in makings:
            making.abandon()
        assert talk.ask(b"touch a 5\r\n") == b"TOUCHED\r\n"


def test_foreign_records_are_ruled_out(tmp_path: Path) -> None:
    """An entry of another key with the same bits: the record says so, and the next one is read."""
    with FlashCache(tmp_path) as tier:
        fill(tier, ["b"])
        assert tier.send(b"set a 0 0 100\r\n%s\r\n" % value_of("a")) == b"STORED\r\n"
        # b's record is entered under a's hash too, as if the bits of both were the same.
        hash_a, hash_b = lib.hash_of(b"a", 1, 0), lib.hash_of(b"b", 1, 0)
        found = ffi.new("uint64_t[4]")
        assert lib.flash_find(tier.flash, tier.worker.proc, hash_b, found) == 1
        # The addresses of 8 pages of 2 MiB need 20 bits.
        address = found[0] & ((1 << 20) - 1)
        assert lib.flash_insert(tier.flash, tier.worker.proc, hash_a, address, 200) == 0
        tier.to_flash()
        assert lib.flash_find(tier.flash, tier.worker.proc, hash_a, found) == 2
        assert tier.send(b"get a b a\r\n") == shown("a") + shown("b") + shown("a") + b"END\r\n"
        assert tier.counters()["ext_other_key"] > 0
        assert tier.send(b"mg a s\r\nme a\r\n").startswith(b"HD s100\r\nME a ")
        assert tier.send(b"append a 0 0 1\r\nx\r\n") == b"STORED\r\n"
        assert tier.send(b"get a b\r\n").startswith(b"VALUE a 0 101\r\n")
        assert tier.send(b"get b\r\n") == shown("b") + b"END\r\n"
        assert tier.reads.memory_bytes() == 0


def test_a_read_that_is_begun_again_counts_once(tier: FlashCache) -> None:
    """A slow client's reads ahead are given back."""
    fill(tier, ["a", "b"])
    talk = waiting(tier)
    talk.feed(b"get a b\r\n")
    lib.session_drop_reads(talk.session)
    talk.waits_for_flash = True
    talk.feed(b"")
    assert talk.received == shown("a") + shown("b") + b"END\r\n"
    assert tier.counters()["get_extstore"] == 2
    assert tier.counters()["get_aborted_extstore"] == 0


def test_what_waits_for_slow_clients_has_a_bound(tier: FlashCache) -> None:
    """Copies of large values count in response_buf_bytes, and are refused beyond 64 MiB."""
    value_bytes, bound_bytes = 1_000_000, 64 * MIB
    fill(tier, ["large"], value_bytes)
    fill(tier, ["small"])
    slow = [Talk(tier.worker) for _ in range(bound_bytes // value_bytes + 1)]
    for number, talk in enumerate(slow):
        assert tier.counters()["response_buf_bytes"] == number * value_bytes
        talk.feed(b"get large\r\n", drains=False)
    refused = b"SERVER_ERROR out of memory writing get response\r\n"
    assert tier.send(b"get large\r\n") == refused
    assert tier.send(b"mg large v\r\n") == b"EN\r\n"
    assert tier.send(b"get small\r\n") == shown("small") + b"END\r\n"
    assert tier.counters()["get_oom_extstore"] == 2
    slow.pop().close()
    want = shown("large", value_bytes) + b"END\r\n"
    assert tier.send(b"get large\r\n") == want
    assert slow.pop().drain() == want
    while slow:
        slow.pop().close()
    assert tier.counters()["response_buf_bytes"] == 0
