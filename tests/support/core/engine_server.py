"""An engine with memory alone on a loopback port, turned by the test."""

import select
import socket

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, Cache
from tests.support.core.listening import PLAIN_TCP

CONNECTIONS_MAX = 64
TIMEOUT_SECONDS = 60
VALUE_BYTES = 600_000


class Server:
    """An engine on a loopback port whose clock stands still until the test moves it."""

    connections_max = CONNECTIONS_MAX

    def make_cache(self, limit_bytes: int, reserve_bytes_more: int) -> Cache:
        return Cache(limit_bytes=limit_bytes, reserve_bytes_more=reserve_bytes_more)

    def listen(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    def __init__(self, limit_bytes: int = 64 * MIB) -> None:
        more = lib.server_reserve_bytes(1, self.connections_max)
        self.cache = self.make_cache(limit_bytes, more)
        assert lib.server_create(self.cache.arena, 1, self.connections_max) == 0
        self.store = self.cache.open()
        options = ffi.new("struct engine_options *")
        options.workers = 1
        options.inbox_fd = -1
        out = ffi.new("struct engine **")
        assert lib.engine_open(self.store.store, options, out) == 0
        self.engine = out[0]
        self.listener = self.listen()
        self.listener.setblocking(False)
        assert lib.engine_listen(self.engine, self.listener.fileno(), PLAIN_TCP) == 0
        self.clients: list[socket.socket] = []
        self.now = 1000
        self.pass_time(0)

    def close(self) -> None:
        lib.engine_close(self.engine)
        for client in self.clients:
            client.close()
        self.listener.close()
        self.store.check()
        self.cache.close()

    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        lib.arena_clock_freeze(self.cache.arena, self.now)
        lib.engine_tick(self.engine)

    def serve(self) -> None:
        """Turns until nothing is ready any more."""
        fd = lib.engine_fd(self.engine)
        while select.select([fd], [], [], 0.02)[0]:
            self.turn()

    def turn(self) -> None:
        """Serves what is ready; for loops that come again until they have what they want."""
        while lib.engine_turn(self.engine) & lib.ENGINE_AGAIN:
            pass

    def turn_once(self) -> None:
        """For what does not get ready by itself, such as a bucket that another process holds."""
        lib.engine_turn(self.engine)

    def begin(self, key: bytes, sent_bytes: int) -> socket.socket:
        """A client that announces a value and sends so much of it."""
        client = socket.create_connection(self.listener.getsockname())
        self.clients.append(client)
        client.sendall(b"set %s 0 0 %d\r\n" % (key, VALUE_BYTES))
        client.sendall(b"x" * sent_bytes)
        self.serve()
        return client

    def connect(self, buffer_bytes: int = 0) -> socket.socket:
        """A client, with small buffers of the kernel if they are given."""
        client = socket.socket()
        self.clients.append(client)
        if buffer_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        client.connect(self.listener.getsockname())
        return client

    def send_some(self, client: socket.socket, data: bytes) -> int:
        try:
            return client.send(data)
        except BlockingIOError:
            return 0

    def receive_some(self, client: socket.socket, most_bytes: int = 1 << 20) -> bytes:
        try:
            return client.recv(most_bytes)
        except BlockingIOError:
            return b""

    def is_open(self, client: socket.socket) -> bool:
        client.setblocking(False)
        try:
            return client.recv(100) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            client.setblocking(True)

    def is_readable(self, client: socket.socket) -> bool:
        return bool(select.select([client], [], [], 0)[0])

    def timeouts(self) -> int:
        return self.store.counters()["value_timeouts"]
