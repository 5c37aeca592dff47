"""What is remembered of addresses: how the delay of failed logins grows and is forgotten."""

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, Cache, Handle

MINUTE = 60
DAY = 24 * 60 * MINUTE
START = 1000
TABLE_ADDRESSES = 16_384


@pytest.fixture
def handle() -> Iterator[Handle]:
    more = lib.addresses_reserve_bytes()
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER, reserve_bytes_more=more) as cache:
        assert lib.addresses_create(cache.arena) == 0
        handle = cache.open(0)
        handle.set_now(START)
        yield handle


def _address(text: str) -> Any:
    if text == "unix":
        return ffi.new("struct client_address *", {"family": 1})
    found = ipaddress.ip_address(text)
    given = found.packed.ljust(16, b"\0")
    return ffi.new("struct client_address *", {"family": found.version, "bytes": given})


def _fail(handle: Handle, text: str) -> int:
    return int(lib.addresses_note_failed_login(handle.store, _address(text)))


def _see(handle: Handle, text: str) -> None:
    lib.addresses_note_seen(handle.store, _address(text))


def _was_seen(handle: Handle, text: str) -> bool:
    return bool(lib.addresses_was_seen(handle.store, _address(text)))


def test_the_delay_doubles_up_to_its_longest(handle: Handle) -> None:
    assert [_fail(handle, "10.0.0.1") for _ in range(7)] == [1, 2, 4, 8, 16, 16, 16]
    assert lib.ADDRESSES_DELAY_SECONDS_MAX == 16


def test_each_address_has_its_own(handle: Handle) -> None:
    for address in ("10.0.0.1", "10.0.0.2", "2001:db8::1", "unix"):
        assert [_fail(handle, address) for _ in range(3)] == [1, 2, 4]


def test_a_network_of_v6_is_one_client(handle: Handle) -> None:
    assert _fail(handle, "2001:db8:0:1::1") == 1
    assert _fail(handle, "2001:db8:0:1:ffff::2") == 2
    assert _fail(handle, "2001:db8:0:2::1") == 1


def test_a_minute_takes_one_step_back(handle: Handle) -> None:
    assert [_fail(handle, "10.0.0.1") for _ in range(4)] == [1, 2, 4, 8]
    handle.set_now(START + MINUTE - 1)
    assert _fail(handle, "10.0.0.1") == 16
    handle.set_now(START + 3 * MINUTE)
    assert _fail(handle, "10.0.0.1") == 8
    handle.set_now(START + 30 * MINUTE)
    assert _fail(handle, "10.0.0.1") == 1


def _good(handle: Handle, text: str) -> int:
    return int(lib.addresses_good_login_delay(handle.store, _address(text)))


def test_good_logins_wait_only_while_passwords_are_tried(handle: Handle) -> None:
    for _ in range(127):
        _fail(handle, "10.0.0.1")
        assert _good(handle, "10.0.0.1") == 0
    _fail(handle, "10.0.0.1")
    assert _good(handle, "10.0.0.1") == 16
    assert _good(handle, "10.0.0.2") == 0
    for _ in range(1000):
        _fail(handle, "10.0.0.1")
    handle.set_now(START + 2)
    assert _good(handle, "10.0.0.1") == 0
    # Eight in each second are borne without end, more are not.
    for second in range(3, 100):
        handle.set_now(START + second)
        assert [_fail(handle, "10.0.0.1") for _ in range(8)] == [16] * 8
        assert _good(handle, "10.0.0.1") == 0
    for second in range(100, 130):
        handle.set_now(START + second)
        for _ in range(13):
            _fail(handle, "10.0.0.1")
    assert _good(handle, "10.0.0.1") == 16
    handle.set_now(START + 130 + MINUTE)
    assert _good(handle, "10.0.0.1") == 0


def test_it_is_bounded_and_keeps_who_came_last(handle: Handle) -> None:
    for number in range(20_000):
        handle.set_now(START + number // 1000)
        assert _fail(handle, str(ipaddress.ip_address(0x0A000000 + number))) == 1
    last = [str(ipaddress.ip_address(0x0A000000 + number)) for number in range(19_900, 20_000)]
    kept = sum(_fail(handle, address) == 2 for address in last)
    # Four of a set of some twenty are kept, those that came last.
    assert kept > 90


def test_who_was_seen_over_tcp(handle: Handle) -> None:
    assert not _was_seen(handle, "10.0.0.1")
    _see(handle, "10.0.0.1")
    _see(handle, "2001:db8::1")
    assert _was_seen(handle, "10.0.0.1")
    assert _was_seen(handle, "2001:db8::1")
    # Who has one address of a network may still be told to flood another one.
    assert not _was_seen(handle, "2001:db8::2")
    assert not _was_seen(handle, "10.0.0.2")
    handle.set_now(START + DAY - 1)
    assert _was_seen(handle, "10.0.0.1")
    handle.set_now(START + DAY)
    assert not _was_seen(handle, "10.0.0.1")


def test_a_unix_socket_says_nothing_of_an_address(handle: Handle) -> None:
    _see(handle, "unix")
    assert not _was_seen(handle, "unix")


def test_seeing_again_renews(handle: Handle) -> None:
    _see(handle, "10.0.0.1")
    handle.set_now(START + DAY - 1)
    _see(handle, "10.0.0.1")
    handle.set_now(START + DAY + MINUTE)
    assert _was_seen(handle, "10.0.0.1")


def test_more_addresses_than_fit(handle: Handle) -> None:
    many = [str(ipaddress.ip_address(0x0A000000 + number)) for number in range(TABLE_ADDRESSES)]
    for address in many:
        _see(handle, address)
    seen = sum(_was_seen(handle, address) for address in many)
    assert TABLE_ADDRESSES // 2 < seen <= TABLE_ADDRESSES


def test_without_tables_nothing_is_held_back() -> None:
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        handle = cache.open(0)
        _see(handle, "10.0.0.1")
        assert _fail(handle, "10.0.0.1") == 0
        assert not _was_seen(handle, "10.0.0.1")
