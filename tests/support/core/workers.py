"""Engines that share an arena, in one process: the first accepts and hands over."""

import select
import socket
from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import Handle
from tests.support.core.listening import PLAIN_TCP
from tests.support.core.watch_rig import WatchedCache

CONNECTIONS_MAX = 64
WORKERS = 2


class Workers:
    """Two engines in one process; the first one accepts."""

    def __init__(self) -> None:
        more = lib.server_reserve_bytes(WORKERS, CONNECTIONS_MAX)
        self.cache = WatchedCache(reserve_bytes_more=more)
        assert lib.server_create(self.cache.arena, WORKERS, CONNECTIONS_MAX) == 0
        self.inboxes = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in "ab"]
        self.stores: list[Handle] = []
        self.engines: list[Any] = []
        for worker in range(WORKERS):
            self.start(worker)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        assert lib.engine_listen(self.engines[0], self.listener.fileno(), PLAIN_TCP) == 0
        self.clients: list[socket.socket] = []

    def start(self, worker: int) -> None:
        store = self.cache.open(worker)
        options = ffi.new("struct engine_options *")
        peers = ffi.new("int[]", [writer.fileno() for _, writer in self.inboxes])
        options.worker, options.workers = worker, WORKERS
        options.inbox_fd = self.inboxes[worker][0].fileno()
        options.peer_fds = peers
        out = ffi.new("struct engine **")
        assert lib.engine_open(store.store, options, out) == 0
        self.stores.append(store)
        self.engines.append(out[0])

    def close(self) -> None:
        for engine in self.engines:
            lib.engine_close(engine)
        for client in (*self.clients, *sum(self.inboxes, ()), self.listener):
            client.close()
        self.cache.close()

    def connect(self, count: int) -> None:
        for _ in range(count):
            self.clients.append(socket.create_connection(self.listener.getsockname()))
        self.serve(0)

    def serve(self, worker: int) -> None:
        """Turns until nothing is ready any more."""
        fd = lib.engine_fd(self.engines[worker])
        while select.select([fd], [], [], 0.02)[0]:
            lib.engine_turn(self.engines[worker])

    @property
    def loads(self) -> list[int]:
        out = ffi.new("uint32_t[]", WORKERS)
        lib.server_loads_read(self.cache.arena, out)
        return list(out)

    def count(self, name: str) -> int:
        return self.stores[0].counters()[name]

    def beats(self, worker: int) -> int:
        out = ffi.new("struct proc_pulse *")
        lib.proc_read_pulse(self.cache.arena, worker, out)
        return int(out.beats)
