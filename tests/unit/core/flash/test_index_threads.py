"""Threads in place of processes on one fingerprint index, for ThreadSanitizer first."""

import random
import threading

import pytest

from tests.unit.core.flash.index_driver import UNITS_PER_PAGE, Tier, address_of, hash_of

WRITERS = 2
READERS = 1
ROUNDS = 30
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

    def key(self, i: int) -> int:
        return hash_of(i % 7, i // 7 << 3 | self.slot)

    def work(self) -> None:
        dice = random.Random(self.slot)
        base = self.slot * UNITS_PER_PAGE
        entries: dict[int, int] = {}
        used = 0
        for _ in range(ROUNDS):
            for i in range(KEYS):
                if i in entries:
                    assert self.index.remove_all(self.key(i)) == 1
                assert self.index.insert(self.key(i), base + used) == 0
                entries[i] = base + used
                used += 1
                # Others grow the index under our feet.
                assert self.index.insert(dice.getrandbits(64) | 1 << 26, base + used) == 0
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


class Reader(Worker):
    """Looks up what never changes, in the chains in which others come and go."""

    def work(self) -> None:
        while not self.has_ended.is_set():
            for i in range(100):
                assert self.index.entry_at(hash_of(i % 7, i // 7 << 3), i) != 0
                assert [address_of(e) for e in self.index.find(hash_of(i % 7, i // 7 << 3))] == [i]
                self.looks += 1

    def __init__(self, tier: Tier, slot: int) -> None:
        super().__init__(tier, slot)
        self.has_ended = threading.Event()
        self.looks = 0


class Sweeper(Reader):
    """Empties a page that nobody writes to, again and again."""

    def work(self) -> None:
        dice = random.Random(99)
        while not self.has_ended.is_set():
            for i in range(200):
                key = dice.getrandbits(64) | 1 << 26
                assert self.index.insert(key, 3 * UNITS_PER_PAGE + i) == 0
            self.index.drain(3)
            assert self.index.sweep() == 200
            assert self.tier.page(3).objects == 0
            self.index.free_page(3)
            assert self.index.open_page() == 3
            self.looks += 1


@pytest.mark.slow
def test_nothing_is_missed() -> None:
    with Tier(slots=WRITERS + READERS + 3, index_bytes_max=64 << 20) as tier:
        with tier.open() as index:
            for i in range(100):
                assert index.insert(hash_of(i % 7, i // 7 << 3), i) == 0
            writers = [Writer(tier, slot) for slot in range(1, WRITERS + 1)]
            readers = [Reader(tier, slot) for slot in range(WRITERS + 1, WRITERS + READERS + 1)]
            readers.append(Sweeper(tier, WRITERS + READERS + 1))
            for worker in (*writers, *readers):
                worker.start()
            for writer in writers:
                writer.join()
            for reader in readers:
                reader.has_ended.set()
                reader.join()
            for worker in (*writers, *readers):
                assert worker.error is None, worker.error
            assert min(reader.looks for reader in readers) > 0
        assert tier.check() == tier.entries == sum(tier.page(i).objects for i in range(4))
