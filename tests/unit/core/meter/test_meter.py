"""Counters: their rows, who has them, and what becomes of them at a reset and at a death."""

import os
import re
from typing import Any

import pytest

from pymc.core.ffi import ffi, lib, text
from tests.support.core.driver import CLASS_COUNTERS, COUNTERS, Cache

ROWS = [lib.meter_row(number) for number in range(lib.meter_count())]
CLASS_ROWS = [lib.meter_class_row(number) for number in range(lib.meter_class_count())]
REPORTS = {"stats", "items", "slabs", "extstore", "pymc", "tls", "part"}


@pytest.mark.parametrize("rows", [ROWS, CLASS_ROWS])
def test_every_row_is_whole(rows: list[Any]) -> None:
    for row in rows:
        name = text(row.name)
        assert re.fullmatch(r"[a-z][a-z0-9_]+", name)
        assert re.fullmatch(r"[a-z]+", text(row.unit)), name
        shown = text(row.shown).split()
        assert shown and set(shown) <= REPORTS, name
        assert re.fullmatch(r"\S.{8,}\.", text(row.help)), name
    names = [text(row.name) for row in rows]
    assert len(set(names)) == len(names)


def test_there_is_no_row_beyond_the_last() -> None:
    assert lib.meter_row(lib.meter_count()) == ffi.NULL
    assert lib.meter_class_row(lib.meter_class_count()) == ffi.NULL


def test_counters_belong_to_slots_and_are_summed(cache: Cache) -> None:
    one, two = cache.open(0), cache.open(1)
    lib.meter_add(one.proc, 0, 5)
    lib.meter_add(two.proc, 0, 7)
    lib.meter_add_for(cache.arena, 1, 0, 1)
    assert one.counters()[COUNTERS[0]] == 13
    values = ffi.new("uint64_t[]", lib.meter_count())
    lib.meter_read(cache.arena, 1, values)
    assert list(values) == [8] + [0] * (lib.meter_count() - 1)
    lib.store_counters_reset(one.store)
    assert two.counters()[COUNTERS[0]] == 0


def test_of_peaks_the_highest_counts(cache: Cache) -> None:
    one, two = cache.open(0), cache.open(1)
    for number in range(lib.meter_count()):
        lib.meter_add(one.proc, number, 5)
        lib.meter_add(two.proc, number, 7)
    single = {name for name, value in one.counters().items() if value == 7}
    assert single == {text(row.name) for row in ROWS if row.kind == lib.METER_PEAK}
    assert single == {"lock_longest_wait_us"}


def test_only_counters_are_reset(cache: Cache) -> None:
    handle = cache.open(0)
    for number in range(lib.meter_count()):
        lib.meter_add(handle.proc, number, 3)
    lib.store_counters_reset(handle.store)
    left = {name for name, value in handle.counters().items() if value}
    assert left == {text(row.name) for row in ROWS if row.kind != lib.METER_COUNTER}
    assert {"items", "curr_connections", "lock_longest_wait_us"} <= left


def test_only_class_counters_are_reset(cache: Cache) -> None:
    handle = cache.open(0)
    handle.put(b"k", b"v")
    class_id = handle.class_for(20)
    assert handle.class_counters(class_id)["cmd_set"] == 1
    lib.store_counters_reset(handle.store)
    left = {name for name, value in handle.class_counters(class_id).items() if value}
    assert left == {"items", "item_bytes"}


def test_what_went_with_a_dead_process_is_not_counted(cache: Cache) -> None:
    handle = cache.open(0)
    child = os.fork()
    if child == 0:
        dying = cache.open(1)
        for number in range(lib.meter_count()):
            lib.meter_add(dying.proc, number, 3)
        os._exit(0)
    os.waitpid(child, 0)
    assert handle.counters()["curr_connections"] == 3
    assert handle.reclaim_slot(1)
    gone = {name for name, value in handle.counters().items() if not value}
    assert gone == {text(row.name) for row in ROWS if row.kind == lib.METER_PROCESS_GAUGE}
    assert {"curr_connections", "read_buf_bytes", "response_buf_bytes"} <= gone


def test_the_enumerations_go_by_the_rows(cache: Cache) -> None:
    """A row of shm and rows of rooms above it are counted where their names say."""
    handle = cache.open(0)
    assert handle.put(b"k", b"v")
    assert handle.get(b"gone") is None
    assert handle.counters()["total_items"] == 1
    assert COUNTERS.index("lock_waits") == 0
    assert CLASS_COUNTERS[0] == "hits_to_hot"
