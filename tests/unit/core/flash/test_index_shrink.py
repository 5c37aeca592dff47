"""The fingerprint index shrinks: buckets merge, every entry stays where it is found."""

import random

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_index_driver import (
    BUCKET_BYTES,
    START_BITS,
    UNITS_PER_PAGE,
    Handle,
    Tier,
    address_of,
    hash_of,
)

KIB = 1024
START_BYTES = BUCKET_BYTES << START_BITS


def scattered(count: int, seed: int = 1) -> list[int]:
    """Hashes, all different in the bits that are kept."""
    dice = random.Random(seed)
    return [hash_of(*divmod(one, 1 << 21)) for one in dice.sample(range(1 << 27), count)]


def fill(index: Handle, hashes: list[int], page: int = 0) -> dict[int, int]:
    """Adds an entry for each; address to hash."""
    entries = {page * UNITS_PER_PAGE + i: key for i, key in enumerate(hashes)}
    for address, key in entries.items():
        assert index.insert(key, address) == 0
    return entries


def assert_found(index: Handle, entries: dict[int, int]) -> None:
    for address, key in entries.items():
        assert [address_of(entry) for entry in index.find(key)] == [address]


def test_what_remains_is_found_at_every_step() -> None:
    with Tier() as tier, tier.open() as index:
        entries = fill(index, scattered(8000))
        for address in range(1000, 8000):
            assert index.remove(entries.pop(address), address)
        while index.shrink_step(1):
            assert tier.check() == 1000
            assert_found(index, dict(random.Random(2).sample(sorted(entries.items()), 20)))
        assert_found(index, entries)
        assert tier.bytes < 1000 * BUCKET_BYTES // 5


def test_it_ends_where_it_began() -> None:
    with Tier() as tier, tier.open() as index:
        for seed in range(3):
            for address, key in fill(index, scattered(8000, seed)).items():
                assert index.remove(key, address)
            index.shrink()
            assert tier.bytes == START_BYTES
            assert tier.check() == 0


def test_growing_and_shrinking_do_not_chase_each_other() -> None:
    with Tier() as tier, tier.open() as index:
        entries = fill(index, scattered(8000))
        full = tier.bytes
        index.shrink()
        assert tier.bytes == full
        for address in range(3000, 8000):
            assert index.remove(entries.pop(address), address)
        index.shrink()
        fewer = tier.bytes
        assert fewer < full * 4 // 5
        assert_found(index, entries)


def test_a_chain_is_merged_and_split_again() -> None:
    with Tier() as tier, tier.open() as index:
        chained = fill(index, [hash_of(3, i << 4) for i in range(100)], page=1)
        for seed in range(3):
            for address, key in fill(index, scattered(4000, seed)).items():
                assert index.remove(key, address)
            index.shrink(7)
            assert tier.bytes - START_BYTES < 20 * 64
            assert_found(index, chained)
            assert tier.check() == 100


def test_memory_goes_back() -> None:
    with Tier() as tier, tier.open() as index:
        empty = tier.memory_bytes
        for address, key in fill(index, scattered(50_000)).items():
            assert index.remove(key, address)
        taken = tier.bytes
        assert taken > 500 * KIB
        assert tier.memory_bytes > empty + taken - 32 * KIB
        index.shrink()
        assert tier.memory_bytes < empty + 48 * KIB
        assert_found(index, fill(index, scattered(50_000, 2)))
        assert tier.check() == 50_000


def test_no_version_comes_again() -> None:
    """Who looks at a bucket that went, and whose memory went, must not fit when it is back."""
    with Tier() as tier, tier.open() as index:
        last = 600
        before = 0
        for turns in (9, 1, 1):
            for seed in range(turns):
                entries = fill(index, scattered(8000, seed))
                now = int(lib.flash_index_version(tier.flash.pointer, last))
                assert now > before
                for address, key in entries.items():
                    assert index.remove(key, address)
            before = int(lib.flash_index_version(tier.flash.pointer, last))
            assert before > now
            index.shrink()
            assert tier.bytes == START_BYTES


def test_a_miss_does_not_rest_on_fresh_memory() -> None:
    """Version 0 is what memory has that came anew: who finds nothing under it moves it."""
    with Tier() as tier, tier.open() as index:
        for bucket in range(1 << START_BITS):
            assert int(lib.flash_index_version(tier.flash.pointer, bucket)) == 0
            assert index.find(hash_of(bucket, 1)) == []
            assert int(lib.flash_index_version(tier.flash.pointer, bucket)) == 1


@pytest.mark.parametrize("buckets", [1, 16, 1000])
def test_a_sweep_meets_what_a_merge_moved(buckets: int) -> None:
    """Entries of a draining page that move behind the sweep's back go all the same."""
    with Tier() as tier, tier.open() as index:
        fill(index, scattered(300, 3), page=1)
        for address, key in fill(index, scattered(8000)).items():
            assert index.remove(key, address)
        index.drain(1)
        sweep = ffi.new("struct flash_sweep *")
        assert index.sweep_step(sweep, 300)
        index.shrink_step(5)
        while index.sweep_step(sweep, buckets):
            index.shrink_step(5)
        assert tier.page(1).objects == 0
        assert sweep.removed == 300
        assert tier.check() == 0
