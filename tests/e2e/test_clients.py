"""Clients from the package index work unchanged: pymemcache and python-memcached."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.deadline import scaled
from tests.support.server import Server

pymemcache = pytest.importorskip("pymemcache")
memcache = pytest.importorskip("memcache")

SEED = 20_240_601


@pytest.fixture
def base(server: Server) -> Iterator[Any]:
    client = pymemcache.Client(
        ("127.0.0.1", server.port), timeout=scaled(20), connect_timeout=scaled(20)
    )
    yield client
    client.close()


@pytest.fixture
def old(server: Server) -> Iterator[Any]:
    client = memcache.Client(
        [f"127.0.0.1:{server.port}"], socket_timeout=scaled(20), cache_cas=True
    )
    yield client
    client.disconnect_all()


def test_pymemcache_basics(base: Any) -> None:
    assert base.set("a", b"1", noreply=False)
    assert base.get("a") == b"1"
    assert base.get("nothing") is None
    assert base.add("a", b"2", noreply=False) is False
    assert base.replace("a", b"3", noreply=False)
    assert base.append("a", b"4", noreply=False)
    assert base.prepend("a", b"2", noreply=False)
    assert base.get("a") == b"234"
    assert base.incr("a", 6) == 240
    assert base.decr("a", 40) == 200
    assert base.touch("a", 100, noreply=False)
    assert base.delete("a", noreply=False)
    assert base.delete("a", noreply=False) is False
    assert base.incr("a", 1) is None


def test_pymemcache_cas(base: Any) -> None:
    base.set("a", b"1", noreply=False)
    value, token = base.gets("a")
    assert value == b"1"
    assert base.cas("a", b"2", token, noreply=False) is True
    assert base.cas("a", b"3", token, noreply=False) is False
    assert base.cas("nothing", b"3", token, noreply=False) is None
    assert base.get("a") == b"2"


def test_pymemcache_many(base: Any) -> None:
    wanted = {f"key{number}": b"value%d" % number for number in range(500)}
    assert base.set_many(wanted, noreply=False) == []
    assert base.get_many([*wanted, "nothing"]) == wanted
    assert {key: value for key, (value, _) in base.gets_many(list(wanted)).items()} == wanted
    base.delete_many(list(wanted)[:100], noreply=False)
    assert base.get_many(list(wanted)) == dict(list(wanted.items())[100:])
    assert base.flush_all(noreply=False)
    assert base.get_many(list(wanted)) == {}


def test_pymemcache_noreply_and_expiry(base: Any) -> None:
    base.set("a", b"1", expire=-1, noreply=True)
    assert base.get("a") is None
    base.set("a", b"1", noreply=True)
    base.delete("a", noreply=True)
    base.set("b", b"2", expire=1000, noreply=True)
    assert base.get_many(["a", "b"]) == {"b": b"2"}


def test_pymemcache_admin(base: Any, server: Server) -> None:
    assert base.version().startswith(b"1.6.")
    assert base.stats()[b"pid"] == server.pid
    settings = base.stats("settings")
    assert settings[b"item_size_max"] == 1 << 20
    assert settings[b"cas_enabled"] == b"yes"
    assert base.cache_memlimit(128)
    assert base.stats()[b"limit_maxbytes"] == 128 << 20


def test_pymemcache_refuses_what_memcached_refuses(base: Any) -> None:
    with pytest.raises(pymemcache.MemcacheIllegalInputError):
        base.set("a b", b"1")
    with pytest.raises(pymemcache.MemcacheServerError):
        base.set("big", b"x" * 2_000_000, noreply=False)
    # The connection goes on.
    assert base.set("a", b"1", noreply=False)


def test_pymemcache_random_values(base: Any) -> None:
    random_bytes = random.Random(SEED)
    held: dict[str, bytes] = {}
    for number in range(300):
        key = f"k{random_bytes.randrange(50)}"
        value = random_bytes.randbytes(random_bytes.choice([0, 1, 7, 100, 5000, 70_000]))
        assert base.set(key, value, noreply=False), f"seed {SEED}, step {number}"
        held[key] = value
        probe = random_bytes.choice(sorted(held))
        assert base.get(probe) == held[probe], f"seed {SEED}, step {number}"


def test_python_memcached_basics(old: Any) -> None:
    assert old.set("text", "words")
    assert old.set("number", 41)
    assert old.set("object", {"a": [1, 2]})
    assert old.get("text") == "words"
    assert old.get("number") == 41
    assert old.get("object") == {"a": [1, 2]}
    assert old.get_multi(["text", "number", "nothing"]) == {"text": "words", "number": 41}
    assert old.set_multi({"x": "1", "y": "2"}) == []
    assert old.get_multi(["x", "y"]) == {"x": "1", "y": "2"}
    assert not old.add("text", "other")
    assert old.replace("text", "other")
    assert old.append("text", "!")
    assert old.prepend("text", "_")
    assert old.get("text") == "_other!"
    assert old.incr("number") == 42
    assert old.decr("number", 2) == 40
    assert old.touch("number", 100)
    assert old.delete("text")
    assert old.get("text") is None


def test_python_memcached_cas(old: Any, base: Any) -> None:
    assert old.set("a", "1")
    assert old.gets("a") == "1"
    assert old.cas("a", "2")
    assert old.gets("a") == "2"
    base.set("a", b"3", noreply=False)
    assert not old.cas("a", "4")
    assert old.get("a") == b"3"


def test_python_memcached_compression(old: Any) -> None:
    value = "abc" * 100_000
    assert old.set("packed", value, min_compress_len=100)
    assert old.get("packed") == value


def test_python_memcached_stats(old: Any, server: Server) -> None:
    ((name, stats),) = old.get_stats()
    assert name.startswith("127.0.0.1")
    assert stats["pid"] == str(server.pid)
    assert old.set("a", "1")
    assert old.get_slab_stats()
    assert old.flush_all() is None
    assert old.get("a") is None
