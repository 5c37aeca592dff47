"""Kills a process at each step of a transaction, then its repairers one after the other at each step of repair.

Each repairer finds what the one before left, so all of them together see the repair begun anew at every step. Nothing
may leak, nothing may be owned twice, and the counters are exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pymc.core.ffi import HAS_DEBUG
from tests.crash.children import run_child
from tests.crash.points import TXN_REPAIR_POINTS, WORK_POINTS
from tests.unit.core.driver import MIB, TINY_LADDER, Cache, Handle, Mode
from tests.unit.core.talk import Talk

pytestmark = [pytest.mark.debug, pytest.mark.skipif(not HAS_DEBUG, reason="no fault points")]

VICTIM, REPAIRER, READER = 1, 2, 3
NOW_SECONDS = 100
# Each point is tried from its first time on, as long as it is reached, but no more often than this.
COUNTDOWNS = (1, 2, 3, 9)
ROOMS = ("store.txn.", "store.free.", "store.link.", "store.unlink.", "store.in_place.")
ROOMS += ("store.limbo.", "store.unpin.", "store.part.", "store.begin.", "store.rescue")
ROOMS += ("store.put.", "slab.take.", "slab.give.", "slab.commit.")
POINTS = [name for name in WORK_POINTS if name.startswith(ROOMS)]
# What a repairer passes; it goes on with a dead process's transaction as that one would have.
REPAIR_POINTS = [
    "slab.repair.turns",
    *TXN_REPAIR_POINTS,
    "store.txn.counted",
    "store.txn.unclaimed",
    "store.txn.followed",
    "store.repair.unlocked",
]

SMALL, LARGE = b"s" * 50, b"L" * 9000
START = {b"small": SMALL, b"large": LARGE, b"number": b"999", b"other": b"o" * 5000}


def begun_and_dropped(handle: Handle) -> None:
    making = handle.begin(b"dropped", 9000)
    for _ in range(4):
        making.fill(b"d" * 9000)
    making.abandon()


def reader_drains(handle: Handle) -> None:
    """The last reader of a value that was deleted frees it."""
    talk = Talk(handle, values_max=64)
    talk.feed(b"get big\r\n", drains=False)
    handle.delete(b"big")
    talk.drain()


def page_moves(handle: Handle) -> None:
    for from_class in range(1, handle.slab().classes + 1):
        move = handle.move_begin(from_class, 0)
        for _ in range(10 if move else 0):
            if handle.move_step(move, 400):
                break
        else:
            if move:
                handle.move_cancel(move)


def limbo_is_swept(handle: Handle) -> None:
    """A reader elsewhere was killed: what it read waits in limbo until the keeper comes."""
    handle.limbo_step(100)


@dataclass(frozen=True)
class Case:
    """One operation, and what its keys may hold after a death in it."""

    work: Callable[[Handle], object]
    after: dict[bytes, bytes | None]
    may_lose: bool = False


CASES = {
    "new": Case(lambda handle: handle.put(b"new", SMALL), {b"new": SMALL}),
    "over": Case(lambda handle: handle.put(b"small", b"t" * 60), {b"small": b"t" * 60}),
    "large": Case(lambda handle: handle.put(b"large", b"M" * 8000), {b"large": b"M" * 8000}),
    "refused": Case(lambda handle: handle.put(b"large", LARGE, mode=Mode.ADD), {}),
    "append": Case(
        lambda handle: handle.put(b"large", b"+", mode=Mode.APPEND), {b"large": LARGE + b"+"}
    ),
    "in place": Case(
        lambda handle: handle.arith(b"number", 0), {b"number": b"999"}, may_lose=True
    ),
    "longer": Case(lambda handle: handle.arith(b"number", 1), {b"number": b"1000"}),
    "touch": Case(lambda handle: handle.touch(b"small", 5000), {}),
    "tombstone": Case(lambda handle: handle.delete(b"large", clear_value=True), {b"large": b""}),
    "delete": Case(lambda handle: handle.delete(b"small"), {b"small": None}),
    "delete large": Case(lambda handle: handle.delete(b"large"), {b"large": None}),
    "dropped": Case(begun_and_dropped, {}),
    "reader": Case(reader_drains, {b"big": None}),
    "limbo": Case(limbo_is_swept, {b"big": None}),
    "move": Case(page_moves, {}),
}
BIG = b"B" * 40_000


def prepare(cache: Cache, name: str) -> None:
    handle = cache.open(0)
    handle.set_now(NOW_SECONDS)
    for key, value in {**START, b"big": BIG}.items():
        handle.put(key, value)
    if name == "limbo":
        # Never drained: this process ends with the pin, and its slot has a new owner.
        Talk(handle, values_max=64).feed(b"get big\r\n", drains=False)
        handle.put(b"passing", LARGE)
        handle.delete(b"big")
        cache.open(READER).close()
    if name != "limbo":
        handle.close()


def reader_ends(cache: Cache, name: str) -> None:
    if name == "limbo":
        cache.open(0).close()


def die(cache: Cache, case: Case, point: str, countdown: int) -> bool:
    def work() -> None:
        handle = cache.open(VICTIM)
        handle.set_now(NOW_SECONDS)
        handle.arm_fault(point, countdown)
        case.work(handle)

    end = run_child(work)
    assert end.was_killed or end.is_fine, (point, countdown, end)
    return end.was_killed


def repair(cache: Cache, point: str, countdown: int = 1) -> bool:
    """A repairer that dies at the point, if it comes there; and it repairs one that died before."""

    def work() -> None:
        handle = cache.open(REPAIRER)
        handle.arm_fault(point, countdown)
        handle.reclaim_slot(VICTIM)

    end = run_child(work)
    assert end.was_killed or end.is_fine, (point, end)
    return end.was_killed


def judge(cache: Cache, case: Case) -> None:
    successor, repairer, handle = cache.open(VICTIM), cache.open(REPAIRER), cache.open(0)
    for one in (successor, repairer, handle):
        one.set_now(NOW_SECONDS)
    handle.limbo_step(1000)
    chunks = handle.chunks()
    waiting = {name: chunks[name] for name in ("making", "limbo", "claims_making", "pins")}
    assert not any(waiting.values()), waiting
    expected = {**START, b"big": BIG, **dict.fromkeys(case.after)}
    lost = 0
    for key, before in {**expected, **START, b"big": BIG}.items():
        found = handle.get(key)
        allowed = {before, case.after.get(key, before)} if key in case.after else {before}
        if key == b"new":
            allowed |= {None}
        lost += found is None and None not in allowed
        assert found in allowed or (found is None and case.may_lose), (key, found and found[:60])
    assert lost == handle.counters()["items_lost_to_recovery"]


@pytest.mark.parametrize("name", CASES)
def test_nothing_leaks_however_often_repair_dies(name: str) -> None:
    case = CASES[name]
    reached = 0
    for point in POINTS:
        for countdown in COUNTDOWNS:
            cache = Cache(limit_bytes=16 * MIB, chunk_bytes=TINY_LADDER, bucket_start=4)
            assert run_child(lambda: prepare(cache, name)).is_fine  # noqa: B023
            assert run_child(lambda: reader_ends(cache, name)).is_fine  # noqa: B023
            was_killed = die(cache, case, point, countdown)
            if was_killed:
                reached += 1
                for repair_point in REPAIR_POINTS:
                    repair(cache, repair_point)
                after = run_child(lambda: judge(cache, case))  # noqa: B023
                assert after.is_fine, (name, point, countdown, after)
            cache.close()
            if not was_killed:
                break
    assert reached >= 4
