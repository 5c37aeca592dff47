"""A server with a flash tier: ten times more data than memory, verified, also after kills."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.flash_server import MEMORY_MB, VALUE_BYTES, fetch_all, fill, flash_args, value
from tests.support.programs import Program
from tests.support.server import Server

pytestmark = pytest.mark.tcp_memory

ITEMS = 10 * MEMORY_MB * 250


@pytest.fixture
def filled(pymc: Program, tmp_path: Path) -> Iterator[Server]:
    with Server(pymc, flash_args(tmp_path)) as server:
        fill(server, range(ITEMS))
        yield server


def test_ten_times_more_than_memory(filled: Server) -> None:
    stats = filled.stats()
    # What is on flash is not lost.
    assert int(filled.stats("extstore")["clean_evictions"]) > ITEMS * 0.85
    assert int(stats["evictions"]) <= ITEMS * 0.05
    assert int(stats["curr_items"]) == ITEMS - int(stats["evictions"])
    hits = fetch_all(filled, range(ITEMS))
    assert hits == ITEMS - int(stats["evictions"])
    stats, own = filled.stats(), filled.stats("extstore")
    assert int(stats["get_extstore"]) > hits * 0.6
    assert int(stats["extstore_objects_read"]) > 0
    assert stats["badcrc_from_extstore"] == stats["miss_from_extstore"] == "0"
    assert float(own["index_bytes_per_entry"]) < 40
    assert float(own["write_amplification"]) < 1.2
    assert any(key.startswith("read_us_") for key in own)
    assert filled.stats("settings")["ext_read_engine"] in ("io_uring", "threads")


@pytest.mark.parametrize("who", ["keeper", "worker"])
def test_what_is_on_flash_survives_a_kill(filled: Server, who: str) -> None:
    before = fetch_all(filled, range(0, ITEMS, 10))
    stats = filled.stats("pymc")
    victim = int(stats["keeper_pid"] if who == "keeper" else stats["worker_0_pid"])
    os.kill(victim, signal.SIGKILL)
    key = "keeper_pid" if who == "keeper" else "worker_0_pid"

    def is_replaced() -> bool:
        return filled.stats("pymc")[key] not in ("0", str(victim))

    wait_until(is_replaced, f"a new {who}")
    # What was in write buffers is there too.
    assert fetch_all(filled, range(0, ITEMS, 10)) >= before - 2
    # The log goes on: what is stored now reaches flash as well.
    written = int(filled.stats()["extstore_objects_written"])
    rounds = iter(range(ITEMS, 10 * ITEMS, 1000))

    def reaches_flash() -> bool:
        first = next(rounds)
        fill(filled, range(first, first + 1000))
        return int(filled.stats()["extstore_objects_written"]) > written + 1000

    wait_until(reaches_flash, "new items are written")
    assert fetch_all(filled, range(ITEMS, next(rounds))) >= 1000


def test_a_small_log_keeps_the_newest(pymc: Program, tmp_path: Path) -> None:
    with Server(pymc, flash_args(tmp_path, flash_mb=64)) as server:
        fill(server, range(ITEMS))
        hits = fetch_all(server, range(ITEMS))
        stats = server.stats()
        assert int(stats["extstore_page_reclaims"]) > 0
        assert hits * VALUE_BYTES > 32 << 20
        assert fetch_all(server, range(ITEMS - 5000, ITEMS)) > 2_500


def test_changes_reach_what_is_on_flash(filled: Server) -> None:
    with filled.connect() as connection:
        assert connection.ask("delete k5") == b"DELETED"
        assert connection.ask("mg k5 v") == b"EN"
        assert connection.store("k6", b"7") == b"STORED"
        assert connection.ask("incr k6 1") == b"8"
        assert connection.ask("touch k7 0") == b"TOUCHED"
        assert connection.store("k8", b"end", verb="append") == b"STORED"
        assert connection.fetch("k8") == value(8) + b"end"
        assert connection.ask("flush_all") == b"OK"
        assert connection.ask("mg k9 v") == b"EN"


def test_dumps_know_what_is_on_flash(filled: Server) -> None:
    wanted = int(filled.stats()["curr_items"])
    with filled.connect() as connection:
        connection.send(b"lru_crawler metadump all\r\n")
        keys = set()
        while (line := connection.read_line()) != b"END\r\n":
            assert line.startswith(b"key=k")
            keys.add(line.split()[0])
    # The write-out goes on meanwhile, so some change places behind the dump's back.
    assert wanted * 0.97 < len(keys) <= ITEMS


def test_a_second_server_may_not_have_the_file(pymc: Program, tmp_path: Path) -> None:
    with Server(pymc, flash_args(tmp_path)), Server(pymc, flash_args(tmp_path), wait=False) as two:
        assert two.wait_exit() == 1
        wanted = f"Failed to initialize external storage: failed to open file: {tmp_path}/flash: "
        assert two.stderr.startswith(wanted)


def test_a_file_that_cannot_be_made(pymc: Program) -> None:
    args = ["-o", "ext_path=/proc/none/flash:64m"]
    with Server(pymc, args, wait=False) as server:
        assert server.wait_exit() == 1
        assert "failed to open file: /proc/none/flash: No such file" in server.stderr


def test_engine_of_threads(pymc: Program, tmp_path: Path) -> None:
    args = flash_args(tmp_path, ",ext_engine=threads,ext_threads=2,ext_io_depth=8")
    with Server(pymc, args) as server:
        fill(server, range(20_000))
        assert fetch_all(server, range(20_000)) > 14_000
        assert server.stats("settings")["ext_read_engine"] == "threads"
        assert int(server.stats()["get_extstore"]) > 5_000


def in_memory(server: Server) -> int:
    """Items in memory, as memcached's own tests count them."""
    return sum(int(text) for key, text in server.stats("items").items() if key.endswith(":number"))


def test_with_an_age_idle_items_leave_memory(pymc: Program, tmp_path: Path) -> None:
    numbers = range(2000)
    with Server(pymc, flash_args(tmp_path)) as server:
        with server.connect() as connection:
            for number in numbers:
                connection.store(f"k{number}", value(number))
            assert in_memory(server) == len(numbers)
            assert connection.ask("extstore item_age 2") == b"OK"
        wait_until(lambda: in_memory(server) == 0, "all have left memory")
        stats = server.stats()
        assert stats["evictions"] == "0" and stats["curr_items"] == str(len(numbers))
        assert fetch_all(server, numbers) == len(numbers)
        assert server.stats()["get_extstore"] == str(len(numbers))
