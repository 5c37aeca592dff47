"""The probation queues: order, caps, and memory that follows what is in them."""

import random
from collections import deque
from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import LADDER, MIB, Cache, Handle
from tests.support.core.lru_queues import (
    GROUP_BYTES,
    SEGMENT_BYTES,
    SEGMENT_ENTRIES,
    Queues,
    arena_bytes,
    place,
)

CLASSES = len(LADDER)


@pytest.fixture
def queues(store: Handle) -> Queues:
    return Queues(store)


@pytest.fixture
def narrow() -> Iterator[Queues]:
    """Queues of a cache of one MiB, which has room for a few dozen segments."""
    with Cache(limit_bytes=MIB) as cache:
        handle = cache.open()
        yield Queues(handle)
        handle.check()


def test_an_empty_queue(queues: Queues) -> None:
    assert (queues.length(1), queues.oldest(1), queues.pop(1)) == (0, 0, 0)
    queues.clear(1)
    assert queues.length(1) == 0


def test_first_in_first_out_over_many_segments(queues: Queues) -> None:
    refs = range(1, 20 * SEGMENT_ENTRIES + 7)
    queues.push(1, *refs)
    assert queues.length(1) == len(refs)
    assert queues.oldest(1) == 1
    assert queues.pop_all(1) == list(refs)
    assert queues.pop(1) == 0


def test_queues_keep_apart(queues: Queues) -> None:
    for i in range(1, 1000):
        queues.push(1 + i % CLASSES, i)
    for class_id in range(1, CLASSES + 1):
        assert queues.pop_all(class_id) == [
            i for i in range(1, 1000) if 1 + i % CLASSES == class_id
        ]


def test_a_full_queue_forgets_its_oldest(queues: Queues) -> None:
    assert queues.set_cap(1, 700)
    queues.push(1, *range(1, 3001))
    assert queues.length(1) == 700
    assert queues.pop_all(1) == list(range(2301, 3001))


def test_a_lower_cap_cuts_the_queue(queues: Queues) -> None:
    queues.push(1, *range(1, 5001))
    assert queues.set_cap(1, 100)
    assert queues.cap(1) == 100
    assert queues.pop_all(1) == list(range(4901, 5001))


def test_a_much_lower_cap_cuts_in_steps(queues: Queues) -> None:
    queues.push(1, *range(1, 100_001))
    steps = 1
    while not queues.set_cap(1, 10):
        steps += 1
    assert steps > 1
    assert queues.pop_all(1) == list(range(99_991, 100_001))


def test_without_cutting_pushes_come_down_to_the_cap_too(queues: Queues) -> None:
    queues.push(1, *range(1, 50_001))
    queues.set_cap(1, 100)
    before = queues.length(1)
    queues.push(1, *range(50_001, 50_101))
    assert before > 10_000
    assert queues.pop_all(1) == list(range(50_001, 50_101))


def test_what_is_told_is_the_memory_of_segments_and_of_the_ghost(queues: Queues) -> None:
    before, per_group = queues.bytes(), GROUP_BYTES // SEGMENT_BYTES
    queues.push(1, 7)
    # Memory comes by whole groups, and each segment has some bytes in tables.
    assert GROUP_BYTES <= queues.bytes() - before < GROUP_BYTES + 32
    queues.push(1, *range(1, per_group * SEGMENT_ENTRIES))
    held = queues.bytes()
    assert GROUP_BYTES <= held - before < GROUP_BYTES + 32 * per_group
    queues.push(1, 7)
    assert 2 * GROUP_BYTES <= queues.bytes() - before < 2 * GROUP_BYTES + 32 * (per_group + 1)
    held = queues.bytes()
    lib.ghost_begin(queues.lru, 10_000)
    ghost_bytes = lib.ghost_bytes(queues.lru)
    assert ghost_bytes > 0
    assert queues.bytes() == held + ghost_bytes


@pytest.mark.parametrize("count", [1, SEGMENT_ENTRIES - 1, SEGMENT_ENTRIES, 5000])
def test_clear_leaves_nothing(queues: Queues, count: int) -> None:
    before = queues.bytes()
    queues.push(3, *range(1, count + 1))
    queues.clear(3)
    assert (queues.length(3), queues.oldest(3), queues.pop(3)) == (0, 0, 0)
    queues.release()
    assert queues.bytes() - before < SEGMENT_BYTES
    queues.push(3, 7, 8)
    assert queues.pop_all(3) == [7, 8]


def test_memory_is_bounded_by_what_is_in_the_queue(queues: Queues) -> None:
    """However many entries pass through, the memory is that of the cap and of what came between."""
    before, cap = queues.bytes(), 20 * SEGMENT_ENTRIES
    system_before = arena_bytes()
    queues.set_cap(1, cap)
    for start in range(1, 50 * cap, 1000):
        queues.push(1, *range(start, start + 1000))
    grown = queues.bytes() - before
    assert cap * 4 <= grown <= cap * 4 + 3 * GROUP_BYTES
    # The tables that go with it, each in memory of its own.
    assert arena_bytes() - system_before <= grown + 4 * GROUP_BYTES


def test_memory_goes_back_to_the_system(queues: Queues) -> None:
    before, system_before = queues.bytes(), arena_bytes()
    queues.push(1, *range(1, 200_001))
    grown, system_grown = queues.bytes() - before, arena_bytes() - system_before
    assert grown >= 800_000
    assert system_grown >= 800_000
    queues.set_cap(1, 1)
    while queues.length(1) > 1:
        queues.pop(1)
    queues.release()
    left = 200_000 // SEGMENT_ENTRIES * 10  # Nine bytes of tables a segment.
    assert queues.bytes() - before <= GROUP_BYTES + left
    assert arena_bytes() - system_before <= 5 * GROUP_BYTES + left
    queues.push(1, 5)
    assert queues.pop_all(1)[-1] == 5


def test_released_memory_is_used_again(queues: Queues) -> None:
    for _ in range(5):
        queues.push(2, *range(1, 30_001))
        assert queues.pop_all(2) == list(range(1, 30_001))
        queues.release()


def test_the_lowest_segments_serve_first(queues: Queues) -> None:
    """Of two queues that grew side by side one goes, and what the other needs comes together."""
    before = queues.bytes()
    for i in range(1, 40_001):
        queues.push(1, i)
        queues.push(2, i)
    grown = queues.bytes() - before
    queues.clear(2)
    queues.set_cap(1, 1000)
    queues.push(1, *range(1, 5001))
    queues.release()
    tables = grown // 100
    assert queues.bytes() - before <= 1000 * 4 + 3 * GROUP_BYTES + tables


def test_every_class_gets_a_segment_when_one_takes_all(narrow: Queues) -> None:
    """One queue fills the area and goes on; the others are shorter, but they are there."""
    narrow.push(1, *range(1, 100_001))
    length = narrow.length(1)
    assert 5000 < length < 50_000
    assert narrow.pop(1) == 100_001 - length
    for class_id in range(2, CLASSES + 1):
        narrow.push(class_id, *range(1, 601))
        mine = narrow.pop_all(class_id)
        assert mine
        assert mine == list(range(601 - len(mine), 601))


@pytest.mark.parametrize(
    ("percent", "least", "most"), [(10, 5, 30), (20, 5, 30), (1, 1, 30), (60, 5, 60)]
)
def test_the_target_begins_at_the_setting_and_keeps_within_bounds(
    queues: Queues, percent: int, least: int, most: int
) -> None:
    slots = 100_000
    assert queues.target(1, slots, percent) == slots * percent // 100
    queues.adapt(1, 4 * slots, slots, percent)
    assert queues.target(1, slots, percent) == slots * most // 100
    for _ in range(4):
        queues.adapt(1, -4 * slots, slots, percent)
    assert queues.target(1, slots, percent) == slots * least // 100
    assert queues.target(2, slots, percent) == slots * percent // 100


def test_the_target_moves_by_quarters_of_an_entry(queues: Queues) -> None:
    slots = 10_000
    for _ in range(400):
        queues.adapt(1, 3, slots, 10)
    assert queues.target(1, slots, 10) in (1299, 1300)
    for _ in range(400):
        queues.adapt(1, -1, slots, 10)
    assert queues.target(1, slots, 10) in (1199, 1200)


def test_a_share_stays_when_the_class_grows(queues: Queues) -> None:
    queues.adapt(1, 4 * 1000, 10_000, 10)
    assert queues.target(1, 10_000, 10) in (1999, 2000)
    assert queues.target(1, 1_000_000, 10) in (199_999, 200_000)


def test_huge_classes_have_a_target_too(queues: Queues) -> None:
    slots = 2**32 - 1
    for _ in range(100_000):
        queues.adapt(1, 3, slots, 10)
    assert slots // 10 <= queues.target(1, slots, 10) <= slots // 10 + 75_001


def test_peek_goes_through_without_taking(queues: Queues) -> None:
    refs = list(range(1, 2001))
    queues.push(1, *refs)
    at, seen = place(), []
    while found := queues.peek(1, at, 1500, 64):
        seen += found
        at.position += len(found)
    assert seen == refs[:1500]
    assert queues.length(1) == 2000


def test_peek_follows_what_was_popped(queues: Queues) -> None:
    queues.push(1, *range(1, 2001))
    at = place()
    assert queues.peek(1, at, 5000, 10) == list(range(1, 11))
    for _ in range(700):
        queues.pop(1)
    assert queues.peek(1, at, 5000, 10) == list(range(701, 711))
    assert at.position == 700


def test_peek_looks_ahead_no_further_than_told(queues: Queues) -> None:
    queues.push(1, *range(1, 101))
    at = place()
    assert queues.peek(1, at, 30, 64) == list(range(1, 31))
    at.position = 30
    assert queues.peek(1, at, 30, 64) == []
    assert queues.peek(1, at, 32, 64) == [31, 32]


@pytest.mark.parametrize("segment", [0, 1, 5, 77, 2**31, 2**32 - 1])
@pytest.mark.parametrize("position", [0, 1, 300, 511, 512, 2**40, 2**64 - 1])
def test_any_place_is_safe(queues: Queues, position: int, segment: int) -> None:
    queues.push(2, *range(5001, 8001))
    queues.push(1, *range(1, 601))
    found = queues.peek(1, place(position, segment), 2**64 - 1, 100)
    assert found == list(range(1, 601))[position if position <= 600 else 0 :][:100]


def test_a_place_in_a_cleared_queue_begins_anew(queues: Queues) -> None:
    queues.push(1, *range(1, 301))
    at = place()
    queues.peek(1, at, 1000, 10)
    queues.clear(1)
    assert queues.peek(1, at, 1000, 10) == []
    queues.push(2, *range(1001, 1301))
    queues.push(1, 7, 8, 9)
    assert queues.peek(1, at, 1000, 10) == [7, 8, 9]


@pytest.mark.parametrize("seed", range(5))
def test_any_sequence_is_that_of_a_list(store: Handle, seed: int) -> None:
    """Pushes, pops, cuts, clears and releases at random, beside a plain list per class."""
    dice, queues = random.Random(seed), Queues(store)
    model: dict[int, deque[int]] = {class_id: deque() for class_id in range(1, 5)}
    number = 0
    for _ in range(3000):
        class_id = dice.randrange(1, 5)
        mine, dose = model[class_id], dice.choice((1, 8, 300))
        match dice.choice(("push", "push", "pop", "cut", "clear", "release")):
            case "push":
                refs = range(number + 1, number + dose + 1)
                number += dose
                queues.push(class_id, *refs)
                mine.extend(refs)
            case "pop":
                for _ in range(dose):
                    assert queues.pop(class_id) == (mine.popleft() if mine else 0)
            case "cut":
                assert queues.set_cap(class_id, dose * 3)
                while len(mine) > dose * 3:
                    mine.popleft()
                queues.set_cap(class_id, 0)
            case "clear" if dose == 1:
                queues.clear(class_id)
                mine.clear()
            case _:
                queues.release()
        assert queues.length(class_id) == len(mine)
    store.check()
    for class_id, mine in model.items():
        assert queues.pop_all(class_id) == list(mine)
