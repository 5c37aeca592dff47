"""`stats sizes`, `cachedump`, `detail` and `conns`."""

import re
import socket

import pytest

from pymc.core.snapshots import read_class, read_slab
from pymc.stats import walks
from pymc.stats.connections import shown_address
from pymc.stats.walks import CACHEDUMP_BYTES_MAX
from tests.support.inprocess import in_process


def test_sizes_only_with_track_sizes() -> None:
    with in_process() as server:
        assert server.ask("stats sizes") == b"STAT sizes_status disabled\r\nEND\r\n"


def test_sizes_in_steps_of_32() -> None:
    with in_process(["-o", "track_sizes"]) as server:
        server.fill("small", 7, 10)
        server.fill("large", 3, 1000)
        lines = server.ask("stats sizes").decode().split("\r\n")[:-2]
        found = {int(line.split()[1]): int(line.split()[2]) for line in lines}
        assert sorted(found.values()) == [3, 7]
        assert all(size % 32 == 0 for size in found)
        assert min(found) == 32
        assert max(found) in (1024, 1056)


def test_cachedump_stops_at_its_limits() -> None:
    with in_process() as server:
        server.fill("k", 60_000, 50)
        for limit in (1, 10, 5000):
            assert server.ask(f"stats cachedump {class_of(server.ask)} {limit}").count(b"ITEM") == (
                limit
            )
        everything = server.ask(f"stats cachedump {class_of(server.ask)} 0")
        assert len(everything) <= CACHEDUMP_BYTES_MAX + len(b"END\r\n")


def keys_of(answer: bytes) -> list[str]:
    assert answer.endswith(b"END\r\n")
    return [line.split()[1] for line in answer.decode().split("\r\n")[:-2]]


def test_who_asks_for_memcached_s_classes_finds_every_key() -> None:
    with in_process() as server:
        sizes = [10, 300, 1000, 1001, 5000, 100_000, 800_000]
        for size in sizes:
            server.fill(f"k{size}_", 2, size)
        stored = sorted(f"k{size}_{number}" for size in sizes for number in range(2))
        # memcdump, and scripts that know how many classes memcached can have.
        blind = [
            key
            for number in range(1, 64)
            for key in keys_of(server.ask(f"stats cachedump {number} 0"))
        ]
        assert sorted(blind) == stored
        # Tools that ask for what `stats items` shows.
        shown = sorted({int(n) for n in re.findall(rb"items:(\d+):", server.ask("stats items"))})
        assert shown[-1] > 63
        named = [
            key for number in shown for key in keys_of(server.ask(f"stats cachedump {number} 0"))
        ]
        assert sorted(named) == stored
        # The highest number that is not shown stands for all of the others.
        assert 63 not in shown
        # (A value in parts counts where the chunk is that lists them.)
        assert len(keys_of(server.ask("stats cachedump 63 0"))) == 8
        assert len(keys_of(server.ask("stats cachedump 63 3"))) == 3
        assert keys_of(server.ask("stats cachedump 62 0")) == []


def test_where_all_of_memcached_s_classes_are_in_use_the_last_one_has_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with in_process() as server:
        server.fill("small", 2, 10)
        server.fill("large", 2, 5000)
        monkeypatch.setattr(walks, "has_items", lambda store, class_id: True)
        answers = [keys_of(server.ask(f"stats cachedump {number} 0")) for number in range(1, 64)]
        assert answers[-1] == ["large1", "large0"]
        assert [key for answer in answers[:-1] for key in answer] == ["small1", "small0"]


def test_the_last_class_has_a_dump_and_the_next_one_is_none() -> None:
    with in_process(["-f", "1.5"]) as server:
        last = read_slab(server.store).classes
        chunk_bytes = read_class(server.store, last).chunk_bytes
        server.fill("last", 1, chunk_bytes - 100)
        assert keys_of(server.ask(f"stats cachedump {last} 0")) == ["last0"]
        assert server.ask(f"stats cachedump {last + 1} 0") == b"CLIENT_ERROR Illegal slab id\r\n"


def test_few_classes_need_no_number_for_more() -> None:
    with in_process(["-f", "1.5"]) as server:
        server.fill("k", 2, 5000)
        answers = [server.ask(f"stats cachedump {number} 0") for number in range(1, 20)]
        assert sorted(key for answer in answers for key in keys_of(answer)) == ["k0", "k1"]


def class_of(ask: object) -> int:
    assert callable(ask)
    return int(bytes(ask("stats slabs")).split(b" ")[1].split(b":")[0])


def test_sizes_come_in_steps() -> None:
    with in_process(["-o", "track_sizes"]) as server:
        server.fill("k", 20_000, 10)
        assert len(server.parts("stats sizes")) > 2


def test_detail_is_empty_after_a_reset() -> None:
    with in_process(["-D", "."]) as server:
        assert server.context.arena.live("prefix_delimiter") == ord(".")
        assert server.context.arena.live("detail_enabled") == 1
        server.ask("stats reset")
        assert server.ask("stats detail dump") == b"END\r\n"


def test_no_connections_but_the_end() -> None:
    with in_process() as server:
        assert server.ask("stats conns") == b"END\r\n"


@pytest.mark.parametrize(
    ("host", "port", "family", "text"),
    [
        ("127.0.0.1", 11211, socket.AF_INET, "tcp:127.0.0.1:11211"),
        ("::", 1, socket.AF_INET6, "tcp6:[::]:1"),
        ("fe80::1", 9, socket.AF_UNSPEC, "tcp6:[fe80::1]:9"),
    ],
)
def test_addresses(host: str, port: int, family: int, text: str) -> None:
    assert shown_address(host, port, family) == text
