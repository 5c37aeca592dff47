"""What each command counts, in memory and on flash: these counters go up, by so much, and no other.

A row has a command, with `<` before the name of its value, and the counters that it moves, by 1
where no number is given.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.core.driver import TINY_LADDER, Cache, Handle
from tests.support.core.flash_cache import FlashCache, Log
from tests.support.core.talk import Talk

VALUES = {"x": b"x", "10": b"10", "large": b"v" * 20_000, "huge": b"v" * 2_000_000}
ITEM_BYTES_MAX = 1_000_000
# How an operation found its way, and what the device's sectors make of a read.
UNASKED = {
    "read_retries",
    "optimistic_retries",
    "optimistic_locked",
    "ext_index_chances",
    "ext_device_bytes_read",
}
SETUP = ("ms a 2 E900|10", "set text 0 0 3|abc", "set large 0 0 20000|large")
DEAD = ("set dead 0 50 1|x",)

# An item with a CAS number of the client's own has 8 bytes more, one with an expiry 4.
MEMORY = """
get a                       | requests cmd_get hits_to_hot
get none                    | requests cmd_get get_misses
get a none a                | requests cmd_get=3 hits_to_hot=2 get_misses
gets a                      | requests cmd_get hits_to_hot
get large                   | requests cmd_get hits_to_hot
get dead                    | requests cmd_get get_misses get_expired items=-1 item_bytes=-25
gat 0 a                     | requests cmd_touch touch_hits
gat 0 none                  | requests cmd_touch touch_misses
gat 0 dead                  | requests cmd_touch touch_misses get_expired items=-1 item_bytes=-25
touch a 0                   | requests cmd_touch touch_hits
touch none 0                | requests cmd_touch touch_misses
touch dead 0                | requests cmd_touch touch_misses get_expired items=-1 item_bytes=-25
set a 0 0 1 <x              | requests cmd_set total_items item_bytes=-9
set a 0 0 1 noreply <x      | requests cmd_set total_items item_bytes=-9
set new 0 0 1 <x            | requests cmd_set total_items items item_bytes=20
set new 0 0 20000 <large    | requests cmd_set total_items items item_bytes=20444
set a 0 0 2000000 <huge     | requests store_too_large items=-1 item_bytes=-27
add a 0 0 1 <x              | requests cmd_set
add new 0 0 1 <x            | requests cmd_set total_items items item_bytes=20
add dead 0 0 1 <x           | requests cmd_set total_items get_expired item_bytes=-4
replace a 0 0 1 <x          | requests cmd_set total_items item_bytes=-9
replace none 0 0 1 <x       | requests cmd_set
replace dead 0 0 1 <x       | requests cmd_set get_expired items=-1 item_bytes=-25
append a 0 0 1 <x           | requests cmd_set total_items item_bytes=-7
append none 0 0 1 <x        | requests cmd_set
append dead 0 0 1 <x        | requests cmd_set get_expired items=-1 item_bytes=-25
prepend large 0 0 1 <x      | requests cmd_set total_items item_bytes=1
cas a 0 0 1 900 <x          | requests cmd_set cas_hits total_items item_bytes=-9
cas a 0 0 1 9 <x            | requests cmd_set cas_badval
cas none 0 0 1 9 <x         | requests cmd_set cas_misses
cas dead 0 0 1 9 <x         | requests cmd_set cas_misses get_expired items=-1 item_bytes=-25
incr a 1                    | requests incr_hits
incr a 90                   | requests incr_hits item_bytes=-7
incr none 1                 | requests incr_misses
incr text 1                 | requests
incr dead 1                 | requests incr_misses get_expired items=-1 item_bytes=-25
decr a 1                    | requests decr_hits
decr none 1                 | requests decr_misses
delete a                    | requests delete_hits items=-1 item_bytes=-27
delete none                 | requests delete_misses
delete large                | requests delete_hits items=-1 item_bytes=-20448
delete dead                 | requests delete_misses get_expired items=-1 item_bytes=-25
mg a v                      | requests cmd_get hits_to_hot
mg a k                      | requests cmd_get hits_to_hot
mg none v                   | requests cmd_get get_misses
mg none v q                 | requests cmd_get get_misses
mg dead v                   | requests cmd_get get_misses get_expired items=-1 item_bytes=-25
mg a T30 v                  | requests cmd_touch touch_hits item_bytes=4
mg none N30 v               | requests cmd_get total_items hits_to_hot items item_bytes=24
ms a 1 <x                   | requests cmd_set total_items item_bytes=-9
ms a 1 C900 <x              | requests cmd_set cas_hits total_items item_bytes=-9
ms a 1 C9 <x                | requests cmd_set cas_badval
ms a 1 C9 I <x              | requests cmd_set cas_hits total_items item_bytes=-5
ms none 1 C9 <x             | requests cmd_set cas_misses
ms a 1 ME <x                | requests cmd_set
ms a 1 MA <x                | requests cmd_set total_items item_bytes=-7
ms none 1 MA <x             | requests cmd_set
ms none 1 MA N60 <x         | requests cmd_set total_items items item_bytes=25
md a                        | requests delete_hits items=-1 item_bytes=-27
md a C900                   | requests delete_hits items=-1 item_bytes=-27
md a C9                     | requests delete_misses
md a x                      | requests delete_hits total_items item_bytes=-2
md a I T30                  | requests item_bytes=4
md none                     | requests delete_misses
ma a                        | requests incr_hits
ma a MD                     | requests decr_hits
ma a C9                     | requests
ma none                     | requests incr_misses
ma none MD                  | requests decr_misses
ma none N0                  | requests total_items items item_bytes=21
me a                        | requests cmd_meta
mn                          | requests
bad                         | requests
flush_all                   | requests cmd_flush flushed_items=4 flushed_item_bytes=20523
"""

# The same where all of it is on flash. READ: the record of `a` was read from the device; BACK: and
# the item is in memory again, its copy on flash with it; GONE: that copy is none any more.
FLASH = """
get a                       | requests cmd_get hits_to_cold get_extstore READ
get a none a                | requests cmd_get=3 hits_to_cold=2 get_misses get_extstore=2 READ=2
get none                    | requests cmd_get get_misses
gat 0 a                     | requests cmd_touch touch_hits get_extstore READ BACK GONE
gat 0 none                  | requests cmd_touch touch_misses
touch a 0                   | requests cmd_touch touch_hits READ BACK GONE
touch none 0                | requests cmd_touch touch_misses
set a 0 0 1 <x              | requests cmd_set total_items items item_bytes=18
set a 0 0 2000000 <huge     | requests store_too_large
add a 0 0 1 <x              | requests cmd_set READ BACK
replace a 0 0 1 <x          | requests cmd_set total_items READ BACK GONE item_bytes=-9
append a 0 0 1 <x           | requests cmd_set total_items READ BACK GONE item_bytes=-7
append none 0 0 1 <x        | requests cmd_set
cas a 0 0 1 900 <x          | requests cmd_set cas_hits total_items READ BACK GONE item_bytes=-9
cas a 0 0 1 9 <x            | requests cmd_set cas_badval READ BACK
incr a 1                    | requests incr_hits READ BACK GONE
incr a 90                   | requests incr_hits READ BACK GONE item_bytes=-7
incr none 1                 | requests incr_misses
decr a 1                    | requests decr_hits READ BACK GONE
delete a                    | requests delete_hits READ
delete none                 | requests delete_misses
mg a v                      | requests cmd_get hits_to_cold get_extstore READ
mg a T30 v                  | requests cmd_touch touch_hits get_extstore READ BACK GONE item_bytes=4
ms a 1 C900 <x              | requests cmd_set cas_hits total_items READ BACK GONE item_bytes=-9
ms a 1 C9 <x                | requests cmd_set cas_badval READ BACK
ms a 1 C9 I <x              | requests cmd_set cas_hits total_items READ BACK GONE item_bytes=-5
ms a 1 MA <x                | requests cmd_set total_items READ BACK GONE item_bytes=-7
md a                        | requests delete_hits READ
md a C900                   | requests delete_hits READ BACK GONE items=-1 item_bytes=-27
md a C9                     | requests delete_misses READ BACK
md a x                      | requests delete_hits total_items READ BACK GONE item_bytes=-2
md a I T30                  | requests READ BACK GONE item_bytes=4
ma a                        | requests incr_hits READ BACK GONE
ma a C9                     | requests READ BACK
me a                        | requests cmd_meta READ
flush_all                   | requests cmd_flush
"""
ITEM_BYTES, RECORD_BYTES = 27, 39
SHORT = {
    "READ": {"ext_objects_read": 1, "ext_device_reads": 1, "ext_bytes_read": RECORD_BYTES},
    "BACK": {
        "ext_brought_back": 1,
        "items": 1,
        "item_bytes": ITEM_BYTES,
        "items_with_copy": 1,
    },
    "GONE": {"items_with_copy": -1},
}


def rows(table: str) -> list[tuple[str, dict[str, int]]]:
    """Each command with what it moves."""
    found = []
    for line in table.strip().splitlines():
        command, _, moves = line.partition("|")
        total: Counter[str] = Counter()
        for word in moves.split():
            name, _, by = word.partition("=")
            for one, value in SHORT.get(name, {name: 1}).items():
                total[one] += value * int(by or 1)
        found.append((" ".join(command.split()), {n: by for n, by in total.items() if by}))
    return found


def name_of(part: object) -> str:
    return part if isinstance(part, str) else "-"


def bytes_of(command: str) -> bytes:
    """As it is sent: behind `<` or `|` stands the name of the value."""
    line, _, name = command.replace("|", "<").partition("<")
    value = VALUES.get(name, name.encode())
    return line.strip().encode() + b"\r\n" + (value + b"\r\n" if name else b"")


def counted(store: Handle) -> dict[str, int]:
    """All counters, those of classes summed; where both have a name they must agree."""
    counters, classes = store.counters(), dict[str, int]()
    for class_id in range(1, store.slab().classes + 1):
        for name, value in store.class_counters(class_id).items():
            classes[name] = classes.get(name, 0) + value
    for name in counters.keys() & classes.keys():
        assert counters[name] == classes[name], name
    return {name: value for name, value in (counters | classes).items() if name not in UNASKED}


def moved(store: Handle, talk: Talk, command: str) -> dict[str, int]:
    before = counted(store)
    talk.ask(bytes_of(command))
    return {name: now - before[name] for name, now in counted(store).items() if now != before[name]}


@pytest.mark.parametrize(("command", "moves"), rows(MEMORY), ids=name_of)
def test_in_memory(command: str, moves: dict[str, int]) -> None:
    with Cache(chunk_bytes=TINY_LADDER) as cache:
        cache.set_live("item_bytes_max", ITEM_BYTES_MAX)
        store = cache.open()
        store.set_now(10)
        talk = Talk(store, values_max=64)
        for line in (*SETUP, *DEAD):
            talk.ask(bytes_of(line))
        store.set_now(100)
        assert moved(store, talk, command) == moves


@pytest.mark.parametrize(("command", "moves"), rows(FLASH), ids=name_of)
def test_on_flash(tmp_path: Path, command: str, moves: dict[str, int]) -> None:
    with FlashCache(tmp_path, Log(avoid_direct=True), chunk_bytes=TINY_LADDER) as tier:
        tier.set_live("item_bytes_max", ITEM_BYTES_MAX)
        for line in SETUP:
            tier.send(bytes_of(line))
        assert tier.to_flash() == len(SETUP)
        assert moved(tier.worker, tier.talk, command) == moves


FIRST, REST = b"v" * 9_000, b"v" * 11_000 + b"\r\n"
STORED = {"requests": 1, "cmd_set": 1, "total_items": 1}
# A command is one, in however many pieces it comes; what follows a value that is too long is one
# more.
PIECES: list[tuple[tuple[bytes, ...], dict[str, int]]] = [
    ((b"set a 0 0 1\r\n", b"x\r\n"), STORED | {"item_bytes": -9}),
    ((b"set a 0 0 20000\r\n", FIRST, REST), STORED | {"item_bytes": 20_417}),
    ((b"append a 0 0 20000\r\n", FIRST, REST), STORED | {"item_bytes": 20_419}),
    ((b"add a 0 0 20000\r\n", FIRST, REST), {"requests": 1, "cmd_set": 1}),
    ((b"ms a 20000\r\n", FIRST, REST), STORED | {"item_bytes": 20_417}),
    ((b"ms a 1 C9\r\n", b"x\r\n"), {"requests": 1, "cmd_set": 1, "cas_badval": 1}),
    ((b"set a 0 0 1\r\nxyz\r\n",), {"requests": 2, "cmd_set": 1}),
    ((b"ms a 1\r\nxyz\r\n",), {"requests": 2, "cmd_set": 1}),
    ((b"ms a 1 F\r\nx\r\n",), {"requests": 1}),
    ((b"mn\r\nmn\r\nme none\r\n",), {"requests": 3, "cmd_meta": 1}),
    (
        (b"set a 0 0 3000000\r\n", b"v" * 9_000, b"v" * 2_991_000 + b"\r\n"),
        {"requests": 1, "store_too_large": 1, "items": -1, "item_bytes": -27},
    ),
]


@pytest.mark.parametrize(("pieces", "moves"), PIECES, ids=range(len(PIECES)))
def test_in_pieces(pieces: tuple[bytes, ...], moves: dict[str, int]) -> None:
    with Cache(chunk_bytes=TINY_LADDER) as cache:
        cache.set_live("item_bytes_max", ITEM_BYTES_MAX)
        store = cache.open()
        talk = Talk(store, values_max=64)
        for line in SETUP:
            talk.ask(bytes_of(line))
        before = counted(store)
        for piece in pieces:
            talk.feed(piece)
        now = counted(store)
        assert {name: now[name] - before[name] for name in now if now[name] != before[name]} == (
            moves
        )
