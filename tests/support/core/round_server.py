"""An engine on a loopback port that serves one round at a time and logs into a pipe."""

import os
import select
import socket

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, Cache
from tests.support.core.listening import PLAIN_TCP

CONNECTIONS_MAX = 16


class Server:
    """An engine on a loopback port that serves one round at a time and logs into a pipe."""

    def __init__(self, **live: int) -> None:
        more = lib.server_reserve_bytes(1, CONNECTIONS_MAX)
        self.cache = Cache(limit_bytes=4 * MIB, reserve_bytes_more=more, live=live)
        assert lib.server_create(self.cache.arena, 1, CONNECTIONS_MAX) == 0
        self.store = self.cache.open()
        self.log_fd, log_end = os.pipe()
        options = ffi.new("struct engine_options *")
        options.workers = 1
        options.inbox_fd = -1
        options.log_fd = log_end
        out = ffi.new("struct engine **")
        assert lib.engine_open(self.store.store, options, out) == 0
        self.engine = out[0]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        assert lib.engine_listen(self.engine, self.listener.fileno(), PLAIN_TCP) == 0
        self.clients: list[socket.socket] = []
        self._log_end = log_end

    def close(self) -> None:
        lib.engine_close(self.engine)
        for client in self.clients:
            client.close()
        self.listener.close()
        os.close(self.log_fd)
        os.close(self._log_end)
        self.cache.close()

    def client(self) -> socket.socket:
        """One that the engine knows and has nothing to do for."""
        made = socket.create_connection(self.listener.getsockname())
        self.clients.append(made)
        before = self.store.counters()["total_connections"]
        while self.store.counters()["total_connections"] == before:
            self.turn()
        return made

    def turn(self) -> None:
        """One round, once there is something to do."""
        lib.engine_stay(self.engine, 0, 0)

    def serve_until_closed(self, client: socket.socket) -> bytes:
        received = b""
        client.setblocking(False)
        while True:
            lib.engine_stay(self.engine, 0, 0)
            if select.select([client], [], [], 0)[0]:
                try:
                    piece = client.recv(4096)
                except ConnectionResetError:
                    return received
                if not piece:
                    return received
                received += piece

    def counter(self, name: str) -> int:
        return self.store.counters()[name]

    def said(self) -> bytes:
        lib.engine_tick(self.engine)
        ready = select.select([self.log_fd], [], [], 0)[0]
        return os.read(self.log_fd, 65536) if ready else b""
