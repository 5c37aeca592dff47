"""Clients that watch a whole server: several workers, deaths, watchers that do not read."""

import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.connection import Connection
from tests.support.deadline import WAIT_SECONDS, wait_until
from tests.support.programs import Program
from tests.support.server import Server
from tests.support.watching import fields, watching


class Watched:
    """A server, and clients of it that are closed at the end."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack

    def client(self) -> Connection:
        return self._stack.enter_context(self.server.connect())

    def watch(self, *streams: str) -> Connection:
        client = self.client()
        watching(client, *streams)
        return client


@pytest.fixture
def watched(pymc: Program, request: pytest.FixtureRequest) -> Iterator[Watched]:
    args = request.param if hasattr(request, "param") else ["-t", "2"]
    with Server(pymc, args) as server, ExitStack() as stack:
        yield Watched(server, stack)


def read_until(watcher: Connection, key: bytes) -> list[dict[bytes, bytes]]:
    """All lines up to the first about this key."""
    found: list[dict[bytes, bytes]] = []
    while not found or found[-1].get(b"key") != key:
        found.append(fields(watcher.read_line()))
    return found


@pytest.mark.parametrize("watched", [["-t", "4"]], indirect=True)
def test_all_workers_are_one_stream(watched: Watched) -> None:
    watcher = watched.watch("fetchers")
    clients = [watched.client() for _ in range(12)]
    for number in range(30):
        for i, client in enumerate(clients):
            assert client.fetch(f"k{i}.{number}") is None
    lines = read_until(watcher, b"k11.29")
    assert [line[b"key"] for line in lines] == [
        b"k%d.%d" % (i, number) for number in range(30) for i in range(12)
    ]
    numbers = [int(line[b"gid"]) for line in lines]
    assert numbers == sorted(set(numbers))
    # More than one worker, and each client under the number that `stats conns` has.
    ids = {key.partition(":")[0] for key in clients[0].stats("conns")}
    assert {line[b"cfd"].decode() for line in lines} <= ids
    assert len({line[b"cfd"] for line in lines}) == 12
    stats = clients[0].stats()
    assert int(stats["log_watcher_sent"]) == len(lines)
    assert (stats["log_watchers"], stats["log_watcher_skipped"]) == ("1", "0")


def test_a_watcher_of_a_worker_that_dies(watched: Watched) -> None:
    """Who else watches is told on; the dead worker's watchers count no more."""
    server = watched.server
    watchers = [watched.watch("fetchers") for _ in range(8)]
    pid = server.worker_pids()[0]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "it is gone")
    gone = [w for w in watchers if _has_ended(w)]
    stay = [w for w in watchers if w not in gone]
    assert gone and stay
    wait_until(lambda: server.stats()["log_watchers"] == str(len(stay)), "the dead are not counted")
    with server.connect() as client:
        for number in range(10):
            assert client.fetch(f"k{number}") is None
    for watcher in stay:
        assert len(read_until(watcher, b"k9")) == 10
    more = [watched.watch("fetchers") for _ in range(20 - len(stay))]
    with server.connect() as client:
        assert client.ask("watch") == b"WATCHER_TOO_MANY log watcher limit reached"
    for watcher in (*stay, *more):
        watcher.close()
    wait_until(lambda: server.stats()["log_watchers"] == "0", "all are gone")


def _has_ended(watcher: Connection) -> bool:
    """Whether its worker was the dead one, which has closed all that it had by now."""
    watcher.socket.setblocking(False)
    try:
        return watcher.socket.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        watcher.socket.settimeout(WAIT_SECONDS)


def _pour(server: Server, times: int) -> None:
    with server.connect() as client:
        for _ in range(times):
            client.send(b"get some_key_that_is_not_there\r\n" * 1000)
            client.read_exactly(5 * 1000)


@pytest.mark.parametrize("watched", [["-t", "1"]], indirect=True)
@pytest.mark.timeout(300)
def test_a_watcher_that_does_not_read(watched: Watched) -> None:
    """A million events: requests go on, memory stays, and the watcher is told what it missed."""
    server = watched.server
    lagging = watched.watch("fetchers")
    _pour(server, 100)
    before = _memory(server)
    _pour(server, 900)
    assert _memory(server) - before < 2 << 20
    stats = server.stats()
    assert int(stats["log_worker_written"]) == 1_000_000
    # What the kernel took for it, what waits here, what was missed: it all adds up.
    with server.connect() as client:
        client.fetch("last")
    seen = missed = 0
    while True:
        line = lagging.read_line()
        if line.startswith(b"skipped="):
            missed += int(line[8:])
            continue
        seen += 1
        if fields(line)[b"key"] == b"last":
            break
    assert missed > 0
    assert seen + missed == 1_000_001


def _memory(server: Server) -> int:
    return sum(process.memory_info().rss for process in server.children())


@pytest.mark.timeout(300)
def test_reset_under_load_and_again(watched: Watched) -> None:
    server = watched.server
    for _ in range(30):
        lagging = watched.watch("fetchers", "mutations", "errors", "connevents")
        _pour(server, 5)
        lagging.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        lagging.close()
    wait_until(lambda: server.stats()["log_watchers"] == "0", "all are let go")
    written = int(server.stats()["log_worker_written"])
    _pour(server, 5)
    assert int(server.stats()["log_worker_written"]) == written
    watcher = watched.watch("fetchers")
    with server.connect() as client:
        client.fetch("again")
    assert len(read_until(watcher, b"again")) == 1


@pytest.mark.parametrize("watched", [["-t", "1", "-o", "idle_timeout=1"]], indirect=True)
def test_what_closes_a_connection(watched: Watched) -> None:
    server = watched.server
    watcher = watched.watch("connevents")
    idle = watched.client()
    assert idle.ask("mn") == b"MN"
    with server.connect() as broken:
        broken.ask("mn")
        broken.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    lines = [fields(watcher.read_line()) for _ in range(4)]
    assert [line[b"type"] for line in lines] == [b"conn_new"] * 2 + [b"conn_close"] * 2
    assert [line.get(b"reason") for line in lines[2:]] == [b"error", b"idle_timeout"]
    assert lines[0][b"cfd"] == lines[3][b"cfd"]
    assert int(lines[0][b"rport"]) == idle.socket.getsockname()[1]


def test_refused_by_a_flag(pymc: Program) -> None:
    with Server(pymc, ["-W"]) as server, server.connect() as client:
        assert client.ask("watch") == b"CLIENT_ERROR watch commands not allowed"


@pytest.mark.parametrize("watched", [["-t", "1"]], indirect=True)
def test_a_burst_that_is_larger_than_a_ring(watched: Watched) -> None:
    """All of it is seen, since the worker looks at its ring in the middle of a pipeline."""
    watcher = watched.watch("fetchers")
    client = watched.client()
    for turn in range(10):
        keys = [b"a_key_of_some_length.%d.%d" % (turn, number) for number in range(2000)]
        client.send(b"".join(b"get %s\r\n" % key for key in keys))
        assert client.read_exactly(5 * len(keys)) == b"END\r\n" * len(keys)
        assert [fields(watcher.read_line()).get(b"key") for _ in keys] == keys
    stats = client.stats()
    assert (stats["log_worker_dropped"], stats["log_watcher_skipped"]) == ("0", "0")
