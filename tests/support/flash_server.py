"""A real server with a flash tier: items that tell their number, stored and read back."""

import random
from pathlib import Path

from tests.support.connection import Connection
from tests.support.deadline import wait_until
from tests.support.server import Server

MEMORY_MB = 16
FLASH_MB = 320
VALUE_BYTES = 4000
PER_BURST = 40
NOISE = random.Random(7).randbytes(1 << 16)


def value(number: int) -> bytes:
    """What item `number` holds; no two are alike and they do not compress."""
    start = number * 7919 % (len(NOISE) - VALUE_BYTES)
    return b"%d:" % number + NOISE[start : start + VALUE_BYTES]


def flash_args(folder: Path, more: str = "", flash_mb: int = FLASH_MB) -> list[str]:
    folder.chmod(0o777)
    path = f"ext_path={folder}/flash:{flash_mb}m"
    options = f"ext_page_size=8,ext_wbuf_size=2,{path}{more}"
    return ["-t", "2", "-m", str(MEMORY_MB), "-o", options]


def fill(server: Server, numbers: range) -> None:
    """Stores the items no faster than the device takes them: they fit into write buffers."""
    with server.connect() as connection:
        for first in range(numbers.start, numbers.stop, PER_BURST):
            burst = range(first, min(first + PER_BURST, numbers.stop))
            commands = [b"ms k%d %d q\r\n%s\r\n" % (n, len(value(n)), value(n)) for n in burst]
            connection.send(b"".join(commands) + b"mn\r\n")
            assert connection.read_line() == b"MN\r\n"
            wait_until(lambda: is_ahead(connection), "writes", pause_seconds=0.001)


def is_ahead(connection: Connection) -> bool:
    """Whether most write buffers are there for what comes next."""
    return int(connection.stats("extstore")["write_buffers_waiting"]) <= 1


def fetch(connection: Connection, numbers: list[int]) -> int:
    """Reads the items in one burst, each of them whole or not at all; how many are there."""
    connection.send(b"".join(b"mg k%d v k\r\n" % n for n in numbers))
    hits = 0
    for number in numbers:
        line = connection.read_line().split()
        if line[0] == b"VA":
            data = connection.read_exactly(int(line[1]) + 2)[:-2]
            assert line[2] == b"kk%d" % number
            assert data == value(number), number
            hits += 1
        else:
            assert line[0] == b"EN"
    return hits


def fetch_all(server: Server, numbers: range) -> int:
    order = list(numbers)
    random.Random(3).shuffle(order)
    with server.connect() as connection:
        starts = range(0, len(order), 100)
        return sum(fetch(connection, order[start : start + 100]) for start in starts)
