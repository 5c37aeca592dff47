"""The engine's wait for clients: what ends it, what it serves meanwhile, and what it gives back."""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, Cache, Handle
from tests.support.core.listening import PLAIN_TCP
from tests.support.deadline import WAIT_SECONDS, wait_until

CONNECTIONS_MAX = 256
# Long enough to fail by the suite's time limit: what is tested ends the wait, time does not.
FOR_EVER_MS = 600_000


class Worker:
    """One engine of a server, with an inbox."""

    def __init__(
        self, cache: Cache, number: int, inboxes: Sequence[tuple[socket.socket, ...]]
    ) -> None:
        self.handle: Handle = cache.open(number)
        peers = ffi.new("int[]", [writer.fileno() for _, writer in inboxes])
        options = ffi.new("struct engine_options *")
        options.worker, options.workers = number, len(inboxes)
        options.inbox_fd, options.peer_fds = inboxes[number][0].fileno(), peers
        out = ffi.new("struct engine **")
        assert lib.engine_open(self.handle.store, options, out) == 0
        self.engine = out[0]
        self.read_fd, self.write_fd = os.pipe()
        assert lib.engine_watch(self.engine, self.read_fd) == 0
        self.found: list[int] = []
        self.thread: threading.Thread | None = None

    def stay(self, milliseconds: int = 0, quiet_milliseconds: int = FOR_EVER_MS) -> int:
        return int(lib.engine_stay(self.engine, quiet_milliseconds, milliseconds))

    def begin(self) -> None:
        """Waits in a thread of its own until call() or somebody else ends it."""
        self.thread = threading.Thread(target=lambda: self.found.append(self.stay(FOR_EVER_MS)))
        self.thread.start()

    def end(self) -> int:
        assert self.thread
        self.thread.join(WAIT_SECONDS)
        assert not self.thread.is_alive()
        self.thread = None
        return self.found.pop()

    def call(self) -> None:
        os.write(self.write_fd, b"x")

    def close(self) -> None:
        if self.thread:
            self.call()
            self.end()
        lib.engine_close(self.engine)
        os.close(self.read_fd)
        os.close(self.write_fd)


class Cluster:
    """Workers that share a cache; only the first one listens."""

    def __init__(self, workers: int) -> None:
        self.stack = ExitStack()
        more = lib.server_reserve_bytes(workers, CONNECTIONS_MAX)
        self.cache = Cache(limit_bytes=64 * MIB, reserve_bytes_more=more)
        self.stack.callback(self.cache.close)
        assert lib.server_create(self.cache.arena, workers, CONNECTIONS_MAX) == 0
        self.inboxes = [self._inbox() for _ in range(workers)]
        self.workers = []
        for number in range(workers):
            worker = Worker(self.cache, number, self.inboxes)
            self.stack.callback(worker.close)
            self.workers.append(worker)
        self.listener = self.stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=256)
        )
        self.listener.setblocking(False)
        first = self.workers[0].engine
        assert lib.engine_listen(first, self.listener.fileno(), PLAIN_TCP) == 0

    def _inbox(self) -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in pair:
            end.setblocking(False)
            self.stack.enter_context(end)
        return pair

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.listener.getsockname(), WAIT_SECONDS)
        return self.stack.enter_context(client)

    def peers(self) -> set[tuple[bytes, int]]:
        found = ffi.new("struct connection_record[]", CONNECTIONS_MAX)
        first = ffi.new("uint32_t *")
        count = lib.server_connections_read(self.cache.arena, first, found, CONNECTIONS_MAX)
        return {(bytes(found[i].address[0:4]), found[i].port) for i in range(count)}

    def loads(self) -> list[int]:
        counts = ffi.new("uint32_t[]", len(self.workers))
        lib.server_loads_read(self.cache.arena, counts)
        return list(counts)


@pytest.fixture
def make() -> Iterator[Callable[[int], Cluster]]:
    with ExitStack() as stack:

        def made(workers: int) -> Cluster:
            cluster = Cluster(workers)
            stack.callback(cluster.stack.close)
            return cluster

        yield made


def ask(client: socket.socket, line: bytes) -> bytes:
    client.sendall(line)
    return client.recv(4096)


def test_it_comes_back_when_the_time_is_over(make: Callable[[int], Cluster]) -> None:
    worker = make(1).workers[0]
    assert worker.stay(0) == 0
    assert worker.stay(5) == 0
    assert worker.stay(FOR_EVER_MS, quiet_milliseconds=5) == 0


def test_clients_are_served_while_it_waits(make: Callable[[int], Cluster]) -> None:
    cluster = make(1)
    worker = cluster.workers[0]
    worker.begin()
    client = cluster.connect()
    assert ask(client, b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n"
    assert ask(client, b"get k\r\n") == b"VALUE k 0 1\r\nv\r\nEND\r\n"
    worker.call()
    assert worker.end() == lib.ENGINE_WATCHED
    # As long as nobody reads from the descriptor.
    assert worker.stay(FOR_EVER_MS) == lib.ENGINE_WATCHED
    os.read(worker.read_fd, 1)
    assert worker.stay(0) == 0


def test_a_command_for_python_ends_it(make: Callable[[int], Cluster]) -> None:
    cluster = make(1)
    worker = cluster.workers[0]
    worker.begin()
    client = cluster.connect()
    client.sendall(b"stats\r\n")
    assert worker.end() == lib.ENGINE_REQUESTS
    # While nobody answers it, others are served all the same.
    other = cluster.connect()
    other.sendall(b"get k\r\n")
    other.setblocking(False)
    answer = b""
    while not answer:
        assert worker.stay(FOR_EVER_MS) == lib.ENGINE_REQUESTS
        try:
            answer = other.recv(100)
        except BlockingIOError:
            continue
    assert answer == b"END\r\n"
    assert worker.stay(FOR_EVER_MS) == lib.ENGINE_REQUESTS
    request = ffi.new("struct conn_request *")
    assert lib.engine_next_request(worker.engine, request)
    assert lib.engine_reply(worker.engine, request.connection, b"END\r\n", 5, lib.CONN_ANSWER_DONE)
    assert client.recv(100) == b"END\r\n"
    assert worker.stay(0) == 0


def test_more_input_than_one_look_takes_is_not_waited_for(make: Callable[[int], Cluster]) -> None:
    cluster = make(1)
    worker = cluster.workers[0]
    client = cluster.connect()
    worker.stay(0)
    asked = 20_000
    worker.begin()
    reader = threading.Thread(target=client.sendall, args=(b"get nothing\r\n" * asked,))
    reader.start()
    got = 0
    while got < asked * 5:
        got += len(client.recv(1 << 20))
    reader.join()
    assert got == asked * 5


def test_handed_over_connections_are_served_while_it_waits(make: Callable[[int], Cluster]) -> None:
    cluster = make(2)
    for worker in cluster.workers:
        worker.begin()
    clients = [cluster.connect() for _ in range(60)]
    for client in clients:
        assert ask(client, b"get k\r\n") == b"END\r\n"
    assert cluster.loads() == [30, 30]
    assert cluster.peers() == {
        (bytes([127, 0, 0, 1]), client.getsockname()[1]) for client in clients
    }
    for client in clients:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    for worker in cluster.workers:
        worker.call()
        assert worker.end() == lib.ENGINE_WATCHED
    assert cluster.loads() == [0, 0]
    assert not cluster.peers()


def test_its_magazines_are_there_for_others_while_it_waits(make: Callable[[int], Cluster]) -> None:
    cluster = make(1)
    worker, other = cluster.workers[0], cluster.cache.open(1)
    worker.begin()
    client = cluster.connect()
    for number in range(40):
        assert ask(client, b"set %d 0 0 900\r\n%s\r\n" % (number, b"x" * 900)) == b"STORED\r\n"
    for number in range(0, 40, 2):
        assert ask(client, b"delete %d\r\n" % number) == b"DELETED\r\n"
    class_id = other.class_for(1024)
    assert other.slab_class(class_id).magazine_chunks > 0
    move = other.move_begin(class_id, other.class_for(256))
    # The reply is sent before the worker waits again: a first step may come too early for that.
    wait_until(lambda: other.move_step(move), "the chunks in its magazines")
    assert ask(client, b"get 1\r\n") == b"VALUE 1 0 900\r\n" + b"x" * 900 + b"\r\nEND\r\n"
    assert ask(client, b"get 0\r\n") == b"END\r\n"
