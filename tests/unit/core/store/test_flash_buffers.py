"""What waits in write buffers is on flash for every command, before its write, during and after."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_cache import Log
from tests.support.core.flash_keeper import ADMIT_ALL, ADMIT_COMPRESSED, Admission, FlashKeeper
from tests.support.core.talk import Talk

needs_faults = pytest.mark.debug
NOISE = Random(5).randbytes(12_000)
TEXT = b"one thing after the other " * 450
ITEMS = {
    "small": b"set k 5 0 3\r\n127\r\n",
    "expiring": b"set k 5 500 3\r\n127\r\n",
    "large": b"set k 7 0 11500\r\n%s\r\n" % NOISE[:11500],
    "text": b"set k 7 0 11500\r\n%s\r\n" % TEXT[:11500],
    "own number": b"ms k 2 F9 T500 E77\r\nab\r\n",
}
COMMANDS = {
    "get": b"get k\r\n",
    "gets": b"gets k other k\r\n",
    "gat": b"gat 50 k\r\n",
    "touch": b"touch k 50\r\n",
    "append": b"append k 0 0 2\r\nab\r\n",
    "add": b"add k 0 0 2\r\nab\r\n",
    "cas": b"cas k 0 0 2 999\r\nab\r\n",
    "incr": b"incr k 1\r\n",
    "delete": b"delete k\r\n",
    "mg": b"mg k f s t v\r\n",
    "mg T": b"mg k T30 v\r\n",
    "me": b"me k\r\n",
    "ms": b"ms k 2 MA\r\nab\r\n",
    "md I": b"md k I\r\n",
    "ma": b"ma k D5\r\n",
}
LOOK = b"get k other\r\nmg k f t s c\r\n"


def close_all(tier: FlashKeeper) -> list[int]:
    """Closes what is being filled; the numbers of buffers that are not free."""
    numbers = []
    for number, row in enumerate(tier.buffers()):
        if row.state == lib.FLASH_BUFFER_FILLING and not row.is_closed:
            lib.flash_buffer_close(tier.flash, number)
        if row.state != lib.FLASH_BUFFER_FREE:
            numbers.append(number)
    return numbers


def seal_all(tier: FlashKeeper) -> list[int]:
    numbers = close_all(tier)
    return [n for n in numbers if lib.flash_buffer_seal(tier.flash, tier.keeper.proc, n)]


def begin_writes(tier: FlashKeeper) -> None:
    """They are on the device, and nobody has said so yet."""
    for number in seal_all(tier):
        assert lib.flash_buffer_write(tier.flash, number) == 0


STATES: dict[str, Callable[[FlashKeeper], object]] = {
    "filling": lambda tier: None,
    "closed": close_all,
    "sealed": seal_all,
    "being written": begin_writes,
    "written": lambda tier: tier.commit(),
}


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FlashKeeper]:
    with FlashKeeper(tmp_path, now=100) as made:
        made.send(b"set other 0 0 1\r\nx\r\n" * 2)
        yield made
        made.check()


def put_on_flash(tier: FlashKeeper, state: str, admission: Admission = ADMIT_ALL) -> None:
    """Nothing is left in memory; the records are in buffers that have come so far."""
    tier.fill(admission)
    assert tier.drop_memory_copies() > 0
    STATES[state](tier)
    assert tier.counters()["items"] == 0


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("stored", ITEMS)
def test_every_command_finds_it(tier: FlashKeeper, tmp_path: Path, stored: str, state: str) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with FlashKeeper(folder, now=100) as memory:
        memory.send(b"set other 0 0 1\r\nx\r\n" * 2)
        for name, command in COMMANDS.items():
            tier.send(b"delete k\r\n")
            memory.send(b"delete k\r\n")
            for one in (tier, memory):
                assert one.send(ITEMS[stored]) in (b"STORED\r\n", b"HD\r\n")
            compressed = ADMIT_COMPRESSED if stored == "text" else ADMIT_ALL
            put_on_flash(tier, state, compressed)
            assert tier.send(command) == memory.send(command), name
            assert tier.send(LOOK) == memory.send(LOOK), name
            tier.commit()
            assert tier.send(LOOK) == memory.send(LOOK), name
    device_reads = tier.counters()["ext_device_reads"]
    from_buffers = tier.counters()["ext_reads_from_buffers"]
    assert from_buffers > 0 or state == "written"
    assert device_reads > 0


@pytest.mark.parametrize("state", STATES)
def test_what_is_not_written_costs_no_read(tier: FlashKeeper, state: str) -> None:
    tier.send(ITEMS["large"])
    put_on_flash(tier, state)
    talks = [Talk(tier.worker, values_max=64) for _ in range(3)]
    for talk in talks:
        talk.waits_for_flash = False
        talk.feed(b"get k other\r\nmg other v\r\n")
    for talk in talks:
        talk.waits_for_flash = True
        talk.feed(b"")
        assert talk.received.endswith(b"END\r\nVA 1\r\nx\r\n")
    counted = tier.counters()
    if state == "written":
        # A read serves all who wait for it.
        assert 2 <= counted["ext_device_reads"] < 9 and counted["ext_reads_from_buffers"] == 0
    else:
        assert counted["ext_device_reads"] == 0
        assert counted["ext_reads_from_buffers"] > 0
    assert counted["get_extstore"] == 9
    for talk in talks:
        talk.close()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", [lib.STORE_DUMP_META, lib.STORE_DUMP_MG])
def test_dumps_show_it(tier: FlashKeeper, kind: int, state: str) -> None:
    for number in range(60):
        tier.send(b"set k%d 1 500 300\r\n%s\r\n" % (number, NOISE[:300]))
    tier.send(ITEMS["large"])
    before = sorted(tier.memory_dump(kind).splitlines())
    assert len(before) == 62
    put_on_flash(tier, state)
    assert sorted(tier.dump(kind).splitlines()) == before


@pytest.mark.parametrize("state", STATES)
def test_a_read_record_comes_back(tier: FlashKeeper, state: str) -> None:
    tier.set_live("ext_recache_rate", 1)
    tier.send(ITEMS["small"])
    put_on_flash(tier, state)
    for _ in range(2):
        assert tier.send(b"get k\r\n") == b"VALUE k 5 3\r\n127\r\nEND\r\n"
    assert tier.counters()["ext_brought_back"] == 1
    # Its record is its copy still.
    assert tier.entries() == 2 and tier.drop_memory_copies() == 1
    assert tier.send(b"get k\r\n") == b"VALUE k 5 3\r\n127\r\nEND\r\n"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("change", "now"),
    [
        (b"set k 6 0 2\r\nxy\r\n", b"VALUE k 6 2\r\nxy\r\nEND\r\n"),
        (b"delete k\r\n", b"END\r\n"),
        (b"touch k -1\r\n", b"END\r\n"),
        (b"flush_all\r\n", b"END\r\n"),
    ],
)
@pytest.mark.parametrize("is_in_memory", [True, False])
def test_the_old_value_never_comes_back(
    tier: FlashKeeper, change: bytes, now: bytes, state: str, is_in_memory: bool
) -> None:
    tier.send(ITEMS["small"])
    tier.fill()
    STATES[state](tier)
    if not is_in_memory:
        tier.drop_memory_copies()
    tier.send(change)
    assert tier.send(b"get k\r\n") == now
    tier.commit()
    assert tier.send(b"get k\r\n") == now
    # Nor from a page that is compacted, nor when the new value went to flash as well.
    tier.fill()
    tier.drop_memory_copies()
    for page in tier.in_use():
        tier.commit()
        tier.compact(page)
    tier.commit()
    tier.sweep()
    assert tier.send(b"get k\r\n") == now


def test_a_buffer_that_is_used_again_gives_nobody_elses_bytes(tmp_path: Path) -> None:
    """Keys in turn in the same buffers: each look-up finds its own value or nothing."""
    log = Log(pages=4, page_bytes=65536, wbuf_bytes=16384, index_bytes_max=1 << 20)
    with FlashKeeper(tmp_path, log, now=100) as tier:
        for turn in range(60):
            keys = [b"t%d-%d" % (turn, number) for number in range(12)]
            for key in keys:
                value = ((key + b".") * 200)[:1000]
                tier.send(b"set %s 0 0 1000\r\n%s\r\n" % (key, value))
            tier.fill()
            tier.drop_memory_copies()
            for key in (*keys, *(b"t%d-%d" % (turn - 1, number) for number in range(12))):
                value = ((key + b".") * 200)[:1000]
                whole = b"VALUE %s 0 1000\r\n%s\r\nEND\r\n" % (key, value)
                assert tier.send(b"get %s\r\n" % key) in (whole, b"END\r\n")
            if turn % 3:
                tier.commit(1)
        assert tier.counters()["ext_reads_from_buffers"] > 100
        assert tier.counters()["badcrc_from_extstore"] == 0


@needs_faults
@pytest.mark.parametrize("is_in_memory", [True, False])
def test_a_failed_write_costs_its_own_records_only(tier: FlashKeeper, is_in_memory: bool) -> None:
    """Each buffer of the page by itself; what is in memory stays in any case."""
    keys: list[list[bytes]] = []
    for number in range(3):
        assert tier.begin(lib.FLASH_DEFAULT)
        keys.append([b"b%d-%d" % (number, i) for i in range(10)])
        for key in keys[-1]:
            tier.send(b"set %s 0 0 100\r\n%s\r\n" % (key, (key * 100)[:100]))
        tier.fill()
        close_all(tier)
    if not is_in_memory:
        tier.drop_memory_copies()
    tier.flash_fault(lib.FLASH_FAULT_EIO, on_writes=True, skip=1, count=1)
    pages = {int(row.page) for row in tier.buffers() if row.state != lib.FLASH_BUFFER_FREE}
    assert len(pages) == 1
    assert tier.commit() == 10
    tier.flash_fault(lib.FLASH_FAULT_NONE)
    counted = tier.counters()
    assert (counted["ext_write_lost"], counted["ext_compact_lost"]) == (10, 0)
    for number, its in enumerate(keys):
        for key in its:
            got = tier.send(b"get %s\r\n" % key)
            assert (got != b"END\r\n") == (is_in_memory or number != 1), key
    # What was found is written again, to another page, and only that.
    assert tier.pages()[pages.pop()].state == lib.FLASH_PAGE_FULL
    assert tier.fill() == (10 if is_in_memory else 0)


@pytest.mark.parametrize("state", ["filling", "sealed"])
def test_what_is_for_a_page_that_drains_goes_without_a_trace(tier: FlashKeeper, state: str) -> None:
    tier.send(ITEMS["small"])
    put_on_flash(tier, state)
    (page,) = tier.in_use()
    tier.drain(page)
    assert tier.send(b"get k\r\n") == b"END\r\n"
    (number,) = seal_all(tier)
    assert tier.buffers()[number].is_page_gone
    sweep = ffi.new("struct flash_sweep *")
    while lib.flash_sweep_step(tier.flash, tier.keeper.proc, sweep, 1024):
        pass
    lib.flash_page_free(tier.flash, tier.keeper.proc, page)
    assert tier.pages()[page].state == lib.FLASH_PAGE_DRAINING
    assert lib.tier_buffer_finish(tier.keeper.store, number, lib.PYMC_NOT_FOUND) == 0
    lib.flash_page_free(tier.flash, tier.keeper.proc, page)
    assert tier.pages()[page].state == lib.FLASH_PAGE_FREE and tier.entries() == 0
    counted = tier.counters()
    for name in ("ext_write_lost", "ext_write_errors", "ext_device_writes"):
        assert counted[name] == 0, name


def test_a_fifth_entry_with_the_same_bits_is_refused(tier: FlashKeeper) -> None:
    """The item stays in memory, and is not marked as having a copy."""
    assert tier.fill() == 1
    tier.send(ITEMS["small"])
    hash_k = lib.hash_of(b"k", 1, 0)
    for address in range(3000, 3000 + int(lib.FLASH_CANDIDATES_MAX)):
        assert lib.flash_insert(tier.flash, tier.worker.proc, hash_k, address, 200) == 0
    assert tier.fill() == 0
    assert tier.counters()["items_with_copy"] == 1
    assert tier.drop_memory_copies() == 1
    assert tier.send(b"get k\r\n") == b"VALUE k 5 3\r\n127\r\nEND\r\n"
    removed = lib.flash_remove_all(tier.flash, tier.worker.proc, hash_k)
    assert removed == lib.FLASH_CANDIDATES_MAX
    assert tier.fill() == 1
