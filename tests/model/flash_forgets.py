"""A tier that loses pages, items and whole reads: what it still answers must be the newest."""

import copy
from itertools import combinations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from pymc.core.ffi import lib
from tests.model.conversation import Command, mask_cas
from tests.model.flash_choices import CROWD, KEYS, commands, crowd, fill, fillings, keys, look
from tests.model.flash_machine import MOVE_TURNS_MAX, START_SECONDS, KeeperWork, pages
from tests.model.flash_same import talks
from tests.model.reference import Reference
from tests.support.core.talk import Talk

# More than these would be a sign that the commands tell too little.
WORLDS_MAX = 64
FAULTS = [lib.FLASH_FAULT_EIO, lib.FLASH_FAULT_SHORT, lib.FLASH_FAULT_TORN, lib.FLASH_FAULT_FLIP]


def _without(world: Reference, forgotten: tuple[bytes, ...]) -> Reference:
    other = copy.copy(world)
    other.entries = {key: world.entries[key] for key in world.entries if key not in forgotten}
    return other


def _signature(world: Reference) -> object:
    """Two worlds that this cannot tell apart answer the same from now on, but for numbers."""
    return tuple(
        (key, entry.value, entry.flags, entry.expiry_seconds)
        + (entry.is_stale, entry.is_token_sent, (entry.cas or 0) >= 1_000_000 and entry.cas)
        for key, entry in sorted(world.entries.items())
    )


class Forgets(KeeperWork):
    """`worlds` are the states that the cache may be in, by what it answered until now."""

    def __init__(self) -> None:
        super().__init__()
        self.talks = [Talk(worker, values_max=64) for worker in self.tier.workers]
        self.worlds = [Reference(START_SECONDS)]

    def teardown(self) -> None:
        self.tier.flash_fault(lib.FLASH_FAULT_NONE)
        for key in KEYS:
            self._ask(self.talks[0], look(key))
        self.tier.exile()
        for key in KEYS:
            self._ask(self.talks[1], look(key))
        self.tier.check()
        super().teardown()

    def _ask(self, talk: Talk, command: Command) -> None:
        """Each world answers as it is, and as it would be without some of its keys."""
        got = mask_cas(talk.ask(command.sent))
        fitting: dict[object, Reference] = {}
        for world in self.worlds:
            held = [key for key in KEYS if world.find(key)]
            for count in range(len(held) + 1):
                for forgotten in combinations(held, count):
                    tried = _without(world, forgotten)
                    if mask_cas(command.answer(tried)) == got:
                        fitting.setdefault(_signature(tried), tried)
        assert fitting, (command, got[:300])
        assert len(fitting) <= WORLDS_MAX
        self.worlds = list(fitting.values())

    @rule(
        which=talks,
        several=st.lists(st.one_of(commands, commands, keys.map(look)), min_size=1, max_size=5),
    )
    def ask(self, which: int, several: list[Command]) -> None:
        for command in several:
            self._ask(self.talks[which], command)

    @rule(which=talks, command=commands, value=fillings, exiles=st.booleans())
    def ask_what_is_on_flash(
        self, which: int, command: Command, value: bytes, exiles: bool
    ) -> None:
        for adding in fill(value):
            self._ask(self.talks[which], adding)
        self.tier.exile()
        self._ask(self.talks[which], command)
        if exiles:
            self.tier.exile()
        for key in KEYS:
            self._ask(self.talks[1 - which], look(key))

    @rule(which=talks, several=st.lists(commands, min_size=1, max_size=3), value=fillings)
    def ask_while_under_way(self, which: int, several: list[Command], value: bytes) -> None:
        """Items change between the copy and its commit."""
        for adding in fill(value, b"set"):
            self._ask(self.talks[which], adding)
        self.tier.fill()
        for command in several:
            self._ask(self.talks[which], command)
        self.tier.commit()
        self.tier.drop_memory_copies()

    @rule(which=talks)
    def look_at_all(self, which: int) -> None:
        for key in KEYS:
            self._ask(self.talks[which], look(key))

    @rule(which=talks, size=st.sampled_from([100, 1000, 4000]))
    def put_crowd(self, which: int, size: int) -> None:
        """Makes the log wrap."""
        for number, command in enumerate(crowd(b"%06d" % size * (size // 6), 0)):
            assert self.talks[which].ask(command.sent) == b"STORED\r\n", number

    @rule(which=talks)
    def read_crowd(self, which: int) -> None:
        for key in CROWD:
            got = self.talks[which].ask(b"get %s\r\n" % key)
            assert got == b"END\r\n" or got.startswith(b"VALUE %s 3 " % key)

    @rule(seconds=st.sampled_from([1, 2, 5, 60, 100]))
    def wait(self, seconds: int) -> None:
        now = self.tier.now + seconds
        self.tier.set_now(now)
        for world in self.worlds:
            world.turn(now)

    @rule(which=talks)
    def flush(self, which: int) -> None:
        assert self.talks[which].ask(b"flush_all\r\n") == b"OK\r\n"
        for world in self.worlds:
            world.flush_all()

    @rule(which=pages)
    def drop(self, which: int) -> None:
        used = self.tier.in_use()
        if used:
            self.tier.commit()
            self.tier.drop_page(used[which % len(used)])

    @rule(which=pages)
    def drain(self, which: int) -> None:
        """Its records cannot be read any more, its entries are still there."""
        used = self.tier.in_use()
        if used:
            self.tier.drain(used[which % len(used)])

    @rule(which=pages)
    def compact_read(self, which: int) -> None:
        used = self.tier.in_use()
        if used:
            self.tier.compact(used[which % len(used)], read_only=True)

    @rule(class_id=st.integers(1, 12), chunks=st.sampled_from([50, 1 << 30]))
    def give_page_back(self, class_id: int, chunks: int) -> None:
        """Memory becomes less: items are evicted, clean or not."""
        keeper = self.tier.keeper
        move = keeper.move_begin(class_id, 0)
        for _turn in range(MOVE_TURNS_MAX if move else 0):
            self.tier.set_now(self.tier.now)
            while not keeper.move_step(move, chunks):
                if move.chunk == 0:
                    break
            else:
                return
        if move:
            keeper.move_cancel(move)

    @rule(which=talks, key=keys)
    def forget(self, which: int, key: bytes) -> None:
        self.tier.workers[which].forget(key)
        self.worlds = [_without(world, (key,)) for world in self.worlds]

    @rule(
        kind=st.sampled_from([lib.FLASH_FAULT_NONE, *FAULTS]),
        on_writes=st.booleans(),
        skip=st.integers(0, 2),
        count=st.integers(1, 3),
    )
    def fault(self, kind: int, on_writes: bool, skip: int, count: int) -> None:
        """Some reads or writes to come will fail or be wrong (in debug builds)."""
        self.tier.flash_fault(
            kind, on_writes=on_writes, on_reads=not on_writes, skip=skip, count=count
        )
