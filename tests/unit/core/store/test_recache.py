"""When an item on flash comes back to memory, and that it stays there for who wanted it."""

from pathlib import Path

from pymc.core.ffi import lib
from tests.support.core.driver import MIB, Found
from tests.support.core.flash_cache import FlashCache, Log
from tests.support.core.flash_command import KEY, Command

LARGE = b"v" * 3000


def test_every_third_item_that_is_read_again_comes_back(tmp_path: Path) -> None:
    with FlashCache(tmp_path, Log(avoid_direct=True)) as tier:
        tier.set_live("ext_recache_rate", 3)
        keys = [b"k%d" % number for number in range(9)]
        for key in keys:
            tier.send(b"set %s 0 0 1\r\nx\r\n" % key)
        assert tier.to_flash() == len(keys)
        counts = []
        for key in keys * 2:
            assert tier.send(b"mg %s v\r\n" % key) == b"VA 1\r\nx\r\n"
            counts.append(tier.counters()["ext_brought_back"])
        assert counts == [0] * 9 + [0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_who_brought_an_item_back_does_not_evict_it(tmp_path: Path) -> None:
    """The command that wanted it makes room, and still finds it."""
    with FlashCache(tmp_path, Log(avoid_direct=True), limit_bytes=4 * MIB) as tier:
        tier.send(b"set %s 0 0 3000\r\n%s\r\n" % (KEY, LARGE))
        assert tier.to_flash() == 1
        command = Command(tier)
        command.read_record()
        assert command.look() == lib.STORE_HIT
        assert command.bring_back() == lib.STORE_STORED
        command.close()
        for number in range(5000):
            tier.worker.put(b"other%d" % number, LARGE)
        assert tier.counters()["evictions"] > 1000
        assert isinstance(tier.worker.look(KEY), Found)
