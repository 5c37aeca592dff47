"""Whatever the command, an item on flash answers as it does in memory, and is the same after."""

import re

import pytest

from tests.support.core.driver import TINY_LADDER
from tests.support.core.flash_cache import FlashCache, Log, Rules

LARGE = b"L" * 40_000
SETUPS = {
    "plain": b"set a 7 0 5\r\nvalue\r\nset b 0 0 3\r\nbbb\r\n",
    "expiring": b"set a 7 500 5\r\nvalue\r\n",
    "number": b"set a 3 0 2\r\n99\r\n",
    "large": b"set a 7 0 40000\r\n%s\r\n" % LARGE,
    "stale": b"set a 7 0 5\r\nvalue\r\nmd a I T100\r\n",
    "won": b"set a 7 0 5\r\nvalue\r\nmd a I\r\nmg a s u\r\n",
    "numbered": b"ms a 5 E900 F3\r\nvalue\r\n",
    "wide": b"ms a 5 E18446744073709551600 F3\r\nvalue\r\n",
    "binary": b"ms YQ== 5 b F3\r\nvalue\r\n",
    "empty": b"set a 0 0 0\r\n\r\n",
    "missing": b"set b 0 0 3\r\nbbb\r\n",
}
COMMANDS = [
    b"get a\r\n",
    b"gets a b c\r\n",
    b"gat 300 a\r\n",
    b"gats 0 a b\r\n",
    b"gat -1 a\r\n",
    b"touch a 200\r\n",
    b"touch a -1\r\n",
    b"touch a 0 noreply\r\n",
    b"add a 1 0 3\r\nnew\r\n",
    b"replace a 1 0 3\r\nnew\r\n",
    b"append a 1 0 3\r\nnew\r\n",
    b"prepend a 1 0 3 noreply\r\nnew\r\n",
    b"append a 1 0 9000\r\n%s\r\n" % (b"p" * 9000),
    b"prepend a 1 0 30000\r\n%s\r\n" % (b"p" * 30_000),
    b"replace a 1 0 30000\r\n%s\r\n" % (b"p" * 30_000),
    b"add a 1 0 30000\r\n%s\r\n" % (b"p" * 30_000),
    b"set a 1 0 3\r\nnew\r\n",
    b"set a 1 0 3\r\nnewer\r\n",
    b"set a 1 0 1100000\r\n%s\r\n" % (b"p" * 1_100_000),
    b"append a 1 0 1100000\r\n%s\r\n" % (b"p" * 1_100_000),
    b"cas a 1 0 3 1\r\nnew\r\n",
    b"cas a 1 0 3 900\r\nnew\r\n",
    b"cas a 1 0 9000 900\r\n%s\r\n" % (b"p" * 9000),
    b"incr a 1\r\n",
    b"decr a 5\r\n",
    b"incr a 1 noreply\r\n",
    b"delete a\r\n",
    b"delete a noreply\r\n",
    b"me a\r\n",
    b"mg a\r\n",
    b"mg a v\r\n",
    b"mg a s f c t k O123 h l v\r\n",
    b"mg a k O123 q v\r\nmn\r\n",
    b"mg missing k O123 v\r\nmn\r\n",
    b"mg a v u h\r\nmg a h\r\n",
    b"mg a T90 t v\r\nmg a t\r\n",
    b"mg a R600 t v\r\nmg a v\r\n",
    b"mg a N30 v t c\r\nmg a v\r\n",
    b"mg YQ== b k v\r\n",
    b"ms a 3\r\nnew\r\n",
    b"ms a 3 ME k O1\r\nnew\r\n",
    b"ms a 3 MR c s\r\nnew\r\n",
    b"ms a 3 MA c s\r\nnew\r\n",
    b"ms a 3 MP q\r\nnew\r\nmn\r\n",
    b"ms a 3 MA N0\r\nnew\r\n",
    b"ms a 3 C900 c\r\nnew\r\n",
    b"ms a 3 C1 c\r\nnew\r\n",
    b"ms a 3 C1 I c\r\nnew\r\n",
    b"ms a 9000 MA c\r\n%s\r\n" % (b"p" * 9000),
    b"md a\r\n",
    b"md a q k\r\nmn\r\n",
    b"md a C900 O5\r\n",
    b"md a C1 O5 k\r\n",
    b"md a I T30\r\n",
    b"md a x\r\n",
    b"md a x I T30 F9\r\n",
    b"md a E950 x\r\n",
    b"ma a v c t\r\n",
    b"ma a N0 J5 v\r\n",
    b"ma a MD D7 T40 t v O9 k\r\n",
    b"ma a C1 v\r\n",
    b"ma a E950 c q\r\nmn\r\n",
    b"flush_all\r\nget a\r\n",
    b"flush_all\r\nincr a 1\r\nadd a 0 0 1\r\n1\r\n",
    b"get a\r\nget b\r\nget a b\r\nmg b v\r\nget a\r\n",
    b"get b a\r\nset a 0 0 1\r\n1\r\nget a b\r\nincr a 4\r\nget a\r\ndelete b\r\nget a b\r\n",
    b"mg a v\r\nmg b v\r\nmg c v\r\nmg a s\r\nmn\r\n",
]
# What is left of it, with all its parts.
AFTER = [b"mg a s f t c k v u\r\n", b"mg b s f t c k v u\r\n", b"gets a b\r\n", b"me a\r\n"]


# The chunk of a large item's head has a class of its own in memory.
CLASS = re.compile(rb" cls=\d+")


def answers(
    tier: FlashCache, setup: bytes, commands: list[bytes], *, to_flash: bool
) -> list[bytes]:
    got = [tier.send(setup)]
    if to_flash:
        tier.to_flash(Rules(compress_bytes_min=1000))
        assert tier.counters()["items"] == 0
    for command in commands:
        got.append(CLASS.sub(b"", tier.send(command)))
        if to_flash:
            tier.to_flash(Rules(compress_bytes_min=1000))
    got.append(tier.send(b"flush_all\r\nmn\r\n"))
    assert got[-1] == b"OK\r\nMN\r\n"
    tier.worker.crawl()
    return got


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[FlashCache, FlashCache]:
    """One cache that keeps all in memory, and one that has it on flash whenever a command comes."""
    made = [
        FlashCache(tmp_path_factory.mktemp(name), Log(pages=4), chunk_bytes=TINY_LADDER)
        for name in ("memory", "flash")
    ]
    for tier in made:
        tier.set_live("item_bytes_max", 1_000_000)
    return made[0], made[1]


@pytest.mark.parametrize("setup", SETUPS)
def test_same_answers(pair: tuple[FlashCache, FlashCache], setup: str) -> None:
    for command in COMMANDS:
        memory, flash = pair
        first = answers(memory, SETUPS[setup], [command, *AFTER], to_flash=False)
        second = answers(flash, SETUPS[setup], [command, *AFTER], to_flash=True)
        assert second == first, command
        assert flash.reads.memory_bytes() == 0


def test_flash_was_met(pair: tuple[FlashCache, FlashCache]) -> None:
    """The tests above were about what they say."""
    counters = pair[1].counters()
    assert counters["get_extstore"] > 300
    assert counters["ext_brought_back"] > 200
    assert counters["badcrc_from_extstore"] == counters["miss_from_extstore"] == 0
    for tier in pair:
        tier.worker.limbo_step()
        tier.worker.check()
