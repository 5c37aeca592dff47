"""A record that was read, and then its page or entry changes before the command has acted on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import Found
from tests.support.core.flash_cache import FlashCache, Log
from tests.support.core.flash_command import KEY, Command


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FlashCache]:
    with FlashCache(tmp_path, Log(avoid_direct=True)) as made:
        made.send(b"set k 0 0 3\r\nold\r\n")
        assert made.to_flash() == 1
        yield made


@pytest.fixture
def command(tier: FlashCache) -> Iterator[Command]:
    made = Command(tier)
    made.read_record()
    yield made
    made.close()


def drain(tier: FlashCache) -> int:
    """Takes the page with the record out of use; its entries are still there."""
    (page,) = [n for n, row in enumerate(tier.pages()) if row.state != lib.FLASH_PAGE_FREE]
    lib.flash_page_drain(tier.flash, tier.keeper.proc, page)
    assert tier.entries() == 1
    return page


def items(tier: FlashCache) -> int:
    return tier.counters()["items"]


def test_undisturbed_it_comes_back_no_younger_than_it_was(command: Command) -> None:
    stored = command.tier.now
    command.tier.set_now(stored + 50)
    assert command.look() == lib.STORE_HIT
    assert command.bring_back() == lib.STORE_STORED
    assert items(command.tier) == 1
    found = command.tier.worker.look(KEY)
    assert isinstance(found, Found) and found.time_seconds == stored


def test_undisturbed_it_is_deleted(command: Command) -> None:
    assert command.look() == lib.STORE_HIT
    assert command.delete() == lib.STORE_DELETED
    assert command.tier.entries() == 0


def test_nothing_comes_back_from_a_page_that_is_drained(command: Command) -> None:
    """Its entry goes with the page, and the item would count as one with a copy for ever."""
    assert command.look() == lib.STORE_HIT
    drain(command.tier)
    assert command.bring_back() == lib.STORE_LOOK_AGAIN
    assert items(command.tier) == 0


def test_nothing_is_deleted_by_a_record_of_a_page_that_is_drained(command: Command) -> None:
    assert command.look() == lib.STORE_HIT
    drain(command.tier)
    assert command.delete() == lib.STORE_LOOK_AGAIN
    assert command.tier.entries() == 1


def test_a_record_of_a_drained_page_is_a_miss(command: Command) -> None:
    drain(command.tier)
    assert command.look() == lib.STORE_MISS
    assert command.tier.entries() == 0


@pytest.mark.parametrize("after_look", [False, True])
def test_a_page_that_is_in_use_again_has_other_records(command: Command, after_look: bool) -> None:
    """The new record lies where the old one was; the entry names the new one."""
    tier = command.tier
    if after_look:
        assert command.look() == lib.STORE_HIT
    address = int(command.read.address)
    tier.drop_page(drain(tier))
    tier.send(b"set k 0 0 3\r\nnew\r\n")
    assert tier.to_flash() == 1
    assert lib.flash_entry_at(tier.flash, tier.worker.proc, command.hash, address)
    if after_look:
        assert command.bring_back() == lib.STORE_LOOK_AGAIN
        assert command.delete() == lib.STORE_LOOK_AGAIN
    else:
        assert command.look() == lib.STORE_LOOK_AGAIN
    assert (tier.entries(), items(tier)) == (1, 0)
    assert tier.send(b"get k\r\n") == b"VALUE k 0 3\r\nnew\r\nEND\r\n"
