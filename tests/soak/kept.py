"""Whether a nearly empty flash tier keeps what a slow load stores: `python -m tests.soak.kept`.

Items of many sizes come at a pace that any device takes, far more of them than memory holds and far
fewer than flash does. All that the server said it stored must be found afterwards, however often
workers and keeper are killed meanwhile (`--kills 10`). Ends with status 0 when at least `--least`
percent are there and no value is wrong.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.soak.values import Value, text_of
from tests.support.connection import ClosedError, Connection
from tests.support.deadline import wait_until
from tests.support.killing import kill_child
from tests.support.programs import pymc_program
from tests.support.server import Server

# About 4.8 KB in the middle, so 24 MB/s at 5,000 items a second.
SIZES = (20, 100, 700, 3000, 20_000)
BATCH = 25
REPLY_SECONDS = 20.0
SETTLE_SECONDS = 60.0
# What `stats` and `stats extstore` say of where items went.
SHOWN = (
    *("evictions", "store_no_memory", "slabs_moved", "extstore_objects_written"),
    *("clean_evictions", "unclean_evictions"),
)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="kept")
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument("--rate", type=float, default=5000.0, help="items a second")
    parser.add_argument("--memory-mb", type=int, default=100)
    parser.add_argument("--flash-mb", type=int, default=2048)
    parser.add_argument("--kills", type=float, default=0.0, help="a second, of workers and keeper")
    parser.add_argument("--least", type=float, default=99.9, help="percent that must be found")
    parser.add_argument("--options", default="", help="more for -o")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the flash file is; default: a new one")
    return parser.parse_args(words)


class Items:
    """The same seed makes the same items; no value compresses."""

    def __init__(self, count: int, seed: int) -> None:
        dice = random.Random(seed)
        self._sizes = [dice.choice(SIZES) for _ in range(count)]

    def __len__(self) -> int:
        return len(self._sizes)

    def size_bytes(self, number: int) -> int:
        return self._sizes[number]

    def key(self, number: int) -> bytes:
        return b"kept%d" % number

    def value(self, number: int) -> bytes:
        key = self.key(number)
        return text_of(key, Value(number, self._sizes[number], is_noisy=True))

    def batches(self) -> Iterator[range]:
        for first in range(0, len(self), BATCH):
            yield range(first, min(first + BATCH, len(self)))


class Killer:
    """Kills children of the server, any of them, at even times, in a thread of its own."""

    def __init__(self, server: Server, per_second: float, seed: int) -> None:
        self.killed = 0
        self._server = server
        self._pause_seconds = 1.0 / per_second if per_second else 0.0
        self._dice = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Killer":
        if self._pause_seconds:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._pause_seconds:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._pause_seconds):
            children = sorted(child.pid for child in self._server.children())
            if children:
                self.killed += kill_child(self._dice.choice(children), self._server.pid)


class Client:
    """Says everything again that was under way when its connection broke."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: Connection | None = None
        self.cuts = 0

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def talk(self, data: bytes, replies: int) -> list[bytes]:
        """The first line of so many replies, each of them a line."""
        deadline = time.monotonic() + REPLY_SECONDS
        while True:
            try:
                if self._connection is None:
                    self._connection = self._server.connect()
                self._connection.send(data)
                return [self._connection.read_line() for _ in range(replies)]
            except (ClosedError, OSError):
                self.close()
                self.cuts += 1
                if time.monotonic() > deadline:
                    raise

    def fetch(self, key: bytes) -> bytes | None:
        if self._connection is None:
            self._connection = self._server.connect()
        return self._connection.fetch(key.decode())


def store_all(client: Client, items: Items, rate: float) -> set[int]:
    """Sets each item once, at that pace; the numbers of those that were not stored."""
    refused = set()
    pause = threading.Event()
    begun = time.monotonic()
    for numbers in items.batches():
        pause.wait(max(0.0, begun + numbers[0] / rate - time.monotonic()))
        request = bytearray()
        for number in numbers:
            value = items.value(number)
            request += b"set %s 0 0 %d\r\n%s\r\n" % (items.key(number), len(value), value)
        said = client.talk(bytes(request), len(numbers))
        refused |= {
            number for number, line in zip(numbers, said, strict=True) if line != b"STORED\r\n"
        }
    return refused


def look_for_all(client: Client, items: Items, refused: set[int]) -> tuple[Counter[int], int]:
    """How many are missing of each size, and how many values are wrong."""
    missing: Counter[int] = Counter()
    wrong = 0
    for number in range(len(items)):
        value = client.fetch(items.key(number))
        if value is None:
            missing[items.size_bytes(number)] += number not in refused
        elif value != items.value(number):
            wrong += 1
            print(f"WRONG: {items.key(number)!r} has {value[:80]!r}", file=sys.stderr)
    return missing, wrong


def settle(server: Server) -> None:
    """Returns when nothing was written to flash for a moment."""
    seen: list[str] = []

    def is_still() -> bool:
        seen.append(server.stats()["extstore_bytes_written"])
        return len(seen) > 3 and len(set(seen[-4:])) == 1

    wait_until(is_still, "nothing more is written", SETTLE_SECONDS, 0.5)


def run(wants: argparse.Namespace, folder: Path) -> int:
    folder.chmod(0o777)
    # The smallest ones too may go to flash: nothing has to be lost.
    options = f"ext_item_size=1,ext_path={folder}/flash:{wants.flash_mb}m"
    options += f",{wants.options}" if wants.options else ""
    items = Items(wants.items, wants.seed)
    args = ["-t", "2", "-m", str(wants.memory_mb), "-o", options]
    with Server(pymc_program(), args) as server:
        client = Client(server)
        begun = time.monotonic()
        with Killer(server, wants.kills, wants.seed) as killer:
            refused = store_all(client, items, wants.rate)
        took = time.monotonic() - begun
        client.close()
        server.wait_ready()
        settle(server)
        missing, wrong = look_for_all(client, items, refused)
        client.close()
        stats = server.stats() | server.stats("extstore")
    stored = len(items) - len(refused)
    kept = 100.0 * (stored - missing.total()) / max(stored, 1)
    print(f"stored {stored} in {took:.1f} s, refused {len(refused)}, kept {kept:.3f} %")
    print(f"kills {killer.killed}, connections cut {client.cuts}, wrong values {wrong}")
    for size in SIZES:
        print(f"missing of {size} bytes: {missing[size]}")
    for name in SHOWN:
        print(f"{name} {stats[name]}")
    return 0 if kept >= wants.least and not wrong else 1


def main() -> int:
    wants = arguments()
    if wants.folder:
        return run(wants, wants.folder)
    with tempfile.TemporaryDirectory(prefix="pymc-kept-") as folder:
        return run(wants, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
