"""Threads in place of processes on one fingerprint index, for ThreadSanitizer first."""

import random
import threading

import pytest

from tests.support.core.flash_index_driver import (
    BUSY,
    CANDIDATES_MAX,
    UNITS_PER_PAGE,
    Tier,
    address_of,
    hash_of,
)

WRITERS = 2
# At least so many rounds, and more until the index has shrunk.
ROUNDS = 30
# Their addresses still fit in a page.
ROUNDS_MAX = 55
KEYS = 500


class Worker(threading.Thread):
    def __init__(self, tier: Tier, slot: int) -> None:
        super().__init__(name=f"worker {slot}")
        self.tier = tier
        self.slot = slot
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            # Opened here: the proof that a slot's owner lives belongs to the thread.
            self.index = self.tier.open(self.slot)
            self.work()
            self.index.close()
        except BaseException as error:
            self.error = error

    def work(self) -> None:
        raise NotImplementedError


class Writer(Worker):
    """Owns the hashes with its slot's number in them; whatever it did it finds."""

    def __init__(self, tier: Tier, slot: int, has_shrunk: threading.Event) -> None:
        super().__init__(tier, slot)
        self.has_shrunk = has_shrunk

    def key(self, i: int) -> int:
        return hash_of(i % 7, i // 7 << 3 | self.slot)

    def work(self) -> None:
        dice = random.Random(self.slot)
        base = self.slot * UNITS_PER_PAGE
        entries: dict[int, int] = {}
        used = 0
        for number in range(ROUNDS_MAX):
            if number >= ROUNDS and self.has_shrunk.is_set():
                break
            passing: dict[int, int] = {}
            for i in range(KEYS):
                if i in entries:
                    assert self.index.remove_all(self.key(i)) == 1
                assert self.index.insert(self.key(i), base + used) == 0
                entries[i] = base + used
                used += 1
                # Others grow the index under our feet, and let it shrink.
                for _ in range(3):
                    passing[base + used] = dice.getrandbits(64) | 1 << 26
                    assert self.index.insert(passing[base + used], base + used) == 0
                    used += 1
            for i in dice.sample(range(KEYS), KEYS // 2):
                (entry,) = self.index.find(self.key(i))
                assert address_of(entry) == entries[i]
                self.index.mark_read(self.key(i), entries[i])
                assert self.index.move(self.key(i), entries[i], base + used)
                entries[i] = base + used
                used += 1
            for i in dice.sample(sorted(entries), KEYS // 3):
                assert self.index.remove(self.key(i), entries.pop(i))
                assert self.index.find(self.key(i)) == []
            for address, key in passing.items():
                assert self.index.remove(key, address)


class Sweeper(Worker):
    """As the keeper: empties a page that nobody else writes to, and lets the index shrink."""

    def __init__(self, tier: Tier, slot: int) -> None:
        super().__init__(tier, slot)
        self.has_ended = threading.Event()
        self.sweeps = 0
        self.has_shrunk = threading.Event()

    def work(self) -> None:
        dice = random.Random(99)
        while not self.has_ended.is_set():
            before = self.tier.bytes
            while self.index.shrink_step(20):
                pass
            if self.tier.bytes < before:
                self.has_shrunk.set()
            for i in range(200):
                key = dice.getrandbits(64) | 1 << 26
                assert self.index.insert(key, 3 * UNITS_PER_PAGE + i) == 0
            self.index.drain(3)
            assert self.index.sweep() == 200
            assert self.tier.page(3).objects == 0
            self.index.free_page(3)
            assert self.index.open_page() == 3
            self.sweeps += 1


@pytest.mark.slow
def test_nothing_is_missed() -> None:
    """What never changes is found at any time, in chains in which others come and go."""
    still = [hash_of(i % 7, i // 7 << 3) for i in range(100)]
    # Few threads: the C library frees the stacks of more in a way ThreadSanitizer does not know.
    with Tier(slots=WRITERS + 3, index_bytes_max=64 << 20) as tier, tier.open() as index:
        for i, key in enumerate(still):
            assert index.insert(key, i) == 0
        sweeper = Sweeper(tier, WRITERS + 1)
        writers = [Writer(tier, slot, sweeper.has_shrunk) for slot in range(1, WRITERS + 1)]
        for worker in (*writers, sweeper):
            worker.start()
        while any(writer.is_alive() for writer in writers):
            for i, key in enumerate(still):
                assert index.entry_at(key, i) != 0
                assert [address_of(entry) for entry in index.find(key)] == [i]
        sweeper.has_ended.set()
        for worker in (*writers, sweeper):
            worker.join()
            assert worker.error is None, worker.error
        assert sweeper.sweeps > 0 and sweeper.has_shrunk.is_set()
        assert tier.check() == tier.entries == sum(tier.page(i).objects for i in range(4))


class Crowd(Worker):
    """Adds entries of one key's bits; how many were taken."""

    def __init__(self, tier: Tier, slot: int, key: int) -> None:
        super().__init__(tier, slot)
        self.key = key
        self.taken: list[int] = []

    def work(self) -> None:
        for i in range(200):
            address = self.slot * UNITS_PER_PAGE + i
            status = self.index.insert(self.key, address)
            assert status in (0, BUSY)
            if status == 0:
                self.taken.append(address)
            # Most of the time others look as well.
            if self.taken and i % 3 == 0:
                assert self.index.remove(self.key, self.taken.pop())


def test_two_slots_do_not_add_more_than_a_look_up_finds() -> None:
    key = hash_of(1, 77)
    with Tier(slots=4) as tier, tier.open() as index:
        crowd = [Crowd(tier, slot, key) for slot in (1, 2)]
        for one in crowd:
            one.start()
        while any(one.is_alive() for one in crowd):
            assert len(index.find(key)) <= CANDIDATES_MAX
        for one in crowd:
            one.join()
            assert one.error is None, one.error
        taken = sorted(crowd[0].taken + crowd[1].taken)
        assert tier.check() == len(taken) <= CANDIDATES_MAX
        assert sorted(map(address_of, index.find(key))) == taken
