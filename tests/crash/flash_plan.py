"""A deterministic workload on the fingerprint index, and what must hold after a death in it."""

import mmap
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

from tests.support.children import Journal
from tests.support.core.flash_index_driver import (
    NO_MEMORY,
    START_BITS,
    UNITS_PER_PAGE,
    Handle,
    Tier,
    hash_of,
)

BUCKETS = 1 << START_BITS
# Among so many bursts of operations this one is a tide.
TIDE = 10

# A worker's plan ends with so many insertions that the index refused.
REFUSALS_MAX = 1 << 16

# Address to hash.
Entries = dict[int, int]


class PlanJournal(Journal):
    """Tells as well which insertions were refused: the chain is too long, or there is no memory.

    How long a chain is depends on what the others do, so no plan knows it before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._refusals = mmap.mmap(-1, 8 * (1 + REFUSALS_MAX))

    @property
    def refused(self) -> tuple[int, ...]:
        """The numbers of the refused operations; the one begun last may be missing."""
        (count,) = struct.unpack_from("Q", self._refusals)
        return struct.unpack_from(f"{count}Q", self._refusals, 8)

    def refuse(self, number: int) -> bool:
        """Notes a refusal; False when there is no room for one more."""
        (count,) = struct.unpack_from("Q", self._refusals)
        struct.pack_into("Q", self._refusals, 8 * (1 + count), number)
        struct.pack_into("Q", self._refusals, 0, count + 1)
        return bool(count + 1 < REFUSALS_MAX)


@dataclass(frozen=True)
class Operation:
    """One call on the index."""

    name: str
    key_hash: int = 0
    address: int = 0
    target: int = 0


def operations(seed: int, page: int) -> Iterator[Operation]:
    """Operations without end on addresses of one page and hashes that nobody else uses."""
    dice = random.Random(seed * 16 + page)
    entries: Entries = {}
    used = page * UNITS_PER_PAGE

    def scattered() -> int:
        return hash_of(dice.randrange(BUCKETS), dice.randrange(1 << 18) | 1 << 18 | page << 19)

    for number in count():
        burst: list[Operation] = []
        name = dice.choices(
            ("insert", "rush", "remove", "remove_all", "move", "mark"), (60, 2, 8, 4, 6, 6)
        )[0]
        used += 1
        if number % 150 == TIDE:
            burst += _tide(dice, page, used, scattered)
            used += len(burst)
        elif name == "insert" or not entries:
            burst.append(Operation("insert", scattered(), used))
        elif name == "rush":
            burst += _rush(dice, page, used)
            used += len(burst)
        else:
            address = dice.choice(list(entries))
            burst.append(Operation(name, entries[address], address, used))
        for operation in burst:
            apply(entries, operation)
            yield operation


def _rush(dice: random.Random, page: int, used: int) -> list[Operation]:
    """A chain that grows and shrinks: entries of few buckets, before and after they split."""
    bucket = dice.choice((0, 1, dice.randrange(BUCKETS)))
    low = dice.randrange(16)
    hashes = [hash_of(bucket, i << 4 | low | page << 19) for i in range(dice.randrange(20, 80))]
    added = [Operation("insert", key, used + i) for i, key in enumerate(hashes)]
    taken = [Operation("remove", one.key_hash, one.address) for one in added]
    dice.shuffle(taken)
    return added + taken[dice.randrange(8) :]


def _tide(
    dice: random.Random, page: int, used: int, scattered: Callable[[], int]
) -> list[Operation]:
    """The index grows by many buckets and some long chains, and shrinks again."""
    hashes = [scattered() for _ in range(900)]
    # Few enough for several processes in one chain: a full one would lose entries of others.
    hashes += [hash_of(i % 4, i << 4 | page << 19) for i in range(300)]
    added = [Operation("insert", key, used + i) for i, key in enumerate(hashes)]
    taken = [Operation("remove", one.key_hash, one.address) for one in added[:900]]
    taken += [Operation("shrink", target=1)] * 5
    taken += [Operation("remove", one.key_hash, one.address) for one in added[900:]]
    taken += [Operation("shrink", target=7)] * 20
    dice.shuffle(added)
    return added + taken


def apply(entries: Entries, operation: Operation) -> None:
    """Follows an operation that went through."""
    match operation.name:
        case "insert":
            entries[operation.address] = operation.key_hash
        case "remove":
            entries.pop(operation.address, None)
        case "remove_all":
            for address in [at for at, key in entries.items() if key == operation.key_hash]:
                del entries[address]
        case "move":
            if operation.address in entries:
                entries[operation.target] = entries.pop(operation.address)


def play(handle: Handle, operation: Operation) -> bool:
    """Does the operation; False when the index refused it."""
    key, address = operation.key_hash, operation.address
    match operation.name:
        case "insert":
            status = handle.insert(key, address)
            assert status in (0, NO_MEMORY)
            return status == 0
        case "remove":
            handle.remove(key, address)
        case "remove_all":
            handle.remove_all(key)
        case "move":
            handle.move(key, address, operation.target)
        case "shrink":
            handle.shrink_step(operation.target)
        case "mark":
            handle.mark_read(key, address)
        case _:
            raise AssertionError(operation)
    return True


def work(handle: Handle, seed: int, page: int, journal: PlanJournal, most: int) -> None:
    """Plays the plan until its end, until it is told to stop, or until death."""
    for begun, operation in enumerate(islice(operations(seed, page), most), start=1):
        if journal.is_stopped:
            return
        journal.begun = begun
        if not play(handle, operation) and not journal.refuse(begun):
            return


def look(handle: Handle, seed: int, page: int, journal: PlanJournal) -> None:
    """What is there is what was put there, and nothing is missing; the last may have been done."""
    before: Entries = {}
    after: Entries = {}
    hashes: set[tuple[int, int]] = set()
    refused = set(journal.refused)
    for number, operation in enumerate(islice(operations(seed, page), journal.begun), start=1):
        if number not in refused:
            apply(after, operation)
            if number < journal.begun:
                apply(before, operation)
        hashes.add((operation.key_hash, operation.address))
        hashes.add((operation.key_hash, operation.target))
    for key, address in hashes:
        was_there, may_be_there = before.get(address) == key, after.get(address) == key
        if handle.entry_at(key, address):
            assert was_there or may_be_there, f"foreign: {(key, address)}"
        else:
            assert not (was_there and may_be_there), f"missing: {(key, address)}"


def empty(tier: Tier, handle: Handle, deaths: int) -> None:
    """Takes everything out; no page was counted too low, and a death adds at most one."""
    entries = tier.check()
    counted = [tier.page(page).objects for page in range(tier.pages)]
    assert entries <= sum(counted) <= entries + deaths, (entries, counted)
    for page in range(tier.pages):
        handle.drain(page)
    assert handle.sweep(100) == entries
    assert tier.check() == 0
    for page in range(tier.pages):
        handle.free_page(page)
        assert handle.open_page() == page
