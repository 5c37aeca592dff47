"""What stands behind each key: the value that belongs there and no other one."""

from pathlib import Path

import pytest

from pymc.core.arena import Note
from pymc.core.meter import COUNTER_NAMES
from pymc.core.snapshots import IndexSnapshot
from pymc.stats import general
from pymc.stats.described import describe
from tests.support.certificate_files import CertificateFiles
from tests.support.inprocess import InProcess, in_process

FLASH = "ext_page_size=4,ext_wbuf_size=2,ext_path={}/flash:16m"


def shown(server: InProcess, command: str) -> dict[str, str]:
    lines = server.ask(command).decode().split("\r\n")[:-2]
    return dict(line.split(" ", 2)[1:] for line in lines)


@pytest.mark.parametrize("report", ["stats", "extstore", "tls", "pymc"])
def test_every_counter_stands_at_its_key(tmp_path: Path, report: str) -> None:
    tmp_path.chmod(0o777)
    args = ["-o", f"idle_timeout=9,{FLASH.format(tmp_path)}"]
    args += ["-p", "1", "-Z", "-o", f"ssl_session_cache,{CertificateFiles(tmp_path).options}"]
    with in_process(args) as server:
        for number, name in enumerate(COUNTER_NAMES):
            server.store.count(name, 70_000 + number)
        values = shown(server, report if report == "stats" else f"stats {report}")
    lines = [line for line in describe() if line.report == report]
    wanted = {
        line.key.format(worker=0): str(70_000 + COUNTER_NAMES.index(line.counter))
        for line in lines
        if line.counter in COUNTER_NAMES
    }
    assert len(wanted) > 20
    assert {key: values[key] for key in wanted} == wanted


def test_what_is_made_of_the_counters_of_classes() -> None:
    with in_process() as server:
        server.fill("small", 5, 10)
        server.fill("large", 3, 5000)
        values = shown(server, "stats")
        assert values["cmd_set"] == "8"
        assert (values["curr_items"], values["total_items"]) == ("8", "8")
        slabs = shown(server, "stats slabs")
        sets = [value for key, value in slabs.items() if key.endswith(":cmd_set")]
        assert sorted(sets) == ["3", "5"]
        assert (slabs["active_slabs"], slabs["total_malloced"]) == ("2", str(2 << 20))
        items = shown(server, "stats items")
        requested = [int(value) for key, value in items.items() if key.endswith("mem_requested")]
        assert sum(requested) == int(values["bytes"])
        numbers = [value for key, value in items.items() if key.endswith(":number")]
        assert sorted(numbers) == ["3", "5"]


def test_hits_are_those_of_all_queues() -> None:
    counters = {"hits_to_hot": 1, "hits_to_warm": 20, "hits_to_cold": 300, "hits_to_temp": 4000}
    assert general.hits(counters) == 4321


def test_chunks_of_a_class_add_up() -> None:
    with in_process() as server:
        server.fill("k", 7, 100)
        values = {
            key.partition(":")[2]: int(value)
            for key, value in shown(server, "stats slabs").items()
            if ":" in key
        }
        assert values["total_pages"] == 1
        assert (
            values["total_chunks"] == values["chunks_per_page"] == (1 << 20) // values["chunk_size"]
        )
        assert values["used_chunks"] == 7
        assert values["free_chunks"] == values["total_chunks"] - 7


@pytest.mark.parametrize(
    ("buckets", "power"),
    [(1 << 13, 16), (3 << 12, 16), ((1 << 14) - 1, 16), (1 << 14, 17), (1 << 17, 20)],
)
def test_the_index_is_as_large_as_hashpower_says(buckets: int, power: int) -> None:
    """hashpower=20 begins with 2^17 buckets; in between the lower one is shown."""
    index = IndexSnapshot(buckets=buckets, overflow_buckets=0, entries=0, bytes=77)
    assert general._index_values(index) == {"hash_power_level": power, "hash_bytes": 77}


@pytest.mark.parametrize("power", [16, 18, 20])
def test_hashpower_is_shown_as_it_was_given(power: int) -> None:
    with in_process(["-m", "1024", "-o", f"hashpower={power}"]) as server:
        assert shown(server, "stats")["hash_power_level"] == str(power)


@pytest.mark.parametrize(
    ("option", "connections", "accepting"),
    [
        ("maxconns_fast", 4, "1"),
        ("maxconns_fast", 5, "1"),
        ("maxconns_fast", 6, "1"),
        ("no_maxconns_fast", 4, "1"),
        ("no_maxconns_fast", 5, "0"),
        ("no_maxconns_fast", 6, "0"),
    ],
)
def test_who_accepts_connections(option: str, connections: int, accepting: str) -> None:
    """With maxconns_fast too many are accepted all the same, to be told so."""
    with in_process(["-c", "5", "-o", option]) as server:
        server.store.count("curr_connections", connections)
        values = shown(server, "stats")
        assert values["accepting_conns"] == accepting
        assert values["curr_connections"] == str(connections)
        assert (values["max_connections"], values["connection_structures"]) == (
            "5",
            str(connections),
        )


def test_what_runs_in_the_background() -> None:
    with in_process() as server:
        arena = server.context.arena
        for running in (0, 1, 2):
            arena.set_note(Note.CRAWLER, running)
            arena.set_note(Note.SLAB_MOVE, int(running > 0))
            values = shown(server, "stats")
            assert values["lru_crawler_running"] == str(int(running > 0))
            assert values["slab_reassign_running"] == str(int(running > 0))


def test_what_the_settings_say() -> None:
    with in_process(["-m", "100", "-c", "77", "-t", "3"]) as server:
        values = shown(server, "stats")
        assert values["limit_maxbytes"] == str(100 << 20)
        assert (values["max_connections"], values["threads"]) == ("77", "3")
        assert values["reserved_fds"] == "15"
        assert (values["pointer_size"], values["hash_is_expanding"]) == ("64", "0")
        now = server.context.arena.seconds()
        assert int(values["uptime"]) in (now - 1, now)
        epoch = server.context.arena.epoch_unix_seconds
        assert int(values["time"]) - int(values["uptime"]) == epoch


def test_what_the_processes_say() -> None:
    with in_process() as server:
        arena = server.context.arena
        server.store.count("lock_longest_wait_us", 5)
        values = shown(server, "stats pymc")
        assert values["lock_longest_wait_us"] == "5"
        assert values["processes_late"] == "0"
        arena.set_late(1, True)
        arena.set_late(server.context.keeper_slots.start, True)
        assert shown(server, "stats pymc")["processes_late"] == "2"
        assert (values["worker_0_restarts"], values["worker_1_restarts"]) == ("0", "0")
