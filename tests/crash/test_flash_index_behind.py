"""A process dies with the lock of a bucket that was merged away while it waited for it."""

import mmap
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.children import run_child
from tests.support.core.flash_index_driver import BUCKET_BYTES, START_BITS, Handle, Tier, hash_of

VICTIM = 1
SURVIVOR = 2
LATE = 3
OWNER_MASK = 0xFFFF
ENTRIES = 40


class Memory:
    """The index's words, for a state that only two processes' timing brings about."""

    def __init__(self, tier: Tier, memory: mmap.mmap) -> None:
        rows = ffi.new("struct arena_row[]", int(lib.ARENA_ROWS_MAX))
        count = int(lib.arena_ledger_read(tier.arena.pointer, rows))
        places = {ffi.string(row.label): row for row in rows[0:count]}
        self._memory = memory
        self._root = int(places[b"flash_index"].offset)
        self._locals = int(places[b"flash_local"].offset)
        self._local_bytes = int(places[b"flash_local"].bytes) // tier.slots

    def _word(self, offset: int) -> int:
        return int(struct.unpack_from("Q", self._memory, offset)[0])

    @property
    def bucket_count(self) -> int:
        return self._word(self._root + 24)

    def _home(self, number: int) -> int:
        return self._word(self._root) + number * BUCKET_BYTES

    def bucket(self, number: int) -> tuple[int, ...]:
        """The lock word and the entries."""
        return struct.unpack_from(f"{BUCKET_BYTES // 8}Q", self._memory, self._home(number))

    def lock(self, number: int, slot: int) -> None:
        """The slot's owner names the bucket and takes its lock, as for a look at an old number."""
        struct.pack_into("Q", self._memory, self._locals + slot * self._local_bytes, number + 1)
        struct.pack_into("Q", self._memory, self._home(number), self.bucket(number)[0] + slot + 1)


@contextmanager
def memory_of(tier: Tier) -> Iterator[Memory]:
    descriptor = tier._memory_file
    with mmap.mmap(descriptor, os.fstat(descriptor).st_size) as memory:
        yield Memory(tier, memory)


def die_in_merge(tier: Tier, memory: Memory) -> None:
    """Run in a child: the last bucket has a chain; it is counted no more, but not yet empty."""
    handle = tier.open(VICTIM)
    hashes = [hash_of(i % 64, i << 1) for i in range(2000)]
    for address, key in enumerate(hashes):
        assert handle.insert(key, address) == 0
    for address, key in enumerate(hashes):
        assert handle.remove(key, address)
    for address, key in enumerate(chained(memory.bucket_count - 1)):
        assert handle.insert(key, address) == 0
    handle.arm_fault("flash.index.merge.published")
    handle.shrink_step(1)


def chained(bucket: int) -> list[int]:
    """Hashes of one bucket, that of the highest number there is."""
    low, field = bucket % (1 << START_BITS), bucket >> START_BITS
    return [hash_of(low, field | i << 10) for i in range(ENTRIES)]


def die_at_once(tier: Tier) -> None:
    tier.open(LATE)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.debug
def test_a_repairer_leaves_a_bucket_alone_that_is_not_counted() -> None:
    """Whoever is next clears it without its lock, and may have given its chain to others."""
    with Tier() as tier, memory_of(tier) as memory:
        assert run_child(lambda: die_in_merge(tier, memory)).was_killed
        gone = memory.bucket_count

        def finish() -> None:
            handle = Handle(tier, SURVIVOR)
            assert handle.repair(VICTIM)
            before = memory.bucket(gone)
            assert all(before[1:])
            assert before[-1] >> 63, "there is no chain"
            assert run_child(lambda: die_at_once(tier)).was_killed
            memory.lock(gone, LATE)
            assert handle.repair(LATE)
            after = memory.bucket(gone)
            assert not after[0] & OWNER_MASK
            assert after[1:] == before[1:]
            assert tier.check() == ENTRIES
            handle.shrink()
            assert not any(memory.bucket(gone)[1:])
            assert tier.check() == ENTRIES
            for address, key in enumerate(chained(gone)):
                assert handle.entry_at(key, address)

        end = run_child(finish)
        assert end.is_fine, end
