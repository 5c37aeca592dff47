"""Waiting for a lock word: within a bound, counted, and visible to the watchdog."""

import os
import signal
from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import Cache, Handle
from tests.support.deadline import wait_until

RANK = 40
OWNER = 1


def held_word(slot: int = OWNER) -> Any:
    """A word that the slot's owner holds, in this process's memory: only its value matters."""
    return ffi.new("uint64_t *", 7 << 16 | (slot + 1))


def pulse(cache: Cache, slot: int) -> Any:
    out = ffi.new("struct proc_pulse *")
    lib.proc_read_pulse(cache.arena, slot, out)
    return out


def wait(handle: Handle, word: Any, rounds: int) -> tuple[bool, int]:
    """Whether the word got free, and the rounds that are left."""
    rounds_left = ffi.new("uint32_t *", rounds)
    return bool(lib.lock_wait_bounded(handle.proc, word, rounds_left)), rounds_left[0]


def test_a_wait_ends_while_the_owner_lives(cache: Cache) -> None:
    handle, _ = cache.open(0), cache.open(OWNER)
    assert wait(handle, held_word(), lib.LOCK_ROUNDS_DEFAULT) == (False, 0)
    counters = handle.counters()
    assert counters["lock_waits"] == 1
    assert counters["lock_gave_up"] == 1
    # One round spins, some yield, the others napped.
    naps = lib.LOCK_ROUNDS_DEFAULT - 1 - lib.LOCK_YIELDS
    assert counters["lock_longest_wait_us"] == naps * lib.LOCK_NAP_US
    assert pulse(cache, OWNER).waited_us == naps * lib.LOCK_NAP_US


def test_no_rounds_are_one_look(cache: Cache) -> None:
    handle, _ = cache.open(0), cache.open(OWNER)
    assert wait(handle, held_word(), 0) == (False, 0)
    assert not lib.lock_take_slowly(handle.proc, held_word(), RANK, 0)
    assert handle.counters()["lock_longest_wait_us"] == 0


def test_a_free_word_costs_a_round(cache: Cache) -> None:
    handle = cache.open(0)
    assert wait(handle, ffi.new("uint64_t *", 7 << 16), 5) == (True, 4)
    assert handle.counters()["lock_gave_up"] == 0


def test_who_gave_up_waits_for_nobody(cache: Cache) -> None:
    handle, _ = cache.open(0), cache.open(OWNER)
    assert pulse(cache, 0).waits_for == 2**32 - 1
    wait(handle, held_word(), lib.LOCK_ROUNDS_DEFAULT)
    assert pulse(cache, 0).waits_for == 2**32 - 1


def test_a_longer_wait_naps_longer(cache: Cache) -> None:
    handle, _ = cache.open(0), cache.open(OWNER)
    wait(handle, held_word(), 1 + lib.LOCK_YIELDS + 40)
    counters = handle.counters()
    assert counters["lock_longest_wait_us"] == 20 * lib.LOCK_NAP_US + 20 * 2 * lib.LOCK_NAP_US


def test_a_free_lock_is_taken_and_a_held_one_given_up(cache: Cache) -> None:
    """In a child, which ends with the lock: only C code gives one back."""
    handle, _ = cache.open(0), cache.open(OWNER)
    handle.close()
    child = os.fork()
    if child == 0:
        own = cache.open(0)
        word, held = ffi.new("uint64_t *", 7 << 16), held_word()
        is_right = lib.lock_take_slowly(own.proc, word, RANK, 1) and word[0] == 7 << 16 | 1
        is_right = is_right and not lib.lock_take_slowly(own.proc, held, RANK + 1, 30)
        os._exit(0 if is_right and held[0] == 7 << 16 | (OWNER + 1) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_who_waits_says_for_whom_and_that_it_goes_on(cache: Cache) -> None:
    """A child naps for a word without an end; what it says is seen from outside."""
    cache.open(OWNER)
    child = os.fork()
    if child == 0:
        lib.lock_wait(cache.open(0).proc, held_word())
        os._exit(1)
    try:
        seen: set[int] = set()

        def goes_on() -> bool:
            now = pulse(cache, 0)
            seen.update([now.naps] if now.waits_for == OWNER else [])
            return len(seen) == 3

        wait_until(goes_on, "three naps were seen")
        assert pulse(cache, OWNER).waited_us >= 2 * lib.LOCK_NAP_US
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    # What it said goes with it.
    other = cache.open(2)
    assert other.reclaim_slot(0)
    assert pulse(cache, 0).waits_for == 2**32 - 1
