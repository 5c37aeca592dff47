"""Evictions beside a flash tier: with room in write buffers nothing is lost, without it little."""

import os
import re
import resource
from pathlib import Path
from random import Random

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import LADDER, MIB, TINY_LADDER
from tests.support.core.flash_cache import FlashCache, Log

VALUE = b"x" * 900
# Each stream that evictions go to has as many buffers that take records, at any time.
STREAMS = (int(lib.FLASH_DEFAULT), int(lib.FLASH_CHUNKED), int(lib.FLASH_LOW_TTL))
SPARE = 2
ROOMY = Log(pages=48, page_bytes=2 * MIB, wbuf_bytes=MIB)
SOURCE = (Path(__file__).parents[4] / "csrc" / "space" / "space_evict.c").read_text()


def defined(name: str) -> int:
    """A constant as the C file has it."""
    found = re.search(rf"^#define {name} (\d+)$", SOURCE, re.MULTILINE)
    assert found is not None
    return int(found[1])


RECORDS_PER_NAP, NAPS_MAX = defined("RECORDS_PER_NAP"), defined("NAPS_MAX")


def keep_room(tier: FlashCache) -> None:
    """What a keeper does: writes full buffers, and begins new ones before the last is full."""
    for number, row in enumerate(tier.buffers()):
        if row.state != lib.FLASH_BUFFER_FREE and row.is_closed:
            assert tier.write_buffer(number) == 0
    rows = tier.buffers()
    free = [n for n, row in enumerate(rows) if row.state == lib.FLASH_BUFFER_FREE]
    for bucket in STREAMS:
        taking = [
            row
            for row in rows
            if row.state == lib.FLASH_BUFFER_FILLING and row.bucket == bucket and not row.is_closed
        ]
        for _ in range(SPARE - len(taking)):
            begun = lib.flash_buffer_begin(tier.flash, tier.keeper.proc, free.pop(), bucket)
            assert begun == 0


def is_woken(tier: FlashCache) -> bool:
    """Whether a buffer was closed, or found to be missing, since the last time."""
    try:
        return bool(os.read(lib.flash_wake_fd(tier.flash), 8))
    except BlockingIOError:
        return False


def value_of(key: bytes, value_bytes: int) -> bytes:
    return (key + b";") * (value_bytes // (len(key) + 1) + 1)


def fill(tier: FlashCache, name: bytes, sizes: list[int]) -> dict[bytes, bytes]:
    """Stores a value of each size; what every key should answer."""
    stored = {}
    keep_room(tier)
    for number, value_bytes in enumerate(sizes):
        key = name + b"%d" % number
        value = value_of(key, value_bytes)[:value_bytes]
        assert tier.worker.put(key, value).outcome == lib.STORE_STORED
        if is_woken(tier):
            keep_room(tier)
        stored[key] = value
    return stored


def assert_all_answer(tier: FlashCache, stored: dict[bytes, bytes], count: int = 1500) -> None:
    """So many of them; the counters speak for all."""
    for key, value in Random(1).sample(sorted(stored.items()), min(count, len(stored))):
        wanted = b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)
        assert tier.send(b"get %s\r\n" % key) == wanted, key


@pytest.mark.parametrize("ladder", [LADDER, TINY_LADDER], ids=["chunks", "parts"])
def test_nothing_is_lost_while_buffers_have_room(tmp_path: Path, ladder: tuple[int, ...]) -> None:
    """Three times what memory holds, in all classes at once."""
    dice = Random(3)
    with FlashCache(tmp_path, ROOMY, limit_bytes=4 * MIB, chunk_bytes=ladder) as tier:
        tier.set_live("ext_item_size_bytes", 0)
        sizes, total = [], 0
        while total < 12 * MIB:
            sizes.append(min(20 + int(dice.paretovariate(0.7) * 40), 60_000))
            total += sizes[-1] + 60
        stored = fill(tier, b"k", sizes)
        counters = tier.counters()
        assert counters["evictions"] == counters["ext_unclean_evictions"] == 0
        assert counters["ext_clean_evictions"] > len(sizes) // 3
        assert_all_answer(tier, stored)
        tier.worker.check()
        tier.entries()


def test_nothing_is_lost_when_sizes_change(tmp_path: Path) -> None:
    """Pages go from class to class, and what cannot move within its class is copied out."""
    with FlashCache(tmp_path, ROOMY, limit_bytes=4 * MIB) as tier:
        tier.set_live("ext_item_size_bytes", 0)
        stored = fill(tier, b"small", [200] * 12_000)
        stored |= fill(tier, b"middle", [3000] * 1500)
        stored |= fill(tier, b"large", [50_000] * 100)
        stored |= fill(tier, b"again", [200] * 12_000)
        counters = tier.counters()
        assert counters["evictions"] == counters["ext_unclean_evictions"] == 0
        assert counters["slabs_moved"] > 0
        assert_all_answer(tier, stored)


def test_what_goes_with_a_copy_on_flash_is_no_eviction(tmp_path: Path) -> None:
    """And without any buffer what has a copy goes first, all of it."""
    with FlashCache(tmp_path, Log(pages=8), limit_bytes=8 * MIB) as tier:
        store = tier.worker
        for i in range(4000):
            store.put(b"old%d" % i, VALUE)
        assert tier.write_out_all() == 4000
        number = 0
        while store.counters()["ext_unclean_evictions"] == 0:
            store.put(b"new%d" % number, VALUE)
            number += 1
            counters = store.counters()
            if counters["ext_clean_evictions"] == 200:
                class_id = store.class_for(1024)
                assert store.class_counters(class_id)["evicted"] == 0
                assert store.class_counters(class_id)["evicted_unfetched"] == 0
        counters = store.counters()
        assert counters["ext_clean_evictions"] == 4000
        # Victims are chosen some at a time.
        assert 0 < counters["evictions"] == counters["ext_unclean_evictions"] <= 8
        assert all(
            tier.send(b"get old%d\r\n" % i).startswith(b"VALUE old%d " % i) for i in range(200)
        )


def test_what_is_evicted_without_a_copy_is_counted(tmp_path: Path) -> None:
    """With room again the next victims are copied."""
    with FlashCache(tmp_path, ROOMY, limit_bytes=4 * MIB) as tier:
        store = tier.worker
        number = 0
        while store.counters()["evictions"] < 100:
            store.put(b"k%d" % number, VALUE)
            number += 1
        counters = store.counters()
        assert counters["ext_unclean_evictions"] == counters["evictions"]
        assert counters["ext_clean_evictions"] == 0
        assert lib.flash_streams_wanted(tier.flash) == 1 << lib.FLASH_DEFAULT
        lost = counters["evictions"]
        fill(tier, b"more", [900] * 2000)
        counters = store.counters()
        assert counters["evictions"] == lost
        assert counters["ext_clean_evictions"] >= 1500


def test_items_too_small_for_flash_go_at_once(tmp_path: Path) -> None:
    """Room in a buffer is nothing to them, nor is the want of it."""
    with FlashCache(tmp_path, ROOMY, limit_bytes=4 * MIB) as tier:
        tier.set_live("ext_item_size_bytes", 5000)
        number = 0
        while tier.worker.counters()["evictions"] < 100:
            tier.worker.put(b"k%d" % number, VALUE)
            number += 1
        counters = tier.counters()
        assert counters["ext_rejected_small"] >= 100
        assert counters["ext_unclean_evictions"] == counters["ext_clean_evictions"] == 0
        assert lib.flash_streams_wanted(tier.flash) == 0


def test_naps_are_paid_for_by_records_that_found_room(tmp_path: Path) -> None:
    """A device that is too slow costs a SET a share of a nap, and one that is stuck nothing."""

    def naps_while_storing(name: bytes, count: int) -> int:
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        for number in range(count):
            tier.worker.put(name + b"%d" % number, VALUE)
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

    with FlashCache(tmp_path, ROOMY, limit_bytes=4 * MIB) as tier:
        # Others may make this thread sleep, too: for memory, say.
        noise = NAPS_MAX // 5
        naps_while_storing(b"fill", 6000)
        assert naps_while_storing(b"stuck", 2000) <= noise
        fill(tier, b"earns", [900] * (RECORDS_PER_NAP * NAPS_MAX * 2))
        tier.write_buffers()
        # More than so many are not saved up, and they are used up.
        naps = naps_while_storing(b"slow", 2000)
        assert NAPS_MAX <= naps <= NAPS_MAX + noise
        assert naps_while_storing(b"stuck again", 2000) <= noise
