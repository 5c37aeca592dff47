"""Items that leave memory by age: those that are on flash too, and idle; none of them is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core.flash_keeper import FlashKeeper

LATER = 200


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FlashKeeper]:
    with FlashKeeper(tmp_path, now=100) as made:
        yield made
        made.check()


def put(tier: FlashKeeper, prefix: str, count: int, value_bytes: int = 100) -> list[bytes]:
    keys = [f"{prefix}{number}".encode() for number in range(count)]
    for key in keys:
        value = (key + b"-" * value_bytes)[:value_bytes]
        assert tier.send(b"set %s 7 0 %d\r\n%s\r\n" % (key, len(value), value)) == b"STORED\r\n"
    return keys


def are_there(tier: FlashKeeper, keys: list[bytes], value_bytes: int = 100) -> bool:
    """Whether each key has its value, wherever that is."""
    return all(
        tier.send(b"get %s\r\n" % key)
        == b"VALUE %s 7 %d\r\n%s\r\nEND\r\n"
        % (key, value_bytes, (key + b"-" * value_bytes)[:value_bytes])
        for key in keys
    )


def test_who_is_idle_and_on_flash_leaves(tier: FlashKeeper) -> None:
    keys = put(tier, "old", 40)
    tier.write_out()
    unwritten = put(tier, "unwritten", 10)
    assert tier.leave(idle_seconds=1) == 0
    tier.set_now(LATER)
    young = put(tier, "young", 5)
    tier.write_out()
    assert tier.leave(idle_seconds=LATER - 100 + 1) == 0
    assert tier.leave(idle_seconds=LATER - 100) == 50
    counters = tier.counters()
    assert (counters["items"], counters["evictions"]) == (5, 0)
    assert counters["ext_clean_evictions"] == 50 and counters["ext_unclean_evictions"] == 0
    assert are_there(tier, keys + unwritten + young)
    assert tier.counters()["get_extstore"] == 50


def test_who_has_no_copy_stays(tier: FlashKeeper) -> None:
    put(tier, "written", 20)
    tier.write_out()
    changed = put(tier, "written", 3)
    fresh = put(tier, "fresh", 4)
    tier.set_now(LATER)
    assert tier.leave() == 17
    assert {b"VALUE %s 7 100" % key for key in changed + fresh} == {
        tier.send(b"get %s\r\n" % key).split(b"\r\n")[0] for key in changed + fresh
    }
    assert tier.counters()["get_extstore"] == 0


def test_who_is_in_a_write_buffer_may_leave(tier: FlashKeeper) -> None:
    keys = put(tier, "k", 30)
    tier.fill()
    assert tier.leave() == 30
    assert are_there(tier, keys)
    tier.commit()
    assert are_there(tier, keys)


def test_who_lost_its_copy_stays(tier: FlashKeeper) -> None:
    keys = put(tier, "k", 30)
    tier.write_out()
    tier.drop_page(tier.in_use()[0])
    assert tier.leave() == 0
    assert are_there(tier, keys)


def test_the_dead_are_left_to_others(tier: FlashKeeper) -> None:
    tier.send(b"set dying 0 50 1\r\nx\r\n")
    tier.write_out()
    tier.set_now(LATER)
    assert tier.leave() == 0
    assert tier.send(b"get dying\r\n") == b"END\r\n"


def test_large_values_leave_as_a_whole(tier: FlashKeeper) -> None:
    keys = put(tier, "large", 3, 9000)
    tier.write_out()
    assert tier.leave() == 3
    assert tier.counters()["items"] == 0
    assert are_there(tier, keys, 9000)


def test_each_step_is_bounded(tier: FlashKeeper) -> None:
    put(tier, "k", 40)
    tier.write_out()
    assert tier.leave(chunks=7) == 40


@pytest.mark.parametrize("age_seconds", [1, 10, 400])
def test_what_is_read_more_often_is_never_idle(tier: FlashKeeper, age_seconds: int) -> None:
    # Times of items are renewed once a minute at most where nobody asks for more.
    tier.set_live("ext_item_age_seconds", age_seconds)
    read, idle = put(tier, "read", 1), put(tier, "idle", 1)
    tier.write_out()
    gone = 0
    for now in range(101, 100 + 3 * age_seconds):
        tier.set_now(now)
        assert are_there(tier, read)
        gone += tier.leave(age_seconds)
    assert gone == 1
    assert tier.counters()["get_extstore"] == 0
    assert are_there(tier, idle)
