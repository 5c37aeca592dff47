"""A copy on flash is gone with any change of its item, however far its write-out has come."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core.driver import Found
from tests.support.core.flash_keeper import FlashKeeper

ON_FLASH = 32768
KEY = b"k"
ITEM = b"set k 5 0 3\r\n127\r\n"

# The change, and what `get` and `mg f t` say then; None: as it was.
CHANGES = {
    "set": b"set k 6 0 2\r\nxy\r\n",
    "set same": ITEM,
    "set with expiry": b"set k 5 100 3\r\n127\r\n",
    "set large": b"set k 5 0 9000\r\n%s\r\n" % (b"v" * 9000),
    "set too large": b"set k 5 0 99999999\r\n",
    "replace": b"replace k 1 0 2\r\nab\r\n",
    "append": b"append k 0 0 2\r\nab\r\n",
    "prepend": b"prepend k 0 0 2\r\nab\r\n",
    "incr in place": b"incr k 1\r\n",
    "incr to more digits": b"incr k 9000\r\n",
    "decr": b"decr k 100\r\n",
    "touch": b"touch k 50\r\n",
    "touch to the past": b"touch k -1\r\n",
    "gat": b"gat 50 k\r\n",
    "gats": b"gats 50 k\r\n",
    "delete": b"delete k\r\n",
    "delete and set": b"delete k\r\nset k 5 0 3\r\n128\r\n",
    "md": b"md k q\r\n",
    "md I": b"md k I T30\r\n",
    "md I E": b"md k I E77\r\n",
    "md x": b"md k x\r\n",
    "md x twice": b"md k x\r\nmd k x F8\r\n",
    "mg T": b"mg k T30\r\n",
    "ms S": b"ms k 2 F7 T9\r\nab\r\n",
    "ms A": b"ms k 2 MA\r\nab\r\n",
    "ms P": b"ms k 2 MP\r\nab\r\n",
    "ms R": b"ms k 2 MR\r\nab\r\n",
    "ms E": b"ms k 2 E99\r\nab\r\n",
    "ms wide E": b"ms k 2 E%d\r\nab\r\n" % (1 << 60),
    "ms I older": b"ms k 1 I C1 F3\r\nz\r\n",
    "ma": b"ma k\r\n",
    "ma T": b"ma k T40\r\n",
    "ma D E": b"ma k MD E9\r\n",
    "ma wide E": b"ma k E%d\r\n" % (1 << 50),
}
# These meet an item that they change otherwise than one just stored.
PREPARED = {
    "mg R wins": (b"set k 5 20 3\r\n127\r\n", b"mg k R30 t v\r\n"),
    "mg stale wins": (ITEM + b"md k I\r\n", b"mg k v\r\n"),
    "ms over stale": (ITEM + b"md k I\r\n", b"ms k 1 T0\r\n9\r\n"),
    "the same E twice": (b"ms k 1 E5000\r\nx\r\n", b"ms k 1 E5000\r\ny\r\nms k 1 E5000\r\nz\r\n"),
    "tombstones": (b"ms k 1 F7\r\nx\r\n", b"md k x F8\r\nmd k x F9\r\n"),
}
ALL = {name: (ITEM, change) for name, change in CHANGES.items()} | PREPARED
# What does not change the item.
KEEPS = {
    "bad chunk": b"set k 5 0 3\r\n1234\r\n",
    "get": b"get k\r\n",
    "mg": b"mg k f t s h l c v\r\n",
    "me": b"me k\r\n",
    "add": b"add k 1 0 1\r\nx\r\n",
    "cas": b"cas k 1 0 1 999\r\nx\r\n",
    "ms C": b"ms k 1 C999\r\nx\r\n",
    "md C": b"md k C999\r\n",
    "ma C": b"ma k C999\r\n",
    "mg N R": b"mg k N30 R30\r\n",
}
LOOK = b"get k\r\nmg k f t c s\r\n"


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FlashKeeper]:
    with FlashKeeper(tmp_path, now=100) as made:
        # Item numbers 1 and 2 are below what the tests compare with.
        made.send(b"set other 0 0 1\r\nx\r\n" * 2)
        yield made
        made.check()


def _state(tier: FlashKeeper) -> int:
    found = tier.worker.look(KEY)
    return found.state & ON_FLASH if isinstance(found, Found) else 0


def _copies(tier: FlashKeeper) -> int:
    """How many items in memory have a copy, as all processes count it."""
    return tier.worker.counters()["items_with_copy"] % (1 << 64)


@pytest.mark.parametrize("numbers", [1, 0], ids=["cas", "no cas"])
@pytest.mark.parametrize("name", ALL)
def test_a_change_invalidates_the_copy(tier: FlashKeeper, name: str, numbers: int) -> None:
    if name == "ms I older" and not numbers:
        return  # Without numbers none is older.
    stored, change = ALL[name]
    tier.set_live("cas_enabled", numbers)
    tier.send(stored)
    assert tier.write_out() == 2
    assert tier.entries() == 2 and _copies(tier) == 2
    assert _state(tier) == ON_FLASH
    tier.send(change)
    assert tier.entries() == 1 and _copies(tier) == 1
    _is_the_same_on_flash(tier)


@pytest.mark.parametrize("numbers", [1, 0], ids=["cas", "no cas"])
@pytest.mark.parametrize("name", ALL)
def test_a_change_invalidates_a_copy_that_waits_to_be_written(
    tier: FlashKeeper, name: str, numbers: int
) -> None:
    if name == "ms I older" and not numbers:
        return  # Without numbers none is older.
    stored, change = ALL[name]
    tier.set_live("cas_enabled", numbers)
    tier.send(stored)
    assert tier.fill() == 2
    # The index names it before it is written.
    assert tier.entries() == 2 and _copies(tier) == 2
    tier.send(change)
    assert tier.entries() == 1 and _copies(tier) == 1
    tier.send(LOOK)
    now = tier.send(LOOK)
    # Once more, so that the old record and the new one are in a buffer together.
    tier.fill()
    assert tier.drop_memory_copies() >= 1
    assert tier.send(LOOK) == now
    tier.commit()
    tier.drop_memory_copies()
    assert tier.send(LOOK) == now
    _is_the_same_on_flash(tier)


@pytest.mark.parametrize("is_written", [True, False], ids=["written", "in a buffer"])
@pytest.mark.parametrize("name", ALL)
def test_a_change_of_what_is_on_flash_only(
    tier: FlashKeeper, name: str, tmp_path: Path, is_written: bool
) -> None:
    stored, change = ALL[name]
    folder = tmp_path / "other"
    folder.mkdir()
    with FlashKeeper(folder, now=100) as memory:
        memory.send(b"set other 0 0 1\r\nx\r\n" * 2)
        expected = [memory.send(sent) for sent in (stored, change, LOOK)]
    assert tier.send(stored) == expected[0]
    tier.fill()
    if is_written:
        tier.commit()
    assert tier.drop_memory_copies() == 2
    assert tier.send(change) == expected[1]
    assert tier.send(LOOK) == expected[2]
    _is_the_same_on_flash(tier)


@pytest.mark.parametrize("name", KEEPS)
def test_what_changes_nothing_keeps_the_copy(tier: FlashKeeper, name: str) -> None:
    tier.send(ITEM)
    tier.write_out()
    tier.send(KEEPS[name])
    assert tier.entries() == 2 and _state(tier) == ON_FLASH
    assert tier.drop_memory_copies() == 2
    tier.send(KEEPS[name])
    assert tier.entries() == 2
    assert tier.send(b"get k\r\n") == b"VALUE k 5 3\r\n127\r\nEND\r\n"


def test_a_flush_hits_what_is_on_flash(tier: FlashKeeper) -> None:
    tier.send(ITEM)
    tier.exile()
    tier.send(b"flush_all\r\n")
    assert tier.send(b"get k\r\n") == b"END\r\n"
    # Who meets a dead one removes it; the other is still there.
    assert tier.entries() == 1
    tier.send(ITEM)
    tier.exile()
    assert tier.send(b"get k other\r\n") == b"VALUE k 5 3\r\n127\r\nEND\r\n"
    assert tier.entries() == 1


def test_an_expired_one_is_removed_by_whoever_meets_it(tier: FlashKeeper) -> None:
    tier.send(b"set k 5 10 3\r\n127\r\n")
    tier.exile()
    tier.set_now(109)
    assert tier.send(b"mg k t\r\n") == b"HD t1\r\n"
    tier.set_now(110)
    assert tier.send(b"mg k t\r\nadd k 0 0 1\r\nx\r\n") == b"EN\r\nSTORED\r\n"
    assert tier.entries() == 1


def test_an_item_that_moves_in_memory_keeps_its_copy(tier: FlashKeeper) -> None:
    keys = [b"m%d" % number for number in range(50)]
    for key in keys:
        tier.send(b"set %s 0 0 300\r\n%s\r\n" % (key, b"v" * 300))
    under_way = tier.fill()
    class_id = tier.worker.class_for(400)
    # A copy in a buffer does not care which chunk the item has.
    tier.keeper.set_limit(32 << 20)
    move = tier.keeper.move_begin(class_id, 0)
    if move is not None:
        while not tier.keeper.move_step(move):
            tier.set_now(tier.now)
    assert under_way == _copies(tier) == tier.entries()
    assert tier.commit() == 0
    tier.exile()
    for key in keys:
        assert tier.send(b"get %s\r\n" % key).startswith(b"VALUE")


def _is_the_same_on_flash(tier: FlashKeeper) -> None:
    tier.commit()
    # The first to look at a stale item is told so, and that changes it.
    tier.send(LOOK)
    before = tier.send(LOOK)
    tier.exile()
    assert tier.worker.counters()["items"] == 0 or before.startswith(b"END")
    assert tier.send(LOOK) == before
