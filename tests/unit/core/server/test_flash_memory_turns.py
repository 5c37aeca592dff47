"""The engine with little memory for reads from flash: who lacks it for a read keeps its turn."""

import time
from pathlib import Path

from pymc.core.ffi import lib
from tests.support.core.flash_engine_server import READ_SECONDS, Server, needs_faults, shown
from tests.support.deadline import WAIT_SECONDS

LARGE_BYTES = 60_000
# For one large read, or for some small ones.
MEMORY_BYTES = 66_000


@needs_faults
def test_who_finds_the_memory_taken_again_is_not_last(tmp_path: Path) -> None:
    server = Server(tmp_path, lib.FLASH_READER_THREADS, memory_bytes=MEMORY_BYTES)
    try:
        for number in (0, 1):
            value = b"k%d" % number * LARGE_BYTES
            server.tier.send(
                b"set k%d 0 0 %d\r\n%s\r\n" % (number, LARGE_BYTES, value[:LARGE_BYTES])
            )
        for number in (2, 3, 4):
            value = (b"k%d" % number * 100)[:100]
            server.tier.send(b"set k%d 0 0 100\r\n%s\r\n" % (number, value))
        server.tier.to_flash()
        server.slow_reads(1.0)
        first, greedy, second, third = (server.connect() for _ in range(4))
        # Nobody else has memory while the first one reads; greedy then begins two reads at once.
        lines = (b"get k0\r\n", b"get k2 k3\r\n", b"get k4\r\n", b"get k1\r\n")
        for client, line in zip((first, greedy, second, third), lines, strict=True):
            client.sendall(line)
            server.turn(1)
        assert server.states() == [lib.CONNECTION_IO_QUEUE] * 4
        server.slow_reads(READ_SECONDS)
        got = {second: b"", third: b""}
        end = time.monotonic() + WAIT_SECONDS
        while not any(got.values()):
            assert time.monotonic() < end
            server.turn(0.01)
            for client in got:
                try:
                    got[client] += client.recv(1 << 20)
                except BlockingIOError:
                    continue
        assert got == {second: shown(4) + b"END\r\n", third: b""}
        assert server.receive(third, b"END\r\n") == shown(1, LARGE_BYTES) + b"END\r\n"
    finally:
        server.close()
