#!/usr/bin/env python3
"""Measures what a server holds while its memory moves: after a flush, expiry, other sizes.

Each row is run against one server after the other, and its figures are printed side by side.
Values are verified whenever they are read. Exit codes: 1, a value was wrong; 3, a server failed.
"""

import argparse
import socket
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.harness.servers import Kind, Limits, Server, ServerError, find_kinds  # noqa: E402

BATCH = 100
REFUSED = b"SERVER_ERROR"
RATE_STEP_SECONDS = 0.02


class WrongValueError(Exception):
    """A server returned bytes that nobody stored."""


def value_of(key: bytes, value_bytes: int) -> bytes:
    """The value a key has: its own bytes over and over."""
    seed = b"%s:%08x;" % (key, zlib.crc32(key))
    return (seed * (value_bytes // len(seed) + 1))[:value_bytes]


@dataclass
class Client:
    """One connection; every reply is waited for, so a batch is a round trip."""

    port: int
    sock: socket.socket = field(init=False)
    stored: int = 0
    refused: int = 0
    slowest: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=120)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def until(self, end: bytes) -> bytes:
        """Everything up to a reply that ends so."""
        got = bytearray()
        while not got.endswith(end):
            piece = self.sock.recv(1 << 20)
            if not piece:
                raise ConnectionError("the server closed the connection")
            got += piece
        return bytes(got)

    def ask(self, line: bytes) -> bytes:
        """The one-line reply to a command."""
        self.sock.sendall(line)
        return self.until(b"\r\n")

    def put(self, keys: list[bytes], value_bytes: int, ttl_seconds: int = 0) -> None:
        """Stores the keys in pipelines and counts what was refused."""
        for i in range(0, len(keys), BATCH):
            batch = keys[i : i + BATCH]
            head = b" 0 %d %d\r\n" % (ttl_seconds, value_bytes)
            began = time.perf_counter()
            self.sock.sendall(
                b"".join(b"set %s%s%s\r\n" % (k, head, value_of(k, value_bytes)) for k in batch)
                + b"mn\r\n"
            )
            replies = self.until(b"MN\r\n")
            self.slowest.append(time.perf_counter() - began)
            refused = replies.count(REFUSED)
            self.refused += refused
            self.stored += len(batch) - refused

    def held(self, keys: list[bytes], value_bytes: int) -> int:
        """How many of the keys are there, values verified."""
        found = 0
        for i in range(0, len(keys), BATCH):
            batch = keys[i : i + BATCH]
            self.sock.sendall(b"get " + b" ".join(batch) + b"\r\n")
            reply = self.until(b"END\r\n")
            found += reply.count(b"VALUE ")
            for key in batch:
                at = reply.find(b"VALUE %s 0 " % key)
                if at >= 0:
                    start = reply.index(b"\r\n", at) + 2
                    if reply[start : start + value_bytes] != value_of(key, value_bytes):
                        raise WrongValueError(f"{key!r} of {value_bytes} bytes")
        return found

    def stats(self, what: bytes = b"") -> dict[str, str]:
        """A page of statistics."""
        self.sock.sendall(b"stats%s\r\n" % (b" " + what if what else b""))
        lines = self.until(b"END\r\n").decode().split("\r\n")
        return dict(line.split(" ", 2)[1:] for line in lines if line.startswith("STAT "))

    def count(self, name: str) -> int:
        """One number of `stats`."""
        return int(self.stats()[name])


Figures = Iterator[tuple[str, float]]


def keys_of(prefix: str, count: int, start: int = 0) -> list[bytes]:
    """Keys of one width, so that their items are of one size."""
    return [b"%s%09d" % (prefix.encode(), n) for n in range(start, start + count)]


def put_at_rate(
    client: Client, prefix: str, value_bytes: int, bytes_per_second: float, seconds: float
) -> list[bytes]:
    """Stores new keys at a steady rate; returns them in the order of their coming."""
    per_step = max(1, round(bytes_per_second * RATE_STEP_SECONDS / value_bytes))
    keys: list[bytes] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        fresh = keys_of(prefix, per_step, len(keys))
        client.put(fresh, value_bytes)
        keys += fresh
        ahead = len(keys) * value_bytes / bytes_per_second - passed
        if ahead > 0:
            time.sleep(ahead)
    return keys


def after_flush(client: Client) -> Figures:
    """64 MB full of 1,000-byte items, flush_all, then 60 % of it in items of 6,000 bytes."""
    client.put(keys_of("f", 75_000), 1000)
    time.sleep(1.5)
    client.ask(b"flush_all\r\n")
    yield "curr_items at once", client.count("curr_items")
    yield from _fill_again(client)


def after_expiry(client: Client) -> Figures:
    """The same, but the small items have expired."""
    client.put(keys_of("f", 75_000), 1000, ttl_seconds=3)
    time.sleep(4.5)
    yield from _fill_again(client)


def _fill_again(client: Client) -> Figures:
    wanted = keys_of("g", 6295)
    passed = 0.0
    evicted = client.count("evictions")
    for mark in (0.2, 5.0, 20.0):
        time.sleep(mark - passed)
        passed = mark
        client.put(wanted, 6000)
        yield f"held of 6,295 after {mark} s", client.held(wanted, 6000)
    yield "refused", client.refused
    yield "evictions", client.count("evictions") - evicted


def sweep(client: Client) -> Figures:
    """One key through 3,000 sizes, then 20,000 small items of many sizes (15 MB in 128)."""
    for size in [*range(3000), *(2**k + d for k in range(11, 20) for d in range(-40, 41))]:
        client.put([b"b"], size)
        if not client.held([b"b"], size):
            yield "lost while swept", 1
    missing = 0
    for i in range(20_000):
        client.put([b"q%05d" % i], zlib.crc32(b"%d" % i) % 1500)
    for i in range(20_000):
        missing += 1 - client.held([b"q%05d" % i], zlib.crc32(b"%d" % i) % 1500)
    yield "missing of 20,000", missing
    yield "refused", client.refused


def drift(client: Client) -> Figures:
    """Phases of 1,000, 200, 6,000, 60 and 1,400 bytes at 8 MB/s: the newest of each after 11 s."""
    for n, size in enumerate((1000, 200, 6000, 60, 1400)):
        keys = put_at_rate(client, "abcde"[n], size, 8e6, 11)
        newest = keys[-int(40e6 / (size + 60)) :]
        yield f"% held of the newest 40 MB of {size}", 100 * client.held(newest, size) / len(newest)
    yield "refused", client.refused
    client.slowest.sort()
    yield "slowest batch in 1,000, ms", client.slowest[-len(client.slowest) // 1000] * 1e3


def steady_ttl(client: Client) -> Figures:
    """40,000 SETs a second that live 1 to 5 seconds: items held for each one that lives."""
    seconds, rate, number = 24, 40_000, 0
    other = Client(client.port)
    samples: list[int] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if passed > seconds - 10 and len(samples) < (passed - seconds + 10) * 10:
            samples.append(other.count("curr_items"))
        if number > rate * passed:
            time.sleep(0.001)
            continue
        for ttl in range(1, 6):
            client.put(keys_of("t", 40, number), 100, ttl_seconds=ttl)
            number += 40
    yield "SETs a second", number / seconds
    # TTLs are whole seconds: an item that gets 1 lives for half a second on average.
    lives = number / seconds * 2.5
    yield "held / live, mean of 10 s", sum(samples) / len(samples) / lives
    yield "highest / live", max(samples) / lives


def lasting_beside_ttl(client: Client) -> Figures:
    """Lasting keys, half of them read, beside a stream of short-lived ones at -m 80."""
    lasting = keys_of("l", 30_000)
    client.put(lasting, 1000)
    number = 0
    for _ in range(12):
        began = time.monotonic()
        client.held(lasting[:15_000], 1000)
        while time.monotonic() - began < 1.5:
            client.put(keys_of("t", 400, number), 1000, ttl_seconds=2)
            number += 400
            time.sleep(max(0.0, 0.02 - (time.monotonic() - began) % 0.02))
    yield "% kept of what is read", 100 * client.held(lasting[:15_000], 1000) / 15_000
    yield "% kept of what is not", 100 * client.held(lasting[15_000:], 1000) / 15_000


def large_into_small(client: Client) -> Figures:
    """Memory full of 1 KB items, then values of 4 MB (-I 8m)."""
    client.put(keys_of("s", 75_000), 1000)
    client.refused = 0
    for n in range(100):
        client.put([b"big%d" % (n % 5)], 4_000_000)
    yield "refused of 100", client.refused
    yield "large ones held of 5", client.held([b"big%d" % n for n in range(5)], 4_000_000)
    yield "small ones held, %", 100 * client.held(keys_of("s", 75_000), 1000) / 75_000


def appends(client: Client) -> Figures:
    """Appends of 3 bytes to 60 KB items in memory that is full of 700-byte and 60 KB items."""
    small = 0
    for n in range(4000):
        client.put([b"big%d" % n], 60_000)
        client.put(keys_of("s", 20, small), 700)
        small = (small + 20) % 40_000
    said: Counter[bytes] = Counter()
    for n in range(4000):
        key = b"big%d" % (3000 + n * 7 % 1000)
        said[client.ask(b"append %s 0 0 3\r\nabc\r\n" % key).strip()[:12]] += 1
        said[client.ask(b"set tiny%d 0 0 3\r\nabc\r\n" % (n % 997)).strip()[:12]] += 1
    yield "refused of 8,000", said[b"SERVER_ERROR"]
    yield "appended", said[b"STORED"] - 4000 + said[b"SERVER_ERROR"]


def no_evictions(client: Client) -> Figures:
    """-M: memory full of 1,000-byte items, flush_all, then 60 % of it in items of 6,000 bytes."""
    client.put(keys_of("f", 75_000), 1000)
    client.ask(b"flush_all\r\n")
    time.sleep(1.2)
    client.refused = 0
    wanted = keys_of("g", 6295)
    client.put(wanted, 6000)
    yield "refused of 6,295", client.refused
    yield "held", client.held(wanted, 6000)


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario with the command line it needs."""

    run: Callable[[Client], Figures]
    memory_mib: int = 64
    arguments: tuple[str, ...] = ()


ROWS = {
    "flush": Row(after_flush),
    "expiry": Row(after_expiry),
    "flush-M": Row(no_evictions, arguments=("-M",)),
    "sweep": Row(sweep, 128),
    "drift": Row(drift),
    "ttl": Row(steady_ttl, 1024),
    "lasting": Row(lasting_beside_ttl, 80),
    "large": Row(large_into_small, arguments=("-I", "8m")),
    "appends": Row(appends),
}


def measure(row: Row, kind: Kind, threads: int) -> dict[str, float]:
    """The figures of one row against one server."""
    limits = Limits(threads=threads, memory_mib=row.memory_mib)
    fitted = Kind(kind.name, kind.label, kind.program, (*kind.arguments, *row.arguments))
    with Server(fitted, limits, None) as server:
        return dict(row.run(Client(server.port)))


def chosen_rows(only: str) -> list[str]:
    """The names in a list with commas; raises ValueError for one that no row has."""
    names = only.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        raise ValueError(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return names


def table(found: dict[str, dict[str, float]]) -> list[str]:
    """A line for each figure with what each server had; "-" where it had no such figure."""
    figures = dict.fromkeys(figure for one in found.values() for figure in one)
    return [
        f"  {figure:38}  "
        + "  ".join(
            f"{label} {f'{one[figure]:.4g}' if figure in one else '-'}"
            for label, one in found.items()
        )
        for figure in figures
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default=",".join(ROWS), metavar="A,B", help="rows to run")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--servers", default="memcached-newest,pymc", metavar="A,B")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    options = parser.parse_args()
    try:
        options.rows = chosen_rows(options.only)
    except ValueError as error:
        parser.error(str(error))
    return options


def _title(name: str) -> str:
    return f"{name}: {(ROWS[name].run.__doc__ or '').strip()}"


def main() -> int:
    """Runs the rows asked for; returns the exit code."""
    options = _options()
    if options.list:
        print("\n".join(_title(name) for name in options.rows))
        return 0
    kinds, notes = find_kinds(options.servers.split(","), ROOT / ".venv/bin/pymc", {}, fetch=True)
    for note in notes:
        print(f"not measured: {note}", file=sys.stderr)
    codes = {0}
    for name in options.rows:
        print(_title(name))
        found = {}
        for kind in kinds:
            try:
                found[kind.label] = measure(ROWS[name], kind, options.threads)
            except WrongValueError as error:
                print(f"  WRONG: {kind.label}: {error}")
                codes.add(1)
            except (ServerError, OSError) as error:
                print(f"  failed: {kind.label}: {error}")
                codes.add(3)
        print("\n".join(table(found)), flush=True)
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
