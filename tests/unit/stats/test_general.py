"""`stats`: keys, order and form, compared with what the newest memcached prints."""

import re

import pytest

from pymc import VERSION
from pymc.core.meter import COUNTER_NAMES
from pymc.core.store import Store
from pymc.stats.cpu_times import read_cpu_times
from pymc.stats.lines import stat_reply
from tests.support.inprocess import in_process
from tests.support.programs import Program
from tests.support.server import Server
from tests.support.stats_keys import PROXY, keys


@pytest.mark.parametrize(
    "args",
    [[], ["-o", "idle_timeout=9"], ["-o", "no_modern"], ["-o", "no_lru_crawler,no_maxconns_fast"]],
)
@pytest.mark.parametrize("sub", ["", "items", "slabs"])
def test_keys_are_memcacheds(newest_oracle: Program, args: list[str], sub: str) -> None:
    with Server(newest_oracle, args) as memcached, memcached.connect() as connection:
        assert connection.ask("set key 0 0 1\r\nx") == b"STORED"
        theirs = [key for key in connection.stats(sub) if not PROXY.match(key)]
    with in_process(args) as server:
        server.fill("key", 1, 1)
        assert keys(server.ask(f"stats {sub}".strip())) == theirs


def test_fits_where_collectors_read_it() -> None:
    """collectd reads 4096 bytes; the numbers of a year do not make it longer."""
    with in_process(["-o", "idle_timeout=9"]) as server:
        for name in COUNTER_NAMES:
            server.store.count(name, 10**15)
        assert len(server.ask("stats")) < 4096


def test_values_have_memcacheds_form() -> None:
    with in_process(["-m", "100", "-c", "77"]) as server:
        server.fill("k", 5, 10)
        pairs = dict(
            line.split(" ")[1:3] for line in server.ask("stats").decode().split("\r\n")[:-2]
        )
        assert pairs["version"] == VERSION
        assert re.fullmatch(r"\d+\.\d{6}", pairs["rusage_user"])
        assert re.fullmatch(r"\d+\.\d{6}", pairs["rusage_system"])
        assert pairs["limit_maxbytes"] == str(100 << 20)
        assert pairs["max_connections"] == "77"
        assert pairs["threads"] == "2"
        assert pairs["curr_items"] == pairs["cmd_set"] == pairs["total_items"] == "5"
        assert pairs["hash_power_level"] == "16"
        assert pairs["accepting_conns"] == "1"


def test_reset_clears_counts_and_keeps_what_is_there() -> None:
    with in_process() as server:
        server.fill("k", 5, 10)
        assert server.ask("stats reset") == b"RESET\r\n"
        after = server.ask("stats")
        assert b"STAT cmd_set 0\r\n" in after
        assert b"STAT total_items 0\r\n" in after
        assert b"STAT curr_items 5\r\n" in after


def test_full_and_not_fast_means_not_accepting() -> None:
    with in_process(["-c", "5", "-o", "no_maxconns_fast"]) as server:
        server.store.count("curr_connections", 5)
        assert b"STAT accepting_conns 0\r\n" in server.ask("stats")


def test_own_keys_hold_no_colon() -> None:
    with in_process() as server:
        reply = server.ask("stats pymc")
        assert not [key for key in keys(reply) if ":" in key]
        wanted = {"worker_0_pid", "worker_1_restarts", "keeper_pid", "build_variant"}
        assert wanted <= set(keys(reply))


def test_cpu_times_of_nobody_are_nothing() -> None:
    times = read_cpu_times(0, [0])
    assert (times.user_seconds, times.system_seconds) == (0, 0)


def test_reply_form() -> None:
    assert stat_reply([("a", 1), ("b", "x y")]) == b"STAT a 1\r\nSTAT b x y\r\nEND\r\n"


def test_dead_owners_have_no_pid() -> None:
    with in_process() as server:
        assert server.context.living_pid(0) == server.context.supervisor_pid
        assert server.context.living_pid(1) == 0
        assert server.context.living_pids() == [server.context.supervisor_pid] * 2


def test_store_closes_twice() -> None:
    with in_process() as server:
        assert isinstance(server.store, Store)
        server.store.close()
