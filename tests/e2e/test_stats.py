"""What monitoring reads: the form of `stats`, the same from every worker, and real time."""

import re
import time

import pytest

from tests.support.connection import Connection
from tests.support.deadline import wait_until
from tests.support.programs import Program
from tests.support.server import Server

# collectd reads one reply into a buffer of this size.
REPLY_BYTES_MAX = 4096
# Of the keys that mtop wants before it starts; memcached_exporter wants most of them, too.
WANTED = """
    accepting_conns bytes bytes_read bytes_written cas_badval cas_hits cas_misses cmd_flush cmd_get
    cmd_set cmd_touch conn_yields connection_structures curr_connections curr_items decr_hits
    decr_misses delete_hits delete_misses evictions expired_unfetched get_expired get_flushed
    get_hits get_misses hash_bytes hash_is_expanding hash_power_level incr_hits incr_misses
    limit_maxbytes listen_disabled_num max_connections pid pointer_size reclaimed reserved_fds
    rusage_system rusage_user threads time total_connections total_items touch_hits touch_misses
    uptime version
"""


def raw(connection: Connection, command: str) -> bytes:
    connection.send(command.encode() + b"\r\n")
    reply = b""
    while not reply.endswith(b"END\r\n"):
        reply += connection.read_line()
    return reply


def busy(server: Server) -> None:
    with server.connect() as connection:
        for number in range(100):
            assert connection.store(f"key{number}", b"x" * number * 50) == b"STORED"
            assert connection.fetch(f"key{number}") is not None


def test_form_of_stats(server: Server) -> None:
    busy(server)
    with server.connect() as connection:
        reply = raw(connection, "stats")
        assert len(reply) < REPLY_BYTES_MAX
        lines = reply.decode().split("\r\n")
        assert lines[-2:] == ["END", ""]
        for line in lines[:-2]:
            assert re.fullmatch(r"STAT [a-z_]+ \S+", line), line
        stats = connection.stats()
        assert sorted(set(WANTED.split()) - set(stats)) == []
        for key in ("rusage_user", "rusage_system"):
            assert re.fullmatch(r"\d+\.\d{6}", stats[key])
        words = {"version", "libevent", "rusage_user", "rusage_system"}
        assert all(re.fullmatch(r"\d+", value) for key, value in stats.items() if key not in words)


@pytest.mark.parametrize("sub", ["settings", "items", "slabs", "conns", "pymc"])
def test_form_of_other_stats(server: Server, sub: str) -> None:
    busy(server)
    with server.connect() as connection:
        for line in raw(connection, f"stats {sub}").decode().split("\r\n")[:-2]:
            assert re.fullmatch(r"STAT \S+ \S.*", line), line


def test_keys_of_stats_are_those_of_memcached(server: Server, newest_oracle: Program) -> None:
    busy(server)
    with Server(newest_oracle, ["-t", "2"]) as other:
        busy(other)
        assert list(server.stats()) == list(other.stats())
        for sub in ("items", "slabs"):
            mine, theirs = (
                {key.rpartition(":")[2]: None for key in each.stats(sub)}
                for each in (server, other)
            )
            assert list(mine) == list(theirs)


def test_stats_are_those_of_the_whole_server(pymc: Program) -> None:
    with Server(pymc, ["-t", "4"]) as server:
        clients = [server.connect() for _ in range(12)]
        try:
            for number, client in enumerate(clients):
                assert client.store(f"key{number}", b"x") == b"STORED"
            replies = [client.stats() for client in clients]
            for key in ("cmd_set", "curr_items", "total_items", "curr_connections", "threads"):
                assert len({reply[key] for reply in replies}) == 1, key
            assert replies[0]["cmd_set"] == "12"
            assert replies[0]["curr_connections"] == "12"
            assert len({tuple(reply) for reply in replies}) == 1
            assert len({tuple(client.stats("settings").items()) for client in clients}) == 1
        finally:
            for client in clients:
                client.close()


def test_stats_conns_lists_connections_of_all_workers(pymc: Program) -> None:
    with Server(pymc, ["-t", "4"]) as server:
        clients = [server.connect() for _ in range(12)]
        try:
            assert all(client.ask("mn") == b"MN" for client in clients)
            ports = {str(client.socket.getsockname()[1]) for client in clients}
            listed = clients[0].stats("conns")
            addresses = [value for key, value in listed.items() if key.endswith(":addr")]
            assert ports <= {address.rpartition(":")[2] for address in addresses}
            # No number twice: a dictionary would have lost the others.
            assert len(addresses) >= len(clients) + 1
        finally:
            for client in clients:
                client.close()


def test_time_is_the_time(server: Server) -> None:
    stats = server.stats()
    assert abs(int(stats["time"]) - time.time()) < 5
    assert 0 <= int(stats["uptime"]) < 60


def test_absolute_expiry_times(server: Server) -> None:
    with server.connect() as connection:
        now = int(connection.stats()["time"])
        for offset in (100, 3_000_000, -100):
            assert connection.store(f"a{offset}", b"x", rest=f"0 {now + offset}") == b"STORED"
        for offset in (100, 3_000_000):
            answer = connection.ask(f"mg a{offset} t")
            left = int(answer.removeprefix(b"HD t"))
            assert offset - 60 < left <= offset + 1
        assert connection.fetch("a-100") is None


@pytest.mark.slow
def test_time_passes(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server:
        clients = [server.connect() for _ in range(4)]
        try:
            assert clients[0].store("a", b"x", rest="0 2") == b"STORED"
            assert [client.fetch("a") for client in clients] == [b"x"] * 4
            wait_until(lambda: clients[0].fetch("a") is None, "the item is over")
            wait_until(lambda: not any(c.fetch("a") for c in clients), "it is over for all")
            started = int(clients[0].stats()["uptime"])
            wait_until(lambda: int(clients[-1].stats()["uptime"]) > started, "uptime rises")
        finally:
            for client in clients:
                client.close()
