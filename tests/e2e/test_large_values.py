"""Large values and many keys: what comes back is what went in."""

import contextlib
import random

import pytest

from tests.support.connection import Connection
from tests.support.programs import Program
from tests.support.server import Server

pytestmark = pytest.mark.tcp_memory

SEED = 4_711
MEBIBYTE = 1 << 20


def check_round_trip(connection: Connection, key: str, value: bytes) -> None:
    assert connection.store(key, value) == b"STORED"
    # Not in the assertion: its message would hold both values.
    is_equal = connection.fetch(key) == value
    assert is_equal, f"{len(value)} bytes came back changed"


@pytest.mark.parametrize(
    ("flags", "size"),
    [
        ([], MEBIBYTE - 200),
        (["-I", "2m"], MEBIBYTE),
        (["-m", "128", "-I", "16m"], 8 * MEBIBYTE),
        (["-m", "128", "-I", "16m"], 16 * MEBIBYTE - 4096),
        pytest.param(["-m", "1024", "-I", "128m"], 100 * MEBIBYTE, marks=pytest.mark.slow),
    ],
    ids=["1m", "2m", "8m", "16m", "100m"],
)
def test_large_value(pymc: Program, flags: list[str], size: int) -> None:
    with Server(pymc, ["-t", "2", *flags]) as server, server.connect() as connection:
        value = random.Random(SEED).randbytes(size)
        check_round_trip(connection, "a", value)
        # Replaced by one that is a little shorter, then by a small one.
        check_round_trip(connection, "a", value[: size - 1])
        check_round_trip(connection, "a", b"small")
        assert connection.ask("delete a") == b"DELETED"
        assert connection.stats()["curr_items"] == "0"


def test_too_large_for_the_limit(pymc: Program) -> None:
    with Server(pymc, ["-t", "1", "-I", "2m"]) as server, server.connect() as connection:
        reply = connection.store("a", b"x" * (2 * MEBIBYTE))
        assert reply == b"SERVER_ERROR object too large for cache"
        assert connection.fetch("a") is None
        check_round_trip(connection, "a", b"x")


def test_large_value_grows_by_append(pymc: Program) -> None:
    with Server(pymc, ["-t", "1", "-I", "4m"]) as server, server.connect() as connection:
        random_bytes = random.Random(SEED)
        held = random_bytes.randbytes(10)
        assert connection.store("a", held) == b"STORED"
        for size in (1, 100, 100_000, 500_000, 1_000_000, 7):
            piece = random_bytes.randbytes(size)
            verb = random_bytes.choice(["append", "prepend"])
            assert connection.store("a", piece, verb=verb) == b"STORED"
            held = held + piece if verb == "append" else piece + held
            is_equal = connection.fetch("a") == held
            assert is_equal, f"after {verb} of {size} bytes, seed {SEED}"


@pytest.mark.parametrize("piece", [1, 3, 1000, 70_000])
def test_large_value_in_pieces(pymc: Program, piece: int) -> None:
    size = 3000 if piece < 1000 else 700_000
    value = random.Random(SEED).randbytes(size)
    data = f"set a 0 0 {size}\r\n".encode() + value + b"\r\nget a\r\n"
    with Server(pymc, ["-t", "1"]) as server, server.connect() as connection:
        for start in range(0, len(data), piece):
            connection.send(data[start : start + piece])
        assert connection.read_line() == b"STORED\r\n"
        header = b"VALUE a 0 %d\r\n" % size
        assert connection.read_exactly(len(header)) == header
        is_equal = connection.read_exactly(size) == value
        assert is_equal
        assert connection.read_exactly(7) == b"\r\nEND\r\n"


def test_sizes_around_every_boundary(pymc: Program) -> None:
    random_bytes = random.Random(SEED)
    sizes = sorted(
        {size + step for power in range(20) for size in [1 << power] for step in (-1, 0, 1)}
        | {random_bytes.randrange(1_000_000) for _ in range(50)}
    )
    with Server(pymc, ["-t", "2", "-m", "256"]) as server, server.connect() as connection:
        values = {size: random_bytes.randbytes(size) for size in sizes}
        for size, value in values.items():
            assert connection.store(f"k{size}", value) == b"STORED"
        for size, value in values.items():
            is_equal = connection.fetch(f"k{size}") == value
            assert is_equal, f"{size} bytes, seed {SEED}"


def test_many_keys(pymc: Program) -> None:
    count = 50_000
    with Server(pymc, ["-t", "2", "-m", "256"]) as server, server.connect() as connection:
        requests = [f"set key{n} {n} 0 {len(str(n))} noreply\r\n{n}\r\n" for n in range(count)]
        connection.send("".join(requests).encode() + b"mn\r\n")
        assert connection.read_line() == b"MN\r\n"
        assert connection.stats()["curr_items"] == str(count)
        with server.connect() as reader:
            for start in range(0, count, 1000):
                numbers = range(start, start + 1000)
                reader.send(f"get {' '.join(f'key{n}' for n in numbers)}\r\n".encode())
                wanted = "".join(f"VALUE key{n} {n} {len(str(n))}\r\n{n}\r\n" for n in numbers)
                assert reader.read_exactly(len(wanted)) == wanted.encode()
                assert reader.read_line() == b"END\r\n"
        stats = connection.stats()
        assert stats["evictions"] == "0"
        assert int(stats["get_hits"]) == count


def test_announced_values_take_no_memory(pymc: Program) -> None:
    size, count = 1_000_000, 300
    with (
        Server(pymc, ["-t", "2", "-m", "64"]) as server,
        contextlib.ExitStack() as stack,
        server.connect() as other,
    ):
        announcers = [stack.enter_context(server.connect()) for _ in range(count)]
        for number, announcer in enumerate(announcers):
            announcer.send(b"set h%d 0 0 %d\r\n" % (number, size) + b"x" * 20)
        for announcer in announcers:
            announcer.wait_read_by_server()
        check_round_trip(other, "big", random.Random(SEED).randbytes(size))
        # Whoever goes on is served, as long as there is room for what has come.
        for announcer in announcers[:20]:
            announcer.send(b"x" * (size - 20) + b"\r\n")
            assert announcer.read_line() == b"STORED\r\n"
        stats = other.stats()
        assert stats["store_no_memory"] == "0"
        own = other.stats("pymc")
        assert sum(int(value) for key, value in own.items() if key.startswith("oom_")) == 0


@pytest.mark.parametrize("size", [20_000, 262_144, 900_000])
def test_read_and_appended_in_one_pipeline(pymc: Program, size: int) -> None:
    """The cache never needs more than a few such values; none waits for the keeper."""
    value = random.Random(SEED).randbytes(size)
    commands = b"get b\r\nappend b 0 0 1\r\nx\r\nget b\r\nappend b 0 0 1\r\nx\r\nget b\r\nmn\r\n"
    with Server(pymc, ["-t", "1", "-m", "16"]) as server, server.connect() as connection:
        for _ in range(60):
            assert connection.store("b", value) == b"STORED"
            connection.send(commands)
            for extra in range(3):
                held = size + extra
                assert connection.read_line() == b"VALUE b 0 %d\r\n" % held
                is_equal = connection.read_exactly(held) == value + b"x" * extra
                assert is_equal
                assert connection.read_exactly(7) == b"\r\nEND\r\n"
                if extra < 2:
                    assert connection.read_line() == b"STORED\r\n"
            assert connection.read_line() == b"MN\r\n"
        stats = connection.stats()
        assert stats["store_no_memory"] == "0"


def test_many_keys_from_a_client_that_writes_them_all_first(pymc: Program) -> None:
    """80,000 keys: more than the kernel keeps for a server that does not read on."""
    key, value = b"k" * 240, b"v" * 1000
    with Server(pymc, ["-t", "1"]) as server, server.connect() as connection:
        assert connection.store(key.decode(), value) == b"STORED"
        connection.send(b"get" + b" %s" % key * 80_000 + b"\r\n")
        one = b"VALUE %s 0 1000\r\n%s\r\n" % (key, value)
        for _ in range(80):
            is_equal = connection.read_exactly(len(one) * 1000) == one * 1000
            assert is_equal
        assert connection.read_line() == b"END\r\n"
        stats = connection.stats("pymc")
        assert stats["read_ahead_refused"] == "0"
