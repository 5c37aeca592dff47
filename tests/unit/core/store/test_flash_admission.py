"""What may go to flash: the keeper and a worker that evicts ask the same rules."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, TINY_LADDER, Making
from tests.support.core.flash_cache import Log
from tests.support.core.flash_keeper import FlashKeeper
from tests.support.core.records import Outcome

NOW = 100
VERDICTS = (
    "ext_admitted",
    "ext_rejected_index",
    "ext_rejected_small",
    "ext_rejected_young",
    "ext_rejected_ttl",
    "ext_rejected_unread",
    "ext_rejected_large",
)
LOG = Log(
    pages=24,
    page_bytes=256 << 10,
    wbuf_bytes=64 << 10,
    index_bytes_max=1 << 20,
    kind=int(lib.FLASH_READER_THREADS),
    threads=1,
)
STREAMS = (int(lib.FLASH_DEFAULT), int(lib.FLASH_CHUNKED), int(lib.FLASH_LOW_TTL))


@dataclass(frozen=True, slots=True)
class Case:
    """An item, the settings, and what the rules say."""

    verdict: str
    stream: int = -1
    value_bytes: int = 600
    expiry_seconds: int = 0
    live: dict[str, int] = field(default_factory=dict)
    ladder: tuple[int, ...] = LADDER


# The header of an item has 16 bytes, an expiry 4, and the key is one byte.
CASES = {
    "admitted": Case("ext_admitted", lib.FLASH_DEFAULT, live={"ext_item_size_bytes": 617}),
    "too small": Case("ext_rejected_small", live={"ext_item_size_bytes": 618}),
    "no time left": Case("ext_rejected_ttl", expiry_seconds=NOW + 1),
    "some time left": Case("ext_admitted", lib.FLASH_DEFAULT, expiry_seconds=NOW + 2),
    "little time left": Case(
        "ext_admitted",
        lib.FLASH_LOW_TTL,
        expiry_seconds=NOW + 9,
        live={"ext_low_ttl_seconds": 10},
    ),
    "time enough": Case(
        "ext_admitted",
        lib.FLASH_DEFAULT,
        expiry_seconds=NOW + 10,
        live={"ext_low_ttl_seconds": 10},
    ),
    "in parts": Case("ext_admitted", lib.FLASH_CHUNKED, value_bytes=6000, ladder=TINY_LADDER),
    "never read": Case("ext_rejected_unread", live={"ext_admit_unread_percent": 0}),
    "larger than a buffer": Case("ext_rejected_large", value_bytes=61_500, ladder=TINY_LADDER),
    "as large as a buffer": Case(
        "ext_admitted", lib.FLASH_CHUNKED, value_bytes=61_390, ladder=TINY_LADDER
    ),
}


def begin_buffers(tier: FlashKeeper) -> None:
    for bucket in STREAMS:
        assert tier.begin(bucket)


def verdicts(tier: FlashKeeper) -> dict[str, bool]:
    """Which were counted. An item in parts is met at each of them, and judged again."""
    counters = tier.counters()
    return {name: counters[name] > 0 for name in VERDICTS}


def streams(tier: FlashKeeper) -> list[int]:
    """The streams of the pages that have records."""
    return [int(row.bucket) for row in tier.pages() if row.objects_written]


def ask_keeper(tier: FlashKeeper) -> None:
    rules = ffi.new("struct space_admission *")
    lib.space_admission_now(tier.keeper.store, rules)
    result = ffi.new("struct tier_writeout_result *")
    for class_id in range(1, len(tier.cache.shape.chunk_bytes) + 1):
        ahead = ffi.new("struct tier_ahead *")
        store, all_of_them = tier.keeper.store, 1 << 30
        lib.tier_writeout_step(store, class_id, ahead, rules, all_of_them, all_of_them, result)
        assert result.full_bucket == -1


def ask_worker(tier: FlashKeeper) -> None:
    """Takes all other memory, so that the next thing to store evicts the item."""
    makings: list[Making] = []
    while tier.counters()["items"] == 1:
        making = tier.worker.begin(b"m%d" % len(makings), 900)
        if making.outcome != Outcome.ROOM_MADE:
            break
        makings.append(making)
    for making in makings:
        making.abandon()
    assert tier.counters()["items"] == 0


@pytest.mark.parametrize("ask", [ask_keeper, ask_worker], ids=["keeper", "worker"])
@pytest.mark.parametrize("name", CASES)
def test_the_rules(tmp_path: Path, name: str, ask: Callable[[FlashKeeper], None]) -> None:
    case = CASES[name]
    with FlashKeeper(tmp_path, LOG, now=NOW, limit_bytes=4 * MIB, chunk_bytes=case.ladder) as tier:
        for setting, number in ({"ext_item_size_bytes": 0} | case.live).items():
            tier.set_live(setting, number)
        begin_buffers(tier)
        value = bytes(range(256)) * (case.value_bytes // 256 + 1)
        tier.worker.put(b"k", value[: case.value_bytes], expiry_seconds=case.expiry_seconds)
        ask(tier)
        assert verdicts(tier) == {one: one == case.verdict for one in VERDICTS}
        assert streams(tier) == ([case.stream] if case.stream >= 0 else [])
        assert tier.entries() == int(case.stream >= 0)
        if ask is ask_worker:
            counters = tier.counters()
            # Only what is lost is an eviction.
            assert counters["evictions"] == int(case.stream < 0)
            assert counters["ext_clean_evictions"] == int(case.stream >= 0)
            found = tier.send(b"get k\r\n") != b"END\r\n"
            assert found == (case.stream >= 0)
        tier.check()


def test_what_was_read_in_memory_is_not_never_read(tmp_path: Path) -> None:
    with FlashKeeper(tmp_path, LOG, now=NOW) as tier:
        tier.set_live("ext_item_size_bytes", 0)
        tier.set_live("ext_admit_unread_percent", 0)
        begin_buffers(tier)
        tier.send(b"set k 0 0 1\r\nx\r\nset l 0 0 1\r\nx\r\nget k\r\n")
        rules = ffi.new("struct space_admission *")
        lib.space_admission_now(tier.keeper.store, rules)
        assert rules.unread_percent == 0 and rules.ttl_seconds_min == 2
        assert tier.fill() == 2 and tier.entries() == 2
