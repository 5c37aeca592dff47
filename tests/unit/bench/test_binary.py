"""The load generator's binary protocol: hits, misses, quiet ones, and wrong replies."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from bench.harness import loadgen
from bench.harness.selfcheck import Store, TinyServer
from tests.support.deadline import scaled

TIMEOUT_SECONDS = scaled(20)
KEYS = 10


def every_other(store: Store, key: bytes) -> tuple[bytes, bytes] | None:
    """Even keys are there if they were stored, odd ones never."""
    return None if int(key[1:]) % 2 or key not in store else (key, store[key])


@pytest.fixture
def server() -> Iterator[TinyServer]:
    loadgen.build()
    made = TinyServer({}, every_other)
    try:
        yield made
    finally:
        made.close()


def run(server: TinyServer, **arguments: int | str | bool) -> tuple[int, dict[str, Any]]:
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    words = loadgen.command(server.port, {"keys": KEYS, "connections": 1, **given})
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("how", ["binary", "binary-quiet"])
@pytest.mark.parametrize("depth", [1, 4])
def test_hits_and_misses_are_told_apart(server: TinyServer, how: str, depth: int) -> None:
    given: dict[str, Any] = {how: True, "pipeline": depth, "popularity": "sequential"}
    assert run(server, load=True, **given)[0] == 0
    assert len(server.store) == KEYS
    code, report = run(server, requests=2 * KEYS, **given)
    assert (code, report["gets"], report["hits"], report["misses"]) == (0, 2 * KEYS, KEYS, KEYS)


def test_both_protocols_store_the_same(server: TinyServer) -> None:
    run(server, load=True, binary=True)
    stored = dict(server.store)
    run(server, load=True)
    assert server.store == stored


@pytest.mark.parametrize("how", ["binary", "binary-quiet"])
def test_what_is_missing_is_set(server: TinyServer, how: str) -> None:
    given: dict[str, Any] = {
        how: True,
        "pipeline": 4,
        "popularity": "sequential",
        "read-through": True,
    }
    code, report = run(server, requests=KEYS, **given)
    assert (code, report["misses"]) == (0, KEYS)
    assert report["sets"] > 0 and len(server.store) == report["sets"]


@pytest.mark.parametrize("how", ["binary", "binary-quiet"])
@pytest.mark.parametrize("error", [1, -1, 100])
def test_a_reply_to_another_request_is_found(server: TinyServer, how: str, error: int) -> None:
    run(server, load=True, binary=True)
    server.opaque_error = error
    assert run(server, requests=KEYS, seed=2, popularity="sequential", **{how: True})[0] == 1
