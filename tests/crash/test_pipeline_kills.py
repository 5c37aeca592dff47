"""Kills processes in the middle of long pipelines, where nearly all time is spent inside C."""

import random
import time

import pytest

from tests.support.children import Child, Journal, run_child
from tests.support.core.driver import LADDER, MIB, TINY_LADDER, Cache
from tests.support.core.pipelines import check_values, keep_house, pipeline
from tests.support.core.talk import Talk
from tests.support.deadline import wait_until

WORKERS = 3
LIMIT_BYTES = 6 * MIB
KILL_WITHIN_US = 3000


def work(cache: Cache, slot: int, seed: int, journal: Journal) -> None:
    """Pipelines without end; every value that is read must be whole."""
    dice = random.Random(seed)
    store = cache.open(slot)
    store.set_now(100)
    talk = Talk(store, values_max=64)
    pipelines = [pipeline(dice, slot) for _ in range(4)]
    while not journal.is_stopped:
        journal.begun += 1
        talk.feed(dice.choice(pipelines), drains=dice.random() < 0.8)
        check_values(talk.received)
        talk.received = b""
        keep_house(dice, store, LIMIT_BYTES)
    talk.drain()
    store.close()


def check_all(cache: Cache) -> None:
    """Takes over every slot in turn and looks at everything."""
    for slot in range(1, WORKERS + 1):
        cache.open(slot).close()
    checker = cache.open(0)
    checker.limbo_step(1 << 20)
    assert checker.limbo_step(1 << 20) == 0
    checker.check()
    checker.close()


def spin_us(microseconds: float) -> None:
    """Lets a random moment come: the victim is then anywhere in its work."""
    until = time.perf_counter() + microseconds / 1e6
    while time.perf_counter() < until:
        pass


def rounds(cache: Cache, seed: int, count: int) -> None:
    """In each round several of the processes die and are replaced at once."""
    dice = random.Random(seed)
    for number in range(count):
        children: dict[int, tuple[Child, Journal]] = {}

        def start(slot: int) -> None:
            journal = Journal()
            life = dice.randrange(1 << 30)
            child = Child(lambda: work(cache, slot, life, journal))
            children[slot] = (child, journal)  # noqa: B023

        for slot in range(1, WORKERS + 1):
            start(slot)
        for _ in range(4):
            slot = dice.randrange(1, WORKERS + 1)
            child, journal = children.pop(slot)
            # Some die while they still take their predecessor's slot over.
            turns = dice.choice((0, 1, 2))
            wait_until(
                lambda: journal.begun >= turns,  # noqa: B023
                "the worker has begun",
                pause_seconds=0.0002,
            )
            spin_us(dice.random() * KILL_WITHIN_US)
            child.kill()
            end = child.wait()
            assert end.was_killed, end
            start(slot)
        for _, journal in children.values():
            journal.stop()
        for child, _ in children.values():
            end = child.wait()
            assert end.is_fine, (seed, number, end)
        end = run_child(lambda: check_all(cache))
        assert end.is_fine, (seed, number, end)


@pytest.mark.slow
@pytest.mark.parametrize("ladder", [TINY_LADDER, LADDER], ids=["parts", "chunks"])
def test_the_others_go_on(ladder: tuple[int, ...]) -> None:
    with Cache(
        limit_bytes=LIMIT_BYTES, chunk_bytes=ladder, bucket_start=2, slots=WORKERS + 1
    ) as cache:
        rounds(cache, len(ladder), 20)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_the_others_go_on_for_long(seed: int) -> None:
    ladder = (TINY_LADDER, LADDER)[seed % 2]
    with Cache(
        limit_bytes=LIMIT_BYTES, chunk_bytes=ladder, bucket_start=2, slots=WORKERS + 1
    ) as cache:
        rounds(cache, seed + 1000, 250)
