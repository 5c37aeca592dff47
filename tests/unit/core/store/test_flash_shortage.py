"""Little memory, or many alike in the index of flash: nothing leaks, what is deleted stays so."""

from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, TINY_LADDER, Making
from tests.support.core.flash_cache import FlashCache
from tests.support.core.records import Outcome
from tests.support.core.talk import Talk

# Above what waits in the input until it is whole: such a value streams into its item.
STREAMED_BYTES = 20_000
CANDIDATES_MAX = int(lib.FLASH_CANDIDATES_MAX)
# What the addresses of 8 pages of 2 MiB need.
ADDRESS_MASK = (1 << 20) - 1
# Of a hash, for buckets of the index as far as it grows here.
INDEX_BITS_MAX = 14


def take_all_memory(tier: FlashCache, value_bytes: int) -> list[Making]:
    """Values on their way in hold memory that cannot be evicted."""
    makings: list[Making] = []
    while True:
        making = tier.worker.begin(b"m%d" % len(makings), value_bytes)
        if making.outcome != Outcome.ROOM_MADE:
            return makings
        makings.append(making)


@pytest.mark.parametrize("line", [b"add a 0 0 %d", b"append a 0 0 %d", b"ms a %d ME"])
def test_a_streamed_value_is_given_up_when_the_old_one_finds_no_room(
    tmp_path: Path, line: bytes
) -> None:
    with FlashCache(tmp_path, limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER) as tier:
        tier.send(b"set a 0 0 900\r\n%s\r\n" % (b"v" * 900))
        tier.to_flash()
        talk = Talk(tier.worker)
        value = b"w" * STREAMED_BYTES
        talk.feed(line % len(value) + b"\r\n" + value[:-100])
        makings = take_all_memory(tier, 900)
        answer = talk.ask(value[-100:] + b"\r\n")
        assert answer == b"SERVER_ERROR out of memory storing object\r\n"
        # Its room is there again.
        assert len(take_all_memory(tier, 900)) >= STREAMED_BYTES // 1024
        for making in makings:
            making.abandon()


def test_a_key_among_too_many_of_its_bits_does_not_come_back(tmp_path: Path) -> None:
    """Keys can be found whose bits in the index are those of another; deleted must stay deleted."""
    with FlashCache(tmp_path) as tier:
        others = [b"b%d" % number for number in range(CANDIDATES_MAX)]
        for key in others:
            tier.send(b"set %s 0 0 100\r\n%s\r\n" % (key, b"o" * 100))
        tier.to_flash()
        tier.send(b"set a 0 0 100\r\n%s\r\n" % (b"v" * 100))
        found = ffi.new("uint64_t[]", CANDIDATES_MAX)
        proc, hash_a = tier.worker.proc, lib.hash_of(b"a", 1, 0)
        addresses = []
        for key in others:
            # Its record is entered under a's hash too, as if the bits of both were the same.
            assert lib.flash_find(tier.flash, proc, lib.hash_of(key, len(key), 0), found) == 1
            addresses.append(found[0] & ADDRESS_MASK)
            assert lib.flash_insert(tier.flash, proc, hash_a, addresses[-1], 200) == 0
        tier.to_flash()
        assert tier.send(b"delete a\r\n") == b"DELETED\r\n"
        for address in addresses:
            lib.flash_remove(tier.flash, proc, hash_a, address)
        assert tier.send(b"get a\r\n") == b"END\r\n"
        assert tier.entries() == len(others)


def test_keys_that_meet_in_one_chain_do_not_drop_pages(tmp_path: Path) -> None:
    """However many keys go to one bucket of the index, it takes the next one as well."""
    with FlashCache(tmp_path) as tier:
        tier.send(b"set b 0 0 100\r\n%s\r\n" % (b"o" * 100))
        tier.to_flash()
        tier.send(b"set a 0 0 100\r\n%s\r\n" % (b"v" * 100))
        hash_a = lib.hash_of(b"a", 1, 0)
        for count in range(1, 501):
            # Other bits in the entry; the bucket's number stays while the index is this small.
            other = hash_a ^ count << INDEX_BITS_MAX
            assert lib.flash_insert(tier.flash, tier.worker.proc, other, count, 200) == 0
        full = tier.counters()["ext_chain_full"]
        assert full > 0
        # Nothing is said to lack memory, for which the keeper would drop the oldest page.
        assert tier.to_flash() == 1
        assert tier.counters()["ext_chain_full"] == full + 1
        assert tier.counters()["ext_rejected_index"] == 0
        assert tier.send(b"get a\r\n") == b"VALUE a 0 100\r\n%s\r\nEND\r\n" % (b"v" * 100)
        assert tier.send(b"get b\r\n") == b"VALUE b 0 100\r\n%s\r\nEND\r\n" % (b"o" * 100)
