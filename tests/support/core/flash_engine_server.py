"""An engine with a flash tier on a loopback port, turned by the test."""

import select
import socket
import time
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_cache import FlashCache, Log
from tests.support.core.listening import PLAIN_TCP
from tests.support.deadline import WAIT_SECONDS

READ_SECONDS = 0.05
KINDS = {"auto": lib.FLASH_READER_AUTO, "threads": lib.FLASH_READER_THREADS}
# Slow reads are faults of debug builds.
needs_faults = pytest.mark.debug


class Server:
    """An engine on a loopback port, turned by the test."""

    def __init__(self, folder: Path, kind: int, memory_bytes: int = 0) -> None:
        self.tier = FlashCache(folder, Log(kind=lib.FLASH_READER_THREADS))
        options = ffi.new("struct engine_options *")
        options.workers = 1
        options.inbox_fd = -1
        options.flash_kind = kind
        options.flash_memory_bytes = memory_bytes
        out = ffi.new("struct engine **")
        assert lib.engine_open(self.tier.worker.store, options, out) == 0
        self.engine = out[0]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        assert lib.engine_listen(self.engine, self.listener.fileno(), PLAIN_TCP) == 0
        self.fd = lib.engine_fd(self.engine)
        self.clients: list[socket.socket] = []

    def close(self) -> None:
        lib.engine_close(self.engine)
        for client in self.clients:
            client.close()
        self.listener.close()
        self.tier.close()

    def connect(self, receive_bytes: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.connect(self.listener.getsockname())
        client.setblocking(False)
        self.clients.append(client)
        self.turn()
        return client

    def turn(self, wait_seconds: float = 0) -> None:
        if select.select([self.fd], [], [], wait_seconds)[0]:
            while lib.engine_turn(self.engine) & lib.ENGINE_AGAIN:
                pass
        # The clock of the tests is theirs.
        self.tier.worker.set_now(self.tier.now)

    def receive(self, client: socket.socket, ending: bytes) -> bytes:
        """Turns until the client has received something that ends so; with b"" until its end."""
        got = b""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            assert time.monotonic() < end, (len(got), got[-100:])
            try:
                piece = client.recv(1 << 20)
            except BlockingIOError:
                self.turn(0.01)
                continue
            got += piece
            if not piece or (ending and got.endswith(ending)):
                return got

    def ask(self, client: socket.socket, line: bytes, ending: bytes) -> bytes:
        client.sendall(line)
        return self.receive(client, ending)

    def fill(self, count: int, value_bytes: int = 100) -> None:
        for number in range(count):
            key = b"k%d" % number
            value = (key * value_bytes)[:value_bytes]
            self.tier.send(b"set %s 0 0 %d\r\n%s\r\n" % (key, value_bytes, value))
        self.tier.to_flash()
        assert self.tier.counters()["items"] == 0

    def slow_reads(self, seconds: float) -> None:
        fault = ffi.new("struct flash_fault *")
        fault.kind = lib.FLASH_FAULT_SLOW if seconds else lib.FLASH_FAULT_NONE
        fault.on_reads = True
        fault.path = lib.FLASH_PATHS_MAX
        fault.slow_us = int(seconds * 1e6)
        lib.flash_fault_set(self.tier.flash, fault)

    def states(self) -> list[int]:
        records = ffi.new("struct connection_record[]", 16)
        count = lib.server_connections_read(
            self.tier.cache.arena, ffi.new("uint32_t *"), records, 16
        )
        return [records[i].state for i in range(count)]


def shown(number: int, value_bytes: int = 100) -> bytes:
    key = b"k%d" % number
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key, value_bytes, (key * value_bytes)[:value_bytes])
