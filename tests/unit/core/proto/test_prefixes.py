"""`stats detail`: commands are counted by the prefix of their key, and the table has a bound."""

from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import Cache
from tests.support.core.talk import Talk

PREFIXES_MAX = 3072


@pytest.fixture
def talk() -> Iterator[Talk]:
    with Cache(reserve_bytes_more=lib.prefix_reserve_bytes()) as cache:
        assert lib.prefix_create(cache.arena) == 0
        cache.set_live("detail_enabled", 1)
        cache.set_live("prefix_delimiter", ord(":"))
        yield Talk(cache.open())


def counts(talk: Talk) -> dict[bytes, tuple[int, int, int, int]]:
    """Gets, hits, sets and deletes of each prefix."""
    record = ffi.new("struct prefix_record *")
    found, index = {}, 0
    while lib.prefix_read(talk.handle.cache.arena, index, record):
        name = bytes(ffi.buffer(record.prefix, record.prefix_bytes))
        found[name] = (record.gets, record.hits, record.sets, record.deletes)
        index += 1
    assert index == lib.prefix_total(talk.handle.cache.arena)
    return found


def test_each_command_counts_once(talk: Talk) -> None:
    talk.ask(b"set a:1 0 0 1\r\nx\r\nset b:1 0 0 1\r\nx\r\nset b:2 0 0 1\r\nx\r\n")
    talk.ask(b"get a:1 a:2 b:1\r\nget none\r\nget :x\r\ndelete b:1\r\n")
    assert counts(talk) == {b"a": (2, 1, 1, 0), b"b": (1, 1, 2, 1)}


def test_what_finds_no_place_is_counted_together(talk: Talk) -> None:
    for number in range(PREFIXES_MAX):
        talk.ask(b"get p%d:k\r\n" % number)
    assert talk.handle.counters()["prefixes_dropped"] == 0
    talk.ask(b"get other:k\r\nget p0:k\r\nget other:k\r\n")
    assert talk.handle.counters()["prefixes_dropped"] == 2
    found = counts(talk)
    assert len(found) == PREFIXES_MAX
    assert b"other" not in found
    assert found[b"p0"] == (2, 0, 0, 0)
