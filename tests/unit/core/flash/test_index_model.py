"""The fingerprint index beside a model: few hashes, so that they collide and hang in chains."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pymc.core.ffi import ffi
from tests.support.core.flash_index_driver import (
    BUSY,
    CANDIDATES_MAX,
    HASH_BITS,
    SPARE_BITS,
    START_BITS,
    UNITS_PER_PAGE,
    Tier,
    address_of,
    hash_of,
    is_read,
)

PAGES = 4
HASH_MASK = (1 << (START_BITS + HASH_BITS + SPARE_BITS)) - 1
HASHES = st.builds(hash_of, st.sampled_from((0, 3, 63)), st.integers(0, 40))
# All of one first bucket, told apart by bits that lead to several as the index grows.
RUSHES = st.tuples(st.sampled_from((0, 3, 63)), st.integers(0, 3), st.integers(1, 60))


class IndexMachine(RuleBasedStateMachine):
    """Each operation is done on both sides; the model is a table of addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.tier = Tier(pages=PAGES)
        self.index = self.tier.open()
        self.other = self.tier.open(1)
        # What is in the index: address to hash bits and whether it was read.
        self.entries: dict[int, tuple[int, bool]] = {}
        self.used = [0] * PAGES
        self.draining: int | None = None
        self.sweep: Any = None

    def teardown(self) -> None:
        self.compare()
        self.index.close()
        self.other.close()
        self.tier.close()

    def address(self, choice: int) -> int:
        """A new address in a page that takes records."""
        page = choice % PAGES
        if page == self.draining:
            page = (page + 1) % PAGES
        self.used[page] += 1
        return page * UNITS_PER_PAGE + self.used[page]

    def add(self, key: int, address: int) -> None:
        alike = [at for at, (h, _) in self.entries.items() if h == key & HASH_MASK]
        if len(alike) >= CANDIDATES_MAX:
            assert self.index.insert(key, address) == BUSY
            return
        assert self.index.insert(key, address) == 0
        if self.tier.entries == len(self.entries):
            # Hashes that differ in their highest bits only stay in one chain for ever: it was
            # full, and another of its entries went.
            (gone,) = (at for at, (h, _) in self.entries.items() if not self.index.entry_at(h, at))
            del self.entries[gone]
        self.entries[address] = (key & HASH_MASK, False)

    def pick(self, choice: int) -> tuple[int, int, bool]:
        """An entry: address, hash, whether it was read."""
        address = list(self.entries)[choice % len(self.entries)]
        return address, *self.entries[address]

    def compare(self) -> None:
        assert self.tier.check() == len(self.entries) == self.tier.entries
        for page in range(PAGES):
            inside = [
                read for at, (_, read) in self.entries.items() if at // UNITS_PER_PAGE == page
            ]
            row = self.tier.page(page)
            assert (row.objects, row.objects_read) == (len(inside), sum(inside))

    @rule(key=HASHES, choice=st.integers(0, 3))
    def insert(self, key: int, choice: int) -> None:
        self.add(key, self.address(choice))

    @rule(rush=RUSHES, choice=st.integers(0, 3))
    def insert_many(self, rush: tuple[int, int, int], choice: int) -> None:
        bucket, shift, count = rush
        for i in range(count):
            self.add(hash_of(bucket, (i << shift) + 7), self.address(choice))

    @rule(seed=st.integers(0, 1000), choice=st.integers(0, 3))
    def grow(self, seed: int, choice: int) -> None:
        for i in range(seed * 97, seed * 97 + 200):
            self.add(i * 0x9E3779B97F4A7C15 & HASH_MASK, self.address(choice))

    @rule(seed=st.integers(0, 1000))
    def ebb(self, seed: int) -> None:
        """Most entries go, so that the index wants to shrink."""
        for address, (key, _) in list(self.entries.items()):
            if (address + seed) % 8:
                assert self.other.remove(key, address)
                del self.entries[address]

    @rule(buckets=st.sampled_from((1, 7, 1000)))
    def shrink(self, buckets: int) -> None:
        self.index.shrink_step(buckets)
        self.other.shrink_step(buckets)

    @rule(key=HASHES)
    def find(self, key: int) -> None:
        found = self.other.find(key)
        wanted = {at: read for at, (h, read) in self.entries.items() if h == key & HASH_MASK}
        assert len({address_of(entry) for entry in found}) == len(wanted) <= CANDIDATES_MAX
        assert all(wanted[address_of(entry)] == is_read(entry) for entry in found)

    @precondition(lambda self: self.entries)
    @rule(choice=st.integers(0, 1 << 20))
    def remove(self, choice: int) -> None:
        address, key, _ = self.pick(choice)
        assert self.other.remove(key, address)
        assert not self.index.remove(key, address)
        del self.entries[address]

    @rule(key=HASHES)
    def remove_all(self, key: int) -> None:
        wanted = [at for at, (h, _) in self.entries.items() if h == key & HASH_MASK]
        assert self.other.remove_all(key) == len(wanted)
        for address in wanted:
            del self.entries[address]

    @precondition(lambda self: self.entries)
    @rule(picked=st.integers(0, 1 << 20), choice=st.integers(0, 3))
    def move(self, picked: int, choice: int) -> None:
        start, key, _ = self.pick(picked)
        end = self.address(choice)
        assert self.index.move(key, start, end)
        del self.entries[start]
        self.entries[end] = (key, False)

    @precondition(lambda self: self.entries)
    @rule(choice=st.integers(0, 1 << 20))
    def mark(self, choice: int) -> None:
        address, key, was_read = self.pick(choice)
        assert self.other.mark_read(key, address) == was_read
        self.entries[address] = (key, True)

    @precondition(lambda self: self.draining is None)
    @rule(page=st.integers(0, PAGES - 1))
    def drain(self, page: int) -> None:
        self.index.drain(page)
        self.draining = page
        self.sweep = ffi.new("struct flash_sweep *")
        self.compare()

    @precondition(lambda self: self.draining is not None)
    @rule(buckets=st.integers(1, 60))
    def sweep_some(self, buckets: int) -> None:
        """Between the steps other rules go on, and buckets split."""
        assert self.draining is not None
        goes_on = self.index.sweep_step(self.sweep, buckets)
        for address, (key, _) in list(self.entries.items()):
            if address // UNITS_PER_PAGE == self.draining and not self.index.entry_at(key, address):
                del self.entries[address]
        if not goes_on:
            assert self.tier.page(self.draining).objects == 0
            self.compare()
            self.index.free_page(self.draining)
            assert self.index.open_page() == self.draining
            self.draining = None


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
