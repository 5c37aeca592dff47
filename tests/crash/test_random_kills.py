"""Kills workers of a shared cache at random moments; the others go on and no value is wrong."""

import random

import pytest

from tests.crash.crowd import CHECKER_SLOT, Crowd, Member, is_sound
from tests.crash.plan import LATER_SECONDS
from tests.crash.verify import missing_keys
from tests.support.children import run_child
from tests.support.core.driver import MIB, TINY_LADDER, Cache
from tests.support.deadline import wait_until

WORKERS = 3
OPERATIONS_MAX = 3000


def check_all(cache: Cache, members: list[Member], most_missing: int | None) -> None:
    """Run in a child of its own: looks at every key that the members may have written."""
    handle = cache.open(CHECKER_SLOT)
    handle.set_now(LATER_SECONDS)
    missing = [
        key
        for member in members
        for key in missing_keys(
            handle, member.seed, member.journal.begun, member.prefix, tides=member.tides
        )
    ]
    assert most_missing is None or len(missing) <= most_missing, missing
    for i in range(40):
        key = b"shared%d" % i
        found = handle.get(key)
        assert found is None or is_sound(key, found), (key, found[:80])
    for slot in range(1, cache.shape.slots):
        cache.open(slot).close()
    handle.limbo_step(1 << 20)
    assert handle.limbo_step(1 << 20) == 0
    handle.check()
    handle.close()


def rounds(cache: Cache, seed: int, count: int, *, strict: bool) -> None:
    """Each round a crowd works, some of it is killed at random moments, all is looked at."""
    dice = random.Random(seed)
    # Where memory is short, what sizes the crowd stores changes from time to time.
    crowd = Crowd(cache, seed, tides=strict)
    for _ in range(count):
        running = {slot: crowd.start(slot) for slot in range(1, WORKERS + 1)}
        members = list(running.values())
        kills = dice.randrange(1, 4)
        for _ in range(kills):
            slot = dice.choice(list(running))
            member = running[slot]
            until = dice.randrange(1, OPERATIONS_MAX // kills)
            wait_until(
                lambda: member.journal.begun >= until,  # noqa: B023
                "the worker gets on with its plan",
                pause_seconds=0.0005,
            )
            crowd.kill(slot)
            running[slot] = crowd.start(slot)
            members.append(running[slot])
        crowd.stop()
        end = run_child(lambda: check_all(cache, members, kills if strict else None))  # noqa: B023
        assert end.is_fine, (seed, end)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_with_room_for_everything(seed: int) -> None:
    with Cache(
        limit_bytes=512 * MIB, chunk_bytes=TINY_LADDER, bucket_start=2, slots=WORKERS + 1
    ) as cache:
        rounds(cache, seed, 3, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_with_little_memory(seed: int) -> None:
    with Cache(
        limit_bytes=3 * MIB, chunk_bytes=TINY_LADDER, bucket_start=2, slots=WORKERS + 1
    ) as cache:
        rounds(cache, seed, 3, strict=False)
        counters = cache.open(CHECKER_SLOT).counters()
        assert counters["slabs_moved"] > 20
        assert counters["evictions"] > 1000


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("limit_bytes", [3 * MIB, 1024 * MIB])
def test_many_kills(limit_bytes: int) -> None:
    with Cache(
        limit_bytes=limit_bytes, chunk_bytes=TINY_LADDER, bucket_start=2, slots=WORKERS + 1
    ) as cache:
        rounds(cache, limit_bytes, 100, strict=limit_bytes > 100 * MIB)
