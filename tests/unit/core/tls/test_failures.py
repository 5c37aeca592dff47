"""Why handshakes fail: each kind has its name, its counter and its words."""

import os
import random
import ssl
from pathlib import Path

import pytest

from pymc.core.ffi import lib, text
from tests.support.certs import Authority, Pair
from tests.support.core.driver import COUNTERS
from tests.support.core.tls_rig import FAILURES, Client, Material, Rig, World

ANY_SANITIZER = os.environ.get("PYMC_BUILD") in ("asan", "tsan")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def hello(root: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    talk = Client(root, None, version).begin()
    talk.step()
    return talk.outgoing.read()


def fed(world: World, server_pair: Pair, *pieces: bytes) -> tuple[Rig, int]:
    rig = world.rig(world.context(Material.of(server_pair)))
    step = lib.TLS_RIG_WAITS
    for piece in pieces:
        rig.feed(piece)
        step = rig.step()
    return rig, step


@pytest.mark.parametrize(
    "sent",
    [
        b"get key\r\n",
        b"version\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\n\r\n",
        b"\x80" + bytes(23),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\xff" * 64,
    ],
)
def test_what_is_not_tls(world: World, server_pair: Pair, sent: bytes) -> None:
    rig, step = fed(world, server_pair, sent)
    assert (step, rig.failure) == (lib.TLS_RIG_FAILED, "NOT_TLS")
    assert rig.line == "what came is not TLS"
    assert world.count("tls_failed_not_tls") == world.count("ssl_handshake_errors") == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_records_that_are_damaged(
    world: World, root: Authority, server_pair: Pair, version: ssl.TLSVersion
) -> None:
    first = hello(root, version)
    for damaged in (
        first[:5] + b"\x02" + first[6:],
        first[:1] + b"\x03\x03\x50\x00" + bytes(100),
        b"\x17" + first[1:],
        b"\x16\x03\x01\x00\x00" * 40,
        first[:6] + b"\xff\xff\xff" + first[9:],
    ):
        rig, step = fed(world, server_pair, damaged)
        assert (step, rig.failure) == (lib.TLS_RIG_FAILED, "BAD_RECORD"), damaged[:9]


def test_a_client_that_does_not_trust_the_server(world: World, server_pair: Pair) -> None:
    for version in VERSIONS:
        rig = world.rig(world.context(Material.of(server_pair)))
        talk = Client(Authority.root(), None, version).begin()
        assert talk.meet(rig) == lib.TLS_RIG_FAILED
        assert rig.failure == "BY_CLIENT"
    assert world.count("tls_failed_by_client") == 2


def test_versions_that_nobody_speaks(world: World, server_pair: Pair) -> None:
    """A hello of TLS 1.0, made by hand: Python's ssl would not send one."""
    body = b"\x03\x01" + bytes(32) + b"\x00" + b"\x00\x02\x00\x2f" + b"\x01\x00"
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    rig, step = fed(world, server_pair, b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message)
    assert (step, rig.failure) == (lib.TLS_RIG_FAILED, "VERSION")


def test_half_a_hello_waits(world: World, root: Authority, server_pair: Pair) -> None:
    first = hello(root)
    rig = world.rig(world.context(Material.of(server_pair)))
    for place in range(len(first) - 1):
        rig.feed(first[place : place + 1])
        assert rig.step() == lib.TLS_RIG_WAITS
        assert rig.drain() == b""
    rig.feed(first[-1:])
    assert rig.step() == lib.TLS_RIG_WAITS
    assert rig.drain()[:1] == b"\x16"


def test_errors_of_one_connection_say_nothing_about_another(
    world: World, root: Authority, server_pair: Pair
) -> None:
    context = world.context(Material.of(server_pair))
    busy = world.rig(context)
    talk = Client(root).begin()
    assert talk.meet(busy) == lib.TLS_RIG_DONE
    dice = random.Random(5)
    for _ in range(100):
        junk = world.rig(context)
        junk.feed(dice.randbytes(200))
        assert junk.step() == lib.TLS_RIG_FAILED
        assert busy.read() == b""
        talk.tls.write(b"x")
        busy.feed(talk.outgoing.read())
        assert busy.read() == b"x"


def test_each_kind_has_words_and_a_counter() -> None:
    words = {text(lib.tls_failure_text(number)) for number in FAILURES.values()}
    assert len(words) == len(FAILURES)
    for name in FAILURES.keys() - {"NOT", "DENIED"}:
        assert f"tls_failed_{name.lower()}" in COUNTERS
    assert text(lib.tls_failure_text(-1)) == text(lib.tls_failure_text(lib.TLS_FAILURES))


@pytest.mark.skipif(ANY_SANITIZER, reason="the sanitizer's shadow is memory, too")
def test_memory_is_flat_over_failures(world: World, root: Authority, server_pair: Pair) -> None:
    """Aborted handshakes leave nothing behind."""
    context = world.context(Material.of(server_pair))
    first = hello(root)

    def rounds(count: int) -> int:
        for number in range(count):
            rig = Rig(context, lib.TLS_DOOR_DEFAULT)
            rig.feed(first if number % 2 else b"get x\r\n")
            rig.step()
            rig.close()
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * 4096

    before = rounds(300)
    assert rounds(1500) - before < 1 << 20
