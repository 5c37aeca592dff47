"""When memory is full: eviction keeps the newest, -M refuses, values are never mixed up."""

import pytest

from tests.support.connection import Connection
from tests.support.deadline import wait_until
from tests.support.programs import Program
from tests.support.server import Server

pytestmark = pytest.mark.tcp_memory

VALUE_BYTES = 10_000


def value_of(number: int) -> bytes:
    return (b"%08d" % number) * (VALUE_BYTES // 8)


def fill(connection: Connection, count: int) -> list[bytes]:
    """Stores `count` values and returns the different replies in the order of their coming."""
    replies: list[bytes] = []
    for number in range(count):
        reply = connection.store(f"key{number}", value_of(number))
        if reply not in replies:
            replies.append(reply)
    return replies


@pytest.mark.parametrize("name", ["pymc", "memcached"])
def test_eviction(pymc: Program, name: str, request: pytest.FixtureRequest) -> None:
    program = pymc if name == "pymc" else request.getfixturevalue("oracle")
    with Server(program, ["-t", "2", "-m", "8"]) as server, server.connect() as connection:
        assert fill(connection, 3000) == [b"STORED"]
        stats = connection.stats()
        assert int(stats["evictions"]) > 1000
        assert int(stats["curr_items"]) + int(stats["evictions"]) == 3000
        assert int(stats["bytes"]) <= int(stats["limit_maxbytes"]) == 8 << 20
        assert int(stats["store_no_memory"]) == 0
        held = [n for n in range(3000) if connection.fetch(f"key{n}") == value_of(n)]
        assert len(held) == int(stats["curr_items"])
        # The oldest went first; a few stay that share a fingerprint with a key evicted before.
        assert 2999 in held
        assert sum(n < 2000 for n in held) <= len(held) // 30


@pytest.mark.parametrize("name", ["pymc", "memcached"])
def test_no_eviction_with_m(pymc: Program, name: str, request: pytest.FixtureRequest) -> None:
    program = pymc if name == "pymc" else request.getfixturevalue("oracle")
    with Server(program, ["-t", "2", "-m", "8", "-M"]) as server, server.connect() as connection:
        replies = fill(connection, 2000)
        assert replies == [b"STORED", b"SERVER_ERROR out of memory storing object"]
        stats = connection.stats()
        assert stats["evictions"] == "0"
        stored = int(stats["curr_items"])
        assert stored > 500
        assert int(stats["store_no_memory"]) == 2000 - stored
        assert all(connection.fetch(f"key{n}") == value_of(n) for n in range(stored))
        # A set that finds no memory takes the old value with it, an add does not.
        connection.store("key0", value_of(7), verb="add")
        assert connection.fetch("key0") == value_of(0)
        reply = connection.store("key0", value_of(7))
        assert reply in (b"STORED", b"SERVER_ERROR out of memory storing object")
        held = connection.fetch("key0")
        assert held == (value_of(7) if reply == b"STORED" else None)
        # Room is made by deleting.
        for number in range(100):
            connection.ask(f"delete key{number}")
        assert connection.store("new", value_of(9)) == b"STORED"
        assert connection.fetch("new") == value_of(9)


def test_memory_moves_between_sizes(pymc: Program) -> None:
    with Server(pymc, ["-t", "2", "-m", "16"]) as server, server.connect() as connection:
        for number in range(20_000):
            connection.send(b"set small%d 0 0 200 noreply\r\n%s\r\n" % (number, b"s" * 200))
        for number in range(3000):
            reply = connection.store(f"key{number}", value_of(number))
            assert reply == b"STORED", number
        assert connection.fetch("key2999") == value_of(2999)


def test_lower_limit_is_honoured(pymc: Program) -> None:
    with Server(pymc, ["-t", "2", "-m", "64"]) as server, server.connect() as connection:
        assert fill(connection, 3000) == [b"STORED"]
        assert connection.ask("cache_memlimit 16") == b"OK"
        assert connection.stats()["limit_maxbytes"] == str(16 << 20)
        assert connection.store("after", b"1") == b"STORED"
        assert connection.fetch("after") == b"1"


@pytest.mark.parametrize("name", ["pymc", "memcached"])
def test_page_is_moved_by_command(pymc: Program, name: str, request: pytest.FixtureRequest) -> None:
    program = pymc if name == "pymc" else request.getfixturevalue("oracle")
    with Server(program, ["-t", "2"]) as server, server.connect() as connection:
        assert connection.ask("slabs automove 0") == b"OK"
        assert fill(connection, 500) == [b"STORED"]
        assert connection.store("small", b"1") == b"STORED"
        source, target = (class_of(connection, key) for key in ("key0", "small"))
        before = connection.stats("slabs")
        assert connection.ask(f"slabs reassign {source} {target}") == b"OK"

        def pages_gained(number: int) -> int:
            key = f"{number}:total_pages"
            return int(connection.stats("slabs")[key]) - int(before[key])

        wait_until(lambda: pages_gained(target) == 1, "the page has come")
        wait_until(lambda: int(connection.stats()["slabs_moved"]) == 1, "the move is counted")
        # While memory is free, what was rescued may have asked for a fresh page.
        assert pages_gained(source) <= 0
        # What was on the page is rescued or gone, and never another value.
        held = [n for n in range(500) if connection.fetch(f"key{n}") is not None]
        assert all(connection.fetch(f"key{n}") == value_of(n) for n in held)
        assert len(held) >= 350
        assert connection.fetch("small") == b"1"


def class_of(connection: Connection, key: str) -> int:
    answer = connection.ask(f"me {key}").decode()
    return int(dict(word.split("=") for word in answer.split()[2:])["cls"])
