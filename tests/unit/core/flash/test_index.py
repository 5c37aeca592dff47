"""The fingerprint index: entries, chains, growth, sweeps and its end."""

import random
from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi
from tests.support.core.flash_index_driver import (
    BUCKET_BYTES,
    BUSY,
    CANDIDATES_MAX,
    HASH_BITS,
    MIB,
    NO_MEMORY,
    OVERFLOW_BYTES,
    SPARE_BITS,
    START_BITS,
    UNITS_PER_PAGE,
    Handle,
    Tier,
    address_of,
    hash_of,
    is_read,
    most_bytes,
)


@pytest.fixture
def tier() -> Iterator[Tier]:
    with Tier() as made:
        yield made


@pytest.fixture
def index(tier: Tier) -> Iterator[Handle]:
    with tier.open() as handle:
        yield handle
        assert tier.check() == tier.entries


def test_an_entry_comes_and_goes(tier: Tier, index: Handle) -> None:
    key = hash_of(3, 77)
    assert index.find(key) == []
    assert index.insert(key, 1234, 700) == 0
    (entry,) = index.find(key)
    assert address_of(entry) == 1234
    assert not is_read(entry)
    assert index.entry_at(key, 1234) == entry
    assert index.entry_at(key, 1235) == 0
    assert tier.page(0).objects == tier.entries == 1
    assert not index.remove(key, 1235)
    assert index.remove(key, 1234)
    assert not index.remove(key, 1234)
    assert index.find(key) == []
    assert tier.page(0).objects == tier.entries == 0


@pytest.mark.parametrize("size", [1, 128, 129, 192, 193, 4000, 4096, 4097, 4 * MIB - 1, 4 * MIB])
def test_sizes_are_kept_roughly(index: Handle, size: int) -> None:
    assert index.insert(hash_of(1, 1), 8, size) == 0
    (entry,) = index.find(hash_of(1, 1))
    assert size <= most_bytes(entry) <= max(128, size * 3 // 2)


def test_all_bits_zero(index: Handle) -> None:
    """Neither an empty slot nor a hash of zeros is taken for the other."""
    assert index.find(0) == []
    assert index.entry_at(0, 0) == 0
    assert not index.remove(0, 0)
    assert index.remove_all(0) == 0
    assert index.insert(0, 0) == 0
    assert len(index.find(0)) == 1
    assert index.entry_at(0, 0) != 0
    assert index.mark_read(0, 0) is False
    assert index.remove_all(0) == 1


def test_reads_are_noted_once(tier: Tier, index: Handle) -> None:
    key, address = hash_of(0, 1), UNITS_PER_PAGE + 5
    index.insert(key, address)
    assert index.mark_read(key, address) is False
    assert index.mark_read(key, address) is True
    assert is_read(index.entry_at(key, address))
    assert tier.page(1).objects_read == 1
    assert index.mark_read(key, address + 1) is False
    assert index.remove(key, address)
    assert index.mark_read(key, address) is False
    assert tier.page(1).objects_read == 0


def test_a_move_counts_both_pages(tier: Tier, index: Handle) -> None:
    key, address, target = hash_of(0, 1), 7, 2 * UNITS_PER_PAGE + 9
    index.insert(key, address, 3000)
    index.mark_read(key, address)
    assert index.move(key, address, target)
    assert not index.move(key, address, target)
    (entry,) = index.find(key)
    assert address_of(entry) == target
    assert most_bytes(entry) == 3072
    assert not is_read(entry)
    assert [tier.page(page).objects for page in range(4)] == [0, 0, 1, 0]
    assert [tier.page(page).objects_read for page in range(4)] == [0, 0, 0, 0]


def test_remove_all_takes_every_candidate(tier: Tier, index: Handle) -> None:
    key = hash_of(9, 500)
    for address in range(30):
        # More of the same bits than a look-up finds are not taken.
        wanted = 0 if address < CANDIDATES_MAX else BUSY
        assert index.insert(key, address) == wanted
        assert index.insert(hash_of(9, address), 1000 + address) == 0
    index.mark_read(key, 3)
    assert sorted(map(address_of, index.find(key))) == list(range(CANDIDATES_MAX))
    assert tier.page(0).objects == 30 + CANDIDATES_MAX
    assert index.remove_all(key) == CANDIDATES_MAX
    assert index.find(key) == []
    assert index.insert(key, 77) == 0
    assert index.remove(key, 77)
    assert tier.page(0).objects == 30
    assert tier.page(0).objects_read == 0
    assert all(index.find(hash_of(9, address)) for address in range(30))


def test_hashes_differ_by_every_bit_of_the_entry(index: Handle) -> None:
    index.insert(hash_of(5, 0x155555), 1)
    for bit in range(HASH_BITS):
        assert index.find(hash_of(5, 0x155555 ^ 1 << bit)) == []
    assert index.find(hash_of(5, 0x155555)) != []


def overflow_bytes(entries_in_bucket: int) -> int:
    """What the chain of a bucket with so many entries takes, when it is as short as can be."""
    return -(-max(0, entries_in_bucket - 15) // 7) * OVERFLOW_BYTES


def test_chains_are_as_short_as_can_be(tier: Tier, index: Handle) -> None:
    before = tier.bytes
    for i in range(200):
        assert index.insert(hash_of(5, i), i) == 0
        assert tier.bytes == before + overflow_bytes(i + 1)
        assert tier.check() == i + 1
    order = list(range(200))
    random.Random(3).shuffle(order)
    for i in order:
        assert index.remove(hash_of(5, i), i)
        tier.check()
    # All overflow buckets are free again: another chain uses no more.
    for i in range(200):
        index.insert(hash_of(6, i), i)
    assert tier.bytes == before + overflow_bytes(200)


def test_growth_keeps_every_entry(tier: Tier, index: Handle) -> None:
    dice = random.Random(4)
    hashes = [dice.getrandbits(64) for _ in range(20_000)]
    for address, key in enumerate(hashes):
        assert index.insert(key, address) == 0
        if address % 3 == 0:
            index.mark_read(key, address)
    buckets = 20_000 // 12
    assert tier.bytes > buckets * BUCKET_BYTES
    for address, key in enumerate(hashes):
        assert is_read(index.entry_at(key, address)) == (address % 3 == 0)
    assert tier.entries == tier.page(0).objects == 20_000
    assert tier.page(0).objects_read == len(range(0, 20_000, 3))


def test_a_chain_that_is_split(tier: Tier, index: Handle) -> None:
    """All hang on one bucket; growth by others takes them apart by the bits in the entries."""
    for i in range(300):
        index.insert(hash_of(5, i << 2), i)
    dice = random.Random(5)
    for i in range(15_000):
        assert index.insert(dice.getrandbits(64), 1000 + i) == 0
    for i in range(300):
        assert index.entry_at(hash_of(5, i << 2), i) != 0
    assert tier.check() == 15_300


def test_memory_per_entry(tier: Tier, index: Handle) -> None:
    """At most 13 bytes per entry, averaged over a cycle of growth."""
    dice = random.Random(6)
    figures = []
    for i in range(100_000):
        assert index.insert(dice.getrandbits(64), i) == 0
        if i >= 50_000 and i % 1000 == 0:
            figures.append(tier.bytes / (i + 1))
    assert sum(figures) / len(figures) < 12.5
    assert max(figures) < 13


def test_memory_while_entries_come_and_go(tier: Tier, index: Handle) -> None:
    dice = random.Random(7)
    live = [(dice.getrandbits(64), i) for i in range(20_000)]
    for key, address in live:
        assert index.insert(key, address) == 0
    before = tier.bytes
    for i in range(60_000):
        at = dice.randrange(len(live))
        assert index.remove(*live[at])
        live[at] = (dice.getrandbits(64), 20_000 + i)
        assert index.insert(*live[at]) == 0
    assert tier.bytes < before * 1.1
    assert tier.check() == tier.entries == 20_000


def test_full() -> None:
    """Beyond its limit the index takes nothing more, says so, and works on."""
    with Tier(index_bytes_max=64 * 1024) as tier, tier.open() as index:
        dice = random.Random(8)
        stored: list[tuple[int, int]] = []
        refused = 0
        while refused < 200:
            key, address = dice.getrandbits(64), len(stored)
            before = tier.page(0).objects
            status = index.insert(key, address)
            if status == NO_MEMORY:
                refused += 1
                assert tier.page(0).objects == before == tier.entries
                assert index.entry_at(key, address) == 0
            else:
                assert status == 0
                stored.append((key, address))
        assert tier.bytes <= 64 * 1024
        assert tier.bytes / len(stored) < 12.5
        assert all(index.entry_at(key, address) for key, address in stored)
        assert tier.check() == len(stored)
        for key, address in stored[:3000]:
            assert index.remove(key, address)
        for i in range(300):
            assert index.insert(dice.getrandbits(64), len(stored) + i) == 0
        assert tier.check() == len(stored) - 2700


def test_a_full_chain_loses_an_entry_for_a_new_one(tier: Tier, index: Handle) -> None:
    for taken in range(1000):
        assert index.insert(hash_of(5, taken), taken) == 0
        assert index.entry_at(hash_of(5, taken), taken)
        assert tier.check() == tier.page(0).objects == tier.entries
    # As long as readers follow: a home bucket, and overflow buckets whose last slots are links.
    kept = [i for i in range(1000) if index.entry_at(hash_of(5, i), i)]
    assert len(kept) == tier.entries == 14 + 62 * 7 + 8 == 456
    assert index.counter("ext_chain_full") == 1000 - len(kept)
    assert all(index.remove(hash_of(5, i), i) for i in kept)
    assert tier.check() == 0


def test_address_bits_that_a_tier_does_not_need_tell_keys_apart(index: Handle) -> None:
    key = hash_of(5, 77)
    assert index.insert(key, 1) == 0
    for bit in range(START_BITS + HASH_BITS, START_BITS + HASH_BITS + SPARE_BITS):
        assert index.find(key ^ 1 << bit) == []
        assert index.remove_all(key ^ 1 << bit) == 0
    assert index.find(key ^ 1 << START_BITS + HASH_BITS + SPARE_BITS) == index.find(key) != []


@pytest.mark.parametrize(("pages", "bits"), [(1, 46), (2, 45), (3, 44), (4, 44), (5, 43)])
def test_how_many_hash_bits_there_are(pages: int, bits: int) -> None:
    with Tier(pages=pages) as tier:
        assert tier.flash.hash_bits == bits


def test_what_foreign_keys_may_have_lost_is_counted(tier: Tier, index: Handle) -> None:
    for i in range(3000):
        assert index.insert(hash_of(i % 64, i), i) == 0
    before = index.counter("ext_index_chances")
    # Entries are counted by the thousand or so, rounded down.
    index.remove_all(hash_of(70, 1))
    assert index.counter("ext_index_chances") == before + 2


def test_the_first_size_follows_the_hint() -> None:
    with Tier(item_bytes_hint=64) as tier, tier.open() as index:
        # 8 MiB of records of 64 bytes; an eighth of their buckets, rounded up to a power of two.
        assert tier.bytes == 2048 * BUCKET_BYTES
        dice = random.Random(9)
        for i in range(30_000):
            index.insert(dice.getrandbits(64), i)
        assert tier.check() == 30_000


def test_a_sweep_takes_only_what_drains(tier: Tier, index: Handle) -> None:
    dice = random.Random(10)
    kept: list[tuple[int, int]] = []
    for i in range(8000):
        page = i % 4
        key, address = dice.getrandbits(64), page * UNITS_PER_PAGE + i
        assert index.insert(key, address) == 0
        if page in (0, 2):
            kept.append((key, address))
    index.drain(1)
    index.drain(3)
    assert index.sweep(7) == 4000
    assert [tier.page(page).objects for page in range(4)] == [2000, 0, 2000, 0]
    assert all(index.entry_at(key, address) for key, address in kept)
    assert tier.check() == tier.entries == 4000
    assert index.sweep() == 0


def test_a_sweep_while_buckets_split(tier: Tier, index: Handle) -> None:
    dice = random.Random(11)
    for i in range(700):
        index.insert(dice.getrandbits(64), i)
    index.drain(0)
    sweep = ffi.new("struct flash_sweep *")
    added = 0
    while index.sweep_step(sweep, 1):
        if added < 5000:
            for _ in range(40):
                assert index.insert(dice.getrandbits(64), UNITS_PER_PAGE + added) == 0
                added += 1
    assert sweep.removed == 700
    assert tier.page(0).objects == 0
    assert tier.check() == added == 5000
    assert tier.bytes > 2 * (1 << START_BITS) * BUCKET_BYTES


def test_a_page_that_is_used_again(tier: Tier, index: Handle) -> None:
    for _ in range(3):
        for i in range(100):
            assert index.insert(hash_of(i % 64, i), i) == 0
        index.drain(0)
        assert index.sweep() == 100
        index.free_page(0)
        assert index.open_page() == 0
    assert tier.entries == 0
