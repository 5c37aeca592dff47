"""Process slots: one living owner each, and what happens when it dies."""

import os

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import Cache


def open_status(cache: Cache, slot: int, role: int) -> int:
    out = ffi.new("struct store **")
    status = lib.store_open(cache.arena, ffi.NULL, slot, role, out)
    if status == lib.PYMC_OK:
        lib.store_close(out[0])
    return int(status)


def test_roles_and_slots_are_checked(cache: Cache) -> None:
    assert open_status(cache, 99, lib.PROC_WORKER) == lib.PYMC_INVALID
    assert open_status(cache, 0, lib.PROC_FREE) == lib.PYMC_INVALID
    assert open_status(cache, 0, lib.PROC_TOOL + 1) == lib.PYMC_INVALID
    assert open_status(cache, 0, lib.PROC_KEEPER) == lib.PYMC_OK


def test_a_slot_has_one_owner(cache: Cache) -> None:
    handle = cache.open(1, lib.PROC_KEEPER)
    assert lib.proc_slot_pid(cache.arena, 1) == os.getpid()
    assert lib.proc_slot_role(cache.arena, 1) == lib.PROC_KEEPER
    assert open_status(cache, 1, lib.PROC_WORKER) == lib.PYMC_BUSY
    handle.close()
    assert lib.proc_slot_pid(cache.arena, 1) == 0
    assert open_status(cache, 1, lib.PROC_WORKER) == lib.PYMC_OK
    assert lib.proc_slot_generation(cache.arena, 1) == 2


def die_holding(cache: Cache, slot: int) -> None:
    """Takes the slot in a child that ends without giving it back."""
    child = os.fork()
    if child == 0:
        cache.open(slot)
        os._exit(0)
    os.waitpid(child, 0)


def test_a_dead_owner_is_found_once(cache: Cache) -> None:
    handle = cache.open(0)
    die_holding(cache, 1)
    assert lib.proc_slot_pid(cache.arena, 1) > 0
    assert handle.reclaim_slot(1)
    assert not handle.reclaim_slot(1)
    assert lib.proc_slot_pid(cache.arena, 1) == 0
    assert handle.counters()["lock_recoveries"] == 1


def test_a_dead_owner_is_replaced(cache: Cache) -> None:
    die_holding(cache, 1)
    assert open_status(cache, 1, lib.PROC_WORKER) == lib.PYMC_OK
    assert lib.proc_slot_generation(cache.arena, 1) == 2


def test_the_living_are_left_alone(cache: Cache) -> None:
    handle = cache.open(0)
    cache.open(1)
    assert not handle.reclaim_slot(1)
    assert not handle.reclaim_slot(0)
