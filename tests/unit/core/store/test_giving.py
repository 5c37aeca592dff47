"""Which page of which class is given away, how far ahead it is emptied, and what that costs."""

from collections.abc import Iterator

import pytest

from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Outcome

SMALL, LARGE = b"s" * 200, b"l" * 900
SMALL_PER_PAGE, LARGE_PER_PAGE = 4096, 1024
# Less than a process takes from its class at once.
STEP = 16


@pytest.fixture
def tight() -> Iterator[Cache]:
    """Seven pages of memory."""
    with Cache(limit_bytes=8 * MIB, chunk_bytes=TINY_LADDER) as made:
        yield made


@pytest.fixture
def roomy() -> Iterator[Cache]:
    """More than twenty pages of memory."""
    with Cache(limit_bytes=24 * MIB, chunk_bytes=TINY_LADDER) as made:
        yield made


def opened(cache: Cache, slot: int = 0, now: int = 100) -> Handle:
    handle = cache.open(slot)
    handle.set_now(now)
    return handle


def fill(store: Handle, prefix: bytes, count: int, value: bytes, start: int = 0) -> None:
    for i in range(start, start + count):
        assert store.put(b"%s%d" % (prefix, i), value).outcome == Outcome.STORED


def fill_pages(store: Handle, prefix: bytes, pages: int, value: bytes) -> int:
    """Fills until so many pages are in use; how many items that took."""
    count = 0
    # The index grows with the items, and there may be fewer pages than it seemed.
    while store.slab().pages_used < min(pages, store.slab().pages_limit):
        fill(store, prefix, STEP, value, count)
        count += STEP
    return count


def fill_up(store: Handle, prefix: bytes, value: bytes) -> int:
    """Fills until something had to go; how many items that took."""
    count = 0
    while store.counters()["evictions"] == 0:
        fill(store, prefix, STEP, value, count)
        count += STEP
    return count


def held(store: Handle, prefix: bytes, count: int, start: int = 0) -> int:
    return sum(store.get(b"%s%d" % (prefix, i)) is not None for i in range(start, start + count))


def pages(store: Handle, value: bytes) -> int:
    return int(store.slab_class(store.class_for(256 if value is SMALL else 1024)).pages)


def move_one(store: Handle, from_class: int) -> None:
    """Moves a page of the class to the pool."""
    move = store.move_begin(from_class, 0)
    for _ in range(100):
        if store.move_step(move):
            return
    raise AssertionError("the page does not empty")


def test_the_page_goes_of_which_least_is_wanted(tight: Cache) -> None:
    store = opened(tight)
    count = fill_up(store, b"l", LARGE)
    cold = range(2 * LARGE_PER_PAGE, 3 * LARGE_PER_PAGE)
    alive = [i for i in range(count) if i not in cold and store.get(b"l%d" % i)]
    for i in alive:
        store.get(b"l%d" % i)
    before = store.counters()["evictions"]
    move_one(store, store.class_for(1024))
    assert store.counters()["evictions"] - before >= LARGE_PER_PAGE * 9 // 10
    assert sum(store.get(b"l%d" % i) is not None for i in alive) >= len(alive) - 20


def test_the_emptiest_page_goes_wherever_it_is(roomy: Cache) -> None:
    store = opened(roomy)
    fill_up(store, b"l", LARGE)
    # Far from the hand; 100 of its items stay.
    emptied = 10 * LARGE_PER_PAGE
    for i in range(emptied, emptied + LARGE_PER_PAGE - 100):
        store.delete(b"l%d" % i)
    for i in range(6 * LARGE_PER_PAGE, 6 * LARGE_PER_PAGE + 40):
        store.delete(b"l%d" % i)
    before = store.counters()["items"]
    move_one(store, store.class_for(1024))
    assert before - store.counters()["items"] <= 150
    # Others would have had to move into the room that is free there.
    assert store.counters()["slab_reassign_rescues"] <= 150


def test_a_class_keeps_the_page_it_just_got(roomy: Cache) -> None:
    store = opened(roomy)
    first = 0
    while pages(store, LARGE) < 1:
        fill(store, b"l", 1, LARGE, first)
        first += 1
    fill_pages(store, b"s", store.slab().pages_limit - 2, SMALL)
    count = first
    while pages(store, LARGE) < 2:
        fill(store, b"l", 1, LARGE, count)
        count += 1
    # What is in the new page would fit into the old one now.
    for i in range(first, first + 200):
        store.delete(b"l%d" % i)
    before = store.counters()["slabs_moved"]
    fill(store, b"t", 2 * SMALL_PER_PAGE, SMALL)
    assert pages(store, LARGE) == 2
    assert store.counters()["slabs_moved"] == before


def three_sizes(cache: Cache, middle_at: int, old_part: float = 2 / 3) -> Handle:
    """Old items of 60 bytes, in a part of memory, and items of 200 bytes in the rest."""
    store = opened(cache)
    fill_pages(store, b"o", round(store.slab().pages_limit * old_part), b"o" * 60)
    store.set_now(middle_at)
    fill_pages(store, b"s", store.slab().pages_limit, SMALL)
    store.set_now(600)
    store.frontiers_step()
    return store


def test_who_has_nothing_takes_from_the_oldest(roomy: Cache) -> None:
    roomy.set_live("slab_automove", 0)
    store = three_sizes(roomy, 500)
    before = pages(store, SMALL)
    fill(store, b"l", 3000, LARGE)
    assert pages(store, LARGE) >= 1
    assert pages(store, SMALL) == before


@pytest.mark.parametrize("part", [1 / 3, 2 / 3])
def test_of_equal_ages_whoever_has_most_gives(roomy: Cache, part: float) -> None:
    roomy.set_live("slab_automove", 0)
    store = three_sizes(roomy, 100, part)
    before = pages(store, SMALL)
    fill(store, b"l", 3000, LARGE)
    taken = pages(store, LARGE)
    assert taken >= 1
    assert pages(store, SMALL) == (before if part > 0.5 else before - taken)


def test_older_ones_give_before_those_that_are_only_old(roomy: Cache) -> None:
    store = three_sizes(roomy, 400)
    before = pages(store, SMALL)
    fill(store, b"l", 5000, LARGE)
    assert pages(store, LARGE) >= 4
    assert pages(store, SMALL) == before


def test_ages_that_are_nearly_alike_move_nothing(roomy: Cache) -> None:
    """A page is worth its move when its items are older by more than the ratio that is set."""
    store = opened(roomy)
    fill_pages(store, b"s", store.slab().pages_limit // 2, SMALL)
    store.set_now(110)
    count = fill_pages(store, b"l", store.slab().pages_limit, LARGE) + 1000
    store.set_now(200)
    store.frontiers_step()
    before = pages(store, SMALL), store.counters()["slabs_moved"]
    fill(store, b"l", 2000, LARGE, count)
    assert (pages(store, SMALL), store.counters()["slabs_moved"]) == before


def test_free_pages_are_found_soon_and_one_after_the_other(roomy: Cache) -> None:
    store = opened(roomy)
    count = 0
    while pages(store, LARGE) < 5:
        fill(store, b"l", 1, LARGE, count)
        count += 1
    fill_pages(store, b"s", store.slab().pages_limit, SMALL)
    # It has found nothing elsewhere for long.
    fill(store, b"t", 4 * SMALL_PER_PAGE, SMALL)
    before, had = store.counters()["evictions"], pages(store, SMALL)
    for i in range(count):
        store.delete(b"l%d" % i)
    fill(store, b"u", 3 * SMALL_PER_PAGE, SMALL)
    assert pages(store, SMALL) >= had + 3
    assert store.counters()["evictions"] - before <= 700


def test_pages_are_emptied_a_little_at_a_time(roomy: Cache) -> None:
    store = opened(roomy)
    fill_up(store, b"s", SMALL)
    store.set_now(500)
    store.frontiers_step()
    most = 0
    for i in range(0, 6 * LARGE_PER_PAGE, STEP):
        before = store.counters()["evictions"]
        fill(store, b"l", STEP, LARGE, i)
        # The first pages are needed at once.
        if i > 3 * LARGE_PER_PAGE:
            most = max(most, store.counters()["evictions"] - before)
    assert pages(store, LARGE) >= 5
    assert 0 < most <= 400


def test_a_page_that_waits_for_others_moves_when_they_are_done(roomy: Cache) -> None:
    """Chunks of a page are in the hands of a process that is at work."""
    store, busy = opened(roomy), opened(roomy, 1)
    fill_up(store, b"s", SMALL)
    for i in range(20):
        busy.delete(b"s%d" % (SMALL_PER_PAGE * 3 // 2 + i))
    store.set_now(500)
    busy.set_now(500)
    store.frontiers_step()
    small = store.class_for(256)
    count = 0
    while store.slab_class(small).draining_pages < 2 and count < 30_000:
        fill(store, b"l", 1, LARGE, count)
        count += 1
    assert store.slab_class(small).draining_pages == 2
    before = store.counters()["slabs_moved"]
    busy.turn()
    store.turn()
    assert store.counters()["slabs_moved"] == before + 1
    store.check()


def test_times_of_the_middle_speak_for_a_class(tight: Cache) -> None:
    """A few old items among many young ones do not make a class old."""
    store = opened(tight)
    half = store.slab().pages_limit // 2
    fill_pages(store, b"l", half, LARGE)
    store.set_now(900)
    count = 0
    while count % 16 or store.counters()["evictions"] == 0:
        # One in eight looks as if nobody had used it since the beginning.
        store.set_now(100 if count % 8 == 0 else 950)
        fill(store, b"s", 1, SMALL, count)
        count += 1
    store.set_now(1000)
    store.frontiers_step()
    store.set_now(1001)
    before = pages(store, SMALL)
    # Its own are old: it evicts them, and takes nothing from the young.
    fill(store, b"m", 1500, LARGE)
    assert pages(store, SMALL) == before


@pytest.fixture
def still(roomy: Cache) -> Handle:
    """Sizes that share memory and do not take from each other."""
    roomy.set_live("slab_reassign", 0)
    store = opened(roomy, now=128)
    # Young ones in a class in which nothing has to go.
    fill_pages(store, b"tiny", 1, b"")
    store.set_now(100)
    fill_pages(store, b"l", 5, LARGE)
    fill_up(store, b"s", SMALL)
    return store


def test_a_lifetime_is_the_age_of_what_is_evicted(still: Handle) -> None:
    still.set_now(150)
    fill(still, b"t", 1000, SMALL)
    assert 48 <= still.frontiers_step() <= 50


def test_the_shortest_lifetime_counts(still: Handle) -> None:
    evictions = still.counters()["evictions"]
    still.set_now(140)
    fill(still, b"m", 6 * LARGE_PER_PAGE, LARGE)
    assert still.counters()["evictions"] > evictions
    still.set_now(150)
    fill(still, b"n", 100, LARGE)
    fill(still, b"t", 100, SMALL)
    assert 8 <= still.frontiers_step() <= 10


def test_where_nothing_goes_there_is_no_lifetime(still: Handle) -> None:
    still.set_now(150)
    assert still.frontiers_step() == 0


def test_what_is_read_again_makes_its_class_young(roomy: Cache) -> None:
    store = opened(roomy)
    count = fill_pages(store, b"s", 6, SMALL)
    store.set_now(300)
    fill_up(store, b"l", LARGE)
    store.set_now(310)
    # No page is on its way any more.
    store.turn()
    store.frontiers_step()
    store.set_now(500)
    assert held(store, b"s", count) >= count - 200
    store.set_now(600)
    store.frontiers_step()
    before = pages(store, SMALL)
    fill(store, b"m", 1500, LARGE)
    assert pages(store, SMALL) == before
