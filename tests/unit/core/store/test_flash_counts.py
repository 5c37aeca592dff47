"""What is counted of records: compressed, compacted, given up, with their numbers and bytes."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core.flash_keeper import ADMIT_COMPRESSED, FlashKeeper

RECORD_HEADER_BYTES, ITEM_HEADER_BYTES = 12, 16
NAMES = (
    "ext_compact_rescues",
    "ext_compact_skipped",
    "ext_objects_written",
    "ext_bytes_written",
    "ext_compress_in_bytes",
    "ext_compress_out_bytes",
)


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FlashKeeper]:
    with FlashKeeper(tmp_path, now=100) as made:
        made.set_live("ext_recache_rate", 0)
        yield made
        made.check()


def counted(tier: FlashKeeper) -> list[int]:
    """What the worker and the keeper have counted together."""
    counters = tier.counters()
    return [counters[name] for name in NAMES]


def since(tier: FlashKeeper, before: list[int]) -> dict[str, int]:
    """Which counts have gone up, and by how much."""
    moved = zip(NAMES, counted(tier), before, strict=True)
    return {name: now - then for name, now, then in moved if now != then}


def test_a_compaction(tier: FlashKeeper) -> None:
    for number in range(20):
        tier.send(b"set k%02d 0 0 100\r\n%s\r\n" % (number, b"v" * 100))
    before = counted(tier)
    assert tier.exile() == 20
    record_bytes = RECORD_HEADER_BYTES + ITEM_HEADER_BYTES + 3 + 100
    assert since(tier, before) == {
        "ext_objects_written": 20,
        "ext_bytes_written": 20 * record_bytes,
    }
    for number in range(5):
        assert tier.send(b"get k%02d\r\n" % number).startswith(b"VALUE ")
    before = counted(tier)
    done = tier.compact(tier.in_use()[0], read_only=True)
    assert (done.rescued, done.dropped, done.dead) == (5, 15, 0)
    assert since(tier, before) == {
        "ext_compact_rescues": 5,
        "ext_compact_skipped": 15,
        "ext_objects_written": 5,
        "ext_bytes_written": 5 * record_bytes,
    }


def test_values_that_are_compressed(tier: FlashKeeper) -> None:
    before = counted(tier)
    tier.send(b"set k 0 0 4000\r\n%s\r\n" % (b"v" * 4000))
    assert tier.exile(ADMIT_COMPRESSED) == 1
    moved = since(tier, before)
    stored = moved["ext_compress_out_bytes"]
    assert 0 < stored < 400
    assert moved == {
        "ext_objects_written": 1,
        "ext_bytes_written": RECORD_HEADER_BYTES + ITEM_HEADER_BYTES + 1 + stored,
        "ext_compress_in_bytes": 4000,
        "ext_compress_out_bytes": stored,
    }


def test_values_that_do_not_compress(tier: FlashKeeper) -> None:
    """What was tried counts as large as it stayed."""
    before = counted(tier)
    tier.send(b"set k 0 0 4000\r\n%s\r\n" % random.Random(1).randbytes(4000))
    assert tier.exile(ADMIT_COMPRESSED) == 1
    assert since(tier, before) == {
        "ext_objects_written": 1,
        "ext_bytes_written": RECORD_HEADER_BYTES + ITEM_HEADER_BYTES + 1 + 4000,
        "ext_compress_in_bytes": 4000,
        "ext_compress_out_bytes": 4000,
    }


@pytest.mark.parametrize(
    ("value_bytes", "bytes_min", "is_tried"),
    [(499, 500, False), (500, 500, True), (501, 500, True), (4000, 0, False)],
)
def test_values_from_a_size_on_are_compressed(
    tier: FlashKeeper, value_bytes: int, bytes_min: int, is_tried: bool
) -> None:
    tier.send(b"set k 0 0 %d\r\n%s\r\n" % (value_bytes, b"v" * value_bytes))
    assert tier.exile(type(ADMIT_COMPRESSED)(compress_bytes_min=bytes_min)) == 1
    assert tier.counters()["ext_compress_in_bytes"] == (value_bytes if is_tried else 0)
