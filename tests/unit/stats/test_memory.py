"""The memory part of `stats pymc`: it adds up, and agrees with the kernel."""

import os
import re
from pathlib import Path

import pytest

from pymc.stats.memory import private_bytes
from tests.support.inprocess import InProcess, in_process

MIB = 1 << 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ROOMS = [
    *("header", "slots", "store_local", "index_local", "index_buckets", "index_overflow"),
    *("rings", "slab_tables", "slab_local", "slab_pages", "connections", "prefixes", "addresses"),
]
FLASH_ROOMS = ["flash_tables", "flash_local", "flash_index"]


def own_stats(server: InProcess) -> dict[str, str]:
    lines = server.ask("stats pymc").decode().split("\r\n")[:-2]
    return dict(line.split(" ")[1:3] for line in lines)


@pytest.mark.parametrize("flash", [False, True])
def test_rooms_add_up_to_what_the_kernel_counts(tmp_path: Path, flash: bool) -> None:
    args = ["-o", f"ext_path={tmp_path}/f:256m"] if flash else []
    rooms = ROOMS + (FLASH_ROOMS if flash else [])
    with in_process(["-m", "16", *args]) as server:
        server.fill("k", 5000, 1000)
        stats = own_stats(server)
        found = [m[1] for key in stats if (m := re.fullmatch(r"(.+)_touched_bytes", key))]
        assert sorted(set(rooms) - set(found)) == []
        for word in ("reserved", "touched"):
            parts = sum(int(stats[f"{name}_{word}_bytes"]) for name in found if name != "arena")
            assert parts == int(stats[f"arena_{word}_bytes"])
        assert stats["arena_estimated_rooms"] == "0"
        assert stats["arena_touched_bytes"] == stats["arena_file_bytes"]
        # 5,000 items of a kilobyte are there, and nothing of the kind of a multiple.
        assert 5_000_000 < int(stats["slab_pages_touched_bytes"]) < 8 * MIB


def test_what_counts_against_the_limit(tmp_path: Path) -> None:
    with in_process(["-m", "16", "-o", f"ext_path={tmp_path}/f:256m"]) as server:
        before = own_stats(server)
        server.fill("k", 5000, 1000)
        server.context.arena.ledger = type(server.context.arena.ledger)(
            server.context.arena.pointer
        )
        stats = own_stats(server)
        flash = server.context.flash
        assert flash is not None
        pages = [
            line
            for line in server.ask("stats slabs").decode().split("\r\n")
            if "total_pages" in line
        ]
        pages_bytes = sum(int(line.split()[2]) for line in pages) * MIB
        rest = int(stats["index_bytes"]) + int(stats["rings_touched_bytes"]) + flash.index_bytes
        assert int(stats["memory_used_bytes"]) == pages_bytes + rest
        assert int(stats["memory_used_bytes"]) - int(before["memory_used_bytes"]) >= 5 * MIB


def test_nothing_is_said_of_large_pages_that_nobody_asked_for() -> None:
    with in_process() as server:
        stats = own_stats(server)
        assert stats["large_pages_kind"] == "none"
        assert stats["large_pages_asked_bytes"] == stats["large_pages_bytes"] == "0"


def test_large_pages_are_shown_as_measured() -> None:
    with in_process(["-L", "-m", "8", "-I", "512k"]) as server:
        stats, got = own_stats(server), server.context.arena.large_pages
        assert stats["large_pages_kind"] == got.kind
        assert stats["large_pages_asked_bytes"] == str(got.asked_bytes) == str(8 * MIB)
        assert stats["large_pages_bytes"] == str(got.got_bytes)


def test_buffers_of_connections() -> None:
    with in_process() as server:
        server.store.count("read_buf_bytes", 3000)
        server.store.count("response_buf_bytes", 500)
        assert own_stats(server)["connection_buffers_bytes"] == "3500"


def test_each_process_has_its_own_memory() -> None:
    with in_process() as server:
        stats = own_stats(server)
        # This process is the supervisor and worker 0; nobody is the keeper or worker 1.
        assert int(stats["supervisor_private_bytes"]) > MIB
        assert int(stats["worker_0_private_bytes"]) > MIB
        assert stats["worker_1_private_bytes"] == stats["keeper_private_bytes"] == "0"
        parts = [int(value) for key, value in stats.items() if key.endswith("_private_bytes")]
        assert int(stats["private_bytes"]) == sum(parts)


def test_private_memory_is_what_is_resident_and_not_shared(tmp_path: Path) -> None:
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "statm").write_text("5000 300 120 1 0 200 0\n")
    assert private_bytes(77, str(tmp_path)) == 180 * PAGE_BYTES
    assert private_bytes(78, str(tmp_path)) == 0
