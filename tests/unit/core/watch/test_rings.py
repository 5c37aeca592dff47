"""Rings of events: their order, what is overwritten, what a dead writer leaves, who watches."""

import random
from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, Cache, Handle
from tests.support.core.watch_rig import Reader, WatchedCache, note, number

ALL = (1 << lib.WATCH_CLASSES) - 1
SYS = lib.WATCH_SYSEVENTS
DELETIONS = lib.WATCH_DELETIONS
RING_BYTES = lib.WATCH_RING_BYTES_MIN


@pytest.fixture
def cache() -> Iterator[WatchedCache]:
    with WatchedCache() as made:
        yield made


@pytest.fixture
def handle(cache: WatchedCache) -> Handle:
    return cache.open()


def reader_of(handle: Handle, classes: int = ALL) -> Reader:
    reader = Reader(handle, classes)
    assert reader.status == 0
    handle.on_close(reader.close)
    return reader


def counters(handle: Handle) -> dict[str, int]:
    return {name: value for name, value in handle.counters().items() if name.startswith("log_")}


def test_nobody_watches(cache: WatchedCache, handle: Handle) -> None:
    note(handle, b"unseen")
    reader = reader_of(handle)
    assert reader.lines() == []
    note(handle, b"seen")
    assert reader.lines() == [b"seen"]
    assert counters(handle)["log_worker_written"] == 1
    reader.close()
    note(handle, b"unseen")
    assert lib.watch_wanted(cache.arena) == 0
    assert counters(handle)["log_worker_written"] == 1


def test_a_reader_gets_its_classes_from_when_it_came(cache: WatchedCache, handle: Handle) -> None:
    first = reader_of(handle, SYS)
    note(handle, b"one")
    second = reader_of(handle, SYS | DELETIONS)
    note(handle, b"two", DELETIONS)
    note(handle, b"three")
    assert lib.watch_wanted(cache.arena) == SYS | DELETIONS
    assert first.lines() == [b"one", b"three"]
    assert second.lines() == [b"two", b"three"]
    second.close()
    assert lib.watch_wanted(cache.arena) == SYS


def test_rings_go_round(handle: Handle) -> None:
    reader = reader_of(handle)
    dice = random.Random(1)
    for turn in range(2000):
        text = b"%d " % turn + b"x" * dice.randrange(300)
        note(handle, text)
        assert reader.lines() == [text]
    assert counters(handle)["log_worker_dropped"] == 0


def test_all_rings_are_one_stream_in_order(cache: WatchedCache) -> None:
    writers = [cache.open(slot) for slot in range(3)]
    reader = reader_of(writers[0])
    dice = random.Random(2)
    for round_number in range(200):
        said = [b"%d.%d" % (round_number, i) for i in range(dice.randrange(20))]
        for text in said:
            note(dice.choice(writers), text)
        lines = reader.text().splitlines()
        assert [line.rpartition(b"=")[2] for line in lines] == said
        numbers = [number(line) for line in lines]
        assert numbers == sorted(set(numbers))


def test_what_does_not_fit_comes_with_the_next_call(handle: Handle) -> None:
    reader = reader_of(handle)
    for text in (b"one", b"two", b"three"):
        note(handle, text)
    room = lib.WATCH_LINE_BYTES_MAX
    pieces = [reader.text(room) for _ in range(4)]
    assert [piece.count(b"\n") for piece in pieces] == [1, 1, 1, 0]


@pytest.mark.parametrize("was_slow", [False, True])
def test_what_is_overwritten_is_told_of(handle: Handle, was_slow: bool) -> None:
    reader = reader_of(handle, SYS)
    also = reader_of(handle, DELETIONS)
    written = 1000
    for i in range(written):
        note(handle, b"%d" % i)
        if i % 100 == 0:
            note(handle, b"other", DELETIONS)
    lines = reader.lines(was_slow=was_slow)
    skipped = int(lines[0].removeprefix(b"skipped="))
    assert lines[1:] == [b"%d" % i for i in range(skipped, written)]
    # At least a quarter of the ring was still there.
    assert len(lines) > RING_BYTES // 4 // 80
    seen = counters(handle)
    assert seen["log_watcher_skipped"] == (skipped if was_slow else 0)
    assert seen["log_worker_dropped"] == (0 if was_slow else skipped)
    assert seen["log_watcher_sent"] == len(lines) - 1
    # Each is told of its own classes.
    assert len(also.lines()) <= 3


def test_what_was_missed_adds_up(handle: Handle) -> None:
    reader = reader_of(handle, SYS)
    dice = random.Random(3)
    said = seen = 0
    for _ in range(200):
        for _ in range(dice.randrange(150)):
            note(handle, b"x" * dice.randrange(200))
            said += 1
        for line in reader.lines():
            words = line.partition(b"=")
            seen += int(words[2]) if words[0] == b"skipped" else 1
    note(handle, b"last")
    for line in reader.lines():
        words = line.partition(b"=")
        seen += int(words[2]) if words[0] == b"skipped" else 1
    assert seen == said + 1


def test_too_many(cache: WatchedCache, handle: Handle) -> None:
    readers = [reader_of(handle) for _ in range(lib.WATCH_READERS_MAX)]
    assert Reader(handle, ALL).status == lib.PYMC_BUSY
    assert counters(handle)["log_watchers"] == lib.WATCH_READERS_MAX
    readers[7].close()
    again = reader_of(handle)
    note(handle, b"x")
    assert again.lines() == [b"x"]


def test_without_rings_nobody_watches() -> None:
    with Cache(limit_bytes=64 * MIB) as cache:
        handle = cache.open()
        assert Reader(handle, ALL).status == lib.PYMC_INVALID
        assert lib.watch_wanted(cache.arena) == 0
        note(handle, b"x")
        handle.turn()


def test_an_arena_that_is_too_small() -> None:
    with Cache(limit_bytes=64 * MIB) as cache:
        assert lib.watch_create(cache.arena, 1 << 28) == lib.PYMC_NO_MEMORY


@pytest.mark.parametrize(
    ("asked", "rounded"), [(0, 4096), (4096, 4096), (4097, 8192), (1 << 40, 1 << 28)]
)
def test_rings_have_bounds(asked: int, rounded: int) -> None:
    more = lib.watch_reserve_bytes(3, asked) - lib.watch_reserve_bytes(2, asked)
    assert rounded <= more <= rounded + 256


def test_long_texts_are_cut(handle: Handle) -> None:
    reader = reader_of(handle)
    note(handle, b"y" * 5000)
    (line,) = reader.lines()
    assert set(line) == {ord("y")}
    assert len(line) < 500


def test_the_rings_memory_goes_back(cache: WatchedCache, handle: Handle) -> None:
    out = ffi.new("bool *")
    rows = ffi.new("struct arena_row[]", lib.ARENA_ROWS_MAX)
    count = lib.arena_ledger_read(cache.arena, rows)
    (row,) = [row for row in rows[0:count] if ffi.string(row.label) == b"watch"]

    def touched() -> int:
        return int(lib.arena_touched_bytes(cache.arena, row.offset, row.bytes, 1 << 30, out))

    before = touched()
    reader = reader_of(handle)
    for _ in range(200):
        note(handle, b"x" * 100)
    assert touched() >= before + RING_BYTES
    reader.close()
    handle.turn()
    assert touched() < before + RING_BYTES
    # Who comes later begins anew.
    late = reader_of(handle)
    note(handle, b"again")
    assert late.lines() == [b"again"]
