"""Commands on items whose device does not answer: they are missing, and no old value comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.flash_cache import FlashCache, Log

OLD = b"VALUE k 0 2\r\n10\r\nEND\r\n"
GONE = b"END\r\n"


@pytest.fixture(params=[lib.FLASH_READER_AUTO, lib.FLASH_READER_THREADS], ids=["auto", "threads"])
def tier(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FlashCache]:
    """Its only path is late, and has the key."""
    with FlashCache(tmp_path, Log(kind=request.param)) as made:
        assert made.send(b"set k 0 0 2\r\n10\r\n") == b"STORED\r\n"
        made.to_flash()
        assert made.counters()["items"] == 0
        set_late(made, is_late=True)
        yield made
        made.check_at_rest()


def set_late(tier: FlashCache, *, is_late: bool) -> None:
    assert lib.flash_path_set_late(tier.flash, 0, is_late)


# What only reads finds the value again. What was told that it is not there, and would have changed
# it, must not find it unchanged later.
@pytest.mark.parametrize(
    ("command", "answer", "later"),
    [
        (b"get k", b"END", OLD),
        (b"gets k", b"END", OLD),
        (b"get a k b", b"END", OLD),
        (b"mg k v", b"EN", OLD),
        (b"mg k s t h", b"EN", OLD),
        (b"me k", b"EN", OLD),
        (b"gat 100 k", b"END", GONE),
        (b"gats 100 k", b"END", GONE),
        (b"mg k v T100", b"EN", GONE),
        (b"touch k 100", b"NOT_FOUND", GONE),
        (b"incr k 1", b"NOT_FOUND", GONE),
        (b"decr k 1", b"NOT_FOUND", GONE),
        (b"ma k", b"NF", GONE),
        (b"append k 0 0 1\r\n1", b"NOT_STORED", GONE),
        (b"prepend k 0 0 1\r\n1", b"NOT_STORED", GONE),
        (b"replace k 0 0 1\r\n1", b"NOT_STORED", GONE),
        (b"cas k 0 0 1 1\r\n1", b"NOT_FOUND", GONE),
        (b"ms k 1 MA\r\n1", b"NS", GONE),
        (b"ms k 1 MR\r\n1", b"NS", GONE),
        (b"ms k 1 C1\r\n1", b"NF", GONE),
        (b"delete k", b"NOT_FOUND", GONE),
        (b"md k", b"NF", GONE),
        (b"md k C1", b"NF", GONE),
        (b"md k I T30", b"NF", GONE),
        (b"md k x", b"NF", GONE),
    ],
)
def test_the_key_is_missing(tier: FlashCache, command: bytes, answer: bytes, later: bytes) -> None:
    before = tier.counters()["ext_device_reads"]
    assert tier.send(command + b"\r\n") == answer + b"\r\n"
    assert tier.counters()["ext_device_reads"] == before
    set_late(tier, is_late=False)
    assert tier.send(b"get k\r\n") == later


@pytest.mark.parametrize(
    ("command", "answer", "value"),
    [
        (b"set k 0 0 1\r\n1", b"STORED", b"1"),
        (b"add k 0 0 1\r\n1", b"STORED", b"1"),
        (b"ms k 1\r\n1", b"HD", b"1"),
        (b"ms k 1 ME\r\n1", b"HD", b"1"),
        (b"ms k 1 MA N60\r\n1", b"HD", b"1"),
        (b"ma k N60 J7", b"HD", b"7"),
        (b"mg k s N60", b"HD s0 W", b""),
    ],
)
def test_what_makes_it_makes_it(
    tier: FlashCache, command: bytes, answer: bytes, value: bytes
) -> None:
    assert tier.send(command + b"\r\n") == answer + b"\r\n"
    assert tier.entries() == 0
    set_late(tier, is_late=False)
    found = tier.send(b"mg k v\r\n")
    assert found.startswith(b"VA %d" % len(value))
    assert found.endswith(b"\r\n" + value + b"\r\n")


def test_misses_are_counted(tier: FlashCache) -> None:
    tier.send(b"get k\r\nget k\r\ntouch k 1\r\n")
    counters = tier.counters()
    assert counters["ext_late_looks"] == 3
    assert counters["get_extstore"] == counters["miss_from_extstore"] == counters["get_misses"] == 2
    assert counters["badcrc_from_extstore"] == counters["ext_other_key"] == 0


def test_a_key_beside_it_is_found(tmp_path: Path) -> None:
    """The other path answers as always, also within one command."""
    with FlashCache(tmp_path, Log(paths=2)) as tier:
        # More than a write buffer takes, so that both paths have some.
        keys = [b"k%d" % number for number in range(60)]
        for key in keys:
            tier.send(b"set %s 0 0 100000\r\n%s\r\n" % (key, key.ljust(100_000, b"x")))
        tier.to_flash()
        assert tier.counters()["items"] == 0
        found = []
        for path in range(2):
            lib.flash_path_set_late(tier.flash, path, True)
            said = tier.send(b"get %s\r\n" % b" ".join(keys))
            assert said.endswith(b"\r\nEND\r\n")
            found.append({key for key in keys if b"VALUE %s 0 100000\r\n%sx" % (key, key) in said})
            lib.flash_path_set_late(tier.flash, path, False)
        assert found[0]
        assert found[1]
        assert not found[0] & found[1]
        assert found[0] | found[1] == set(keys)
