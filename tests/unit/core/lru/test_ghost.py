"""The ghost: who is known, for how long, what a false yes costs, and whose memory it is."""

import random

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import MIB, Cache, Handle
from tests.support.core.lru_queues import GROUP_BYTES, arena_bytes, fit_probation

ITEMS = 100_000
# The chance that one place of a set looks like another key.
ODDS = lib.GHOST_WAYS / (2**lib.GHOST_BITS - 1)


class Ghost:
    """The ghost of a handle's cache."""

    def __init__(self, handle: Handle, items: int = ITEMS) -> None:
        self.lru = lib.store_lru(handle.store)
        lib.ghost_begin(self.lru, items)

    def note(self, *hashes: int) -> None:
        for one in hashes:
            lib.ghost_note(self.lru, one)

    def has(self, one: int) -> bool:
        return bool(lib.ghost_has(self.lru, one))

    def take(self, one: int) -> bool:
        return bool(lib.ghost_take(self.lru, one))

    def share_known(self, hashes: list[int]) -> float:
        return sum(map(self.has, hashes)) / len(hashes)

    def fit(self, items: int) -> None:
        lib.ghost_fit(self.lru, items)

    def empty(self) -> None:
        lib.ghost_empty(self.lru)

    def bytes(self) -> int:
        return int(lib.ghost_bytes(self.lru))


def hashes(count: int, seed: int = 1) -> list[int]:
    dice = random.Random(seed)
    return [dice.getrandbits(64) for _ in range(count)]


@pytest.fixture
def ghost(store: Handle) -> Ghost:
    return Ghost(store)


def test_without_a_size_it_knows_nobody(store: Handle) -> None:
    lru = lib.store_lru(store.store)
    lib.ghost_note(lru, 5)
    assert not lib.ghost_has(lru, 5)
    assert not lib.ghost_take(lru, 5)
    assert lib.ghost_bytes(lru) == 0


def test_an_evicted_key_is_known_until_it_is_taken(ghost: Ghost) -> None:
    assert not ghost.has(12345)
    ghost.note(12345)
    assert ghost.has(12345)
    assert ghost.take(12345)
    assert not ghost.has(12345)
    assert not ghost.take(12345)


def test_a_key_noted_twice_has_one_place(ghost: Ghost) -> None:
    ghost.note(*[77] * 100)
    assert ghost.take(77)
    assert not ghost.has(77)


def test_the_rank_tells_how_lately(store: Handle) -> None:
    """With one set of the smallest size, keys are shifted one place by each that comes later."""
    ghost = Ghost(store, 1)
    sets = ghost.bytes() // 8
    evicted = hashes(sets)
    for one in evicted:
        ghost.note(one)
        assert lib.ghost_has(ghost.lru, one) == 1
    ranks = [lib.ghost_has(ghost.lru, one) for one in evicted]
    assert max(ranks) > 1
    assert max(ranks) <= lib.GHOST_WAYS
    assert sum(ranks[-20:]) < sum(ranks[:20])
    last = evicted[-1]
    assert lib.ghost_take(ghost.lru, last) == 1
    assert lib.ghost_take(ghost.lru, last) == 0


def test_taking_one_leaves_the_others(ghost: Ghost) -> None:
    evicted = hashes(2000)
    ghost.note(*evicted)
    known = [one for one in evicted if ghost.has(one)]
    taken = known[::2]
    assert sum(map(ghost.take, taken)) >= len(taken) - 5
    assert ghost.share_known(known[1::2]) >= 0.99


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_recent_are_known_and_the_old_are_not(ghost: Ghost, seed: int) -> None:
    """Of a full ghost's worth the newest third is known nearly always, what is far older hardly."""
    places = ghost.bytes() // 8 * lib.GHOST_WAYS
    evicted = hashes(8 * places, seed)
    ghost.note(*evicted)
    shares = [
        ghost.share_known(evicted[-(n + 1) * places // 4 : len(evicted) - n * places // 4])
        for n in range(12)
    ]
    assert shares[0] >= 0.995
    assert shares[1] >= 0.95
    assert shares[2] >= 0.80
    assert shares[:8] == sorted(shares[:8], reverse=True)
    assert shares[-1] <= 0.05 + ODDS
    assert ghost.share_known(evicted[: 2 * places]) <= ODDS * 1.2


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_false_yeses_are_as_rare_as_stated(ghost: Ghost, seed: int) -> None:
    places = ghost.bytes() // 8 * lib.GHOST_WAYS
    ghost.note(*hashes(4 * places, seed))
    assert ghost.share_known(hashes(100_000, seed + 100)) <= ODDS * 1.1


def test_it_takes_no_more_than_a_byte_an_item(ghost: Ghost) -> None:
    assert ITEMS * 0.99 <= ghost.bytes() <= ITEMS


@pytest.mark.parametrize("items", [ITEMS, ITEMS * 6 // 5, ITEMS * 5 // 6])
def test_small_changes_are_lived_with(ghost: Ghost, items: int) -> None:
    ghost.note(7)
    ghost.fit(items)
    assert ghost.has(7)
    assert ghost.bytes() <= ITEMS


def test_it_grows_with_the_items(ghost: Ghost) -> None:
    ghost.fit(ITEMS * 3)
    assert ITEMS * 2.9 <= ghost.bytes() <= ITEMS * 3
    evicted = hashes(ITEMS)
    ghost.note(*evicted)
    assert ghost.share_known(evicted) >= 0.99


def test_it_shrinks_with_the_items_and_gives_memory_back(ghost: Ghost) -> None:
    before = arena_bytes()
    ghost.note(*hashes(ITEMS))
    assert arena_bytes() - before >= ITEMS * 0.9
    ghost.fit(ITEMS // 10)
    assert ghost.bytes() <= ITEMS // 10
    ghost.note(*hashes(ITEMS))
    assert arena_bytes() - before <= ITEMS // 10 + GROUP_BYTES
    assert ghost.share_known(hashes(ITEMS)[-1000:]) >= 0.99


def test_emptied_it_knows_nobody_and_gives_all_back(ghost: Ghost) -> None:
    before = arena_bytes()
    evicted = hashes(ITEMS)
    ghost.note(*evicted)
    ghost.empty()
    assert not any(map(ghost.has, evicted))
    ghost.fit(ITEMS)
    assert ghost.bytes() == 0
    assert arena_bytes() <= before


def test_what_was_noted_before_it_was_emptied_means_nothing(store: Handle) -> None:
    """Also when it begins anew before the keeper has given the memory back."""
    ghost = Ghost(store)
    evicted = hashes(ITEMS)
    ghost.note(*evicted)
    ghost.empty()
    lib.ghost_begin(ghost.lru, ITEMS)
    assert ghost.share_known(evicted) <= ODDS * 1.1


def test_a_flush_empties_it(store: Handle) -> None:
    ghost = Ghost(store)
    ghost.note(7)
    store.flush_all()
    assert not ghost.has(7)
    fit_probation(store)
    assert ghost.bytes() == 0


def test_a_flush_that_was_scheduled_empties_it_when_it_is_due(store: Handle) -> None:
    ghost = Ghost(store)
    ghost.note(7)
    store.flush_all(200)
    store.turn()
    assert ghost.has(7)
    store.set_now(200)
    store.turn()
    assert not ghost.has(7)


def test_its_bytes_count_against_the_limit() -> None:
    with Cache(limit_bytes=16 * MIB) as cache:
        store = cache.open()
        before = store.slab().pages_limit
        Ghost(store, items=4 * MIB)
        fit_probation(store)
        lib.ghost_begin(lib.store_lru(store.store), 4 * MIB)
        store.set_limit(16 * MIB)
        assert store.slab().pages_limit <= before


def test_it_never_outgrows_what_is_reserved() -> None:
    with Cache(limit_bytes=4 * MIB, chunk_bytes=(48, 1024)) as cache:
        ghost = Ghost(cache.open(), items=1 << 40)
        assert ghost.bytes() <= 4 * MIB // 48
        ghost.note(*hashes(10_000))
