"""No store is refused while anything can be evicted, whatever the sizes and the commands."""

import random
from dataclasses import dataclass

import pytest

from pymc import cli
from pymc.policy.slab_sizes import ladder
from tests.support.core.driver import MIB, TINY_LADDER, Cache, Handle, Mode, Outcome


def sizes_of_the_server() -> list[int]:
    return ladder(cli.parse(["-u", "root"], "pymc", {}))


@dataclass
class Dice:
    """One seed's choices."""

    seed: int
    value_bytes_max: int
    keys: int

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.body = self.random.randbytes(4096) * (self.value_bytes_max // 4096 + 1)
        self.turn_style()

    def turn_style(self) -> None:
        self.style = self.random.choice(("tiny", "small", "middling", "any", "large"))

    def size(self) -> int:
        most = self.value_bytes_max
        if self.style == "tiny":
            return self.random.randint(1, 40)
        if self.style == "small":
            return self.random.randint(1, 2000)
        if self.style == "middling":
            return self.random.randint(1, min(most, 60_000))
        if self.style == "large":
            return self.random.randint(most // 8, most)
        return int(most ** self.random.random())

    def key(self) -> bytes:
        return b"k%d" % self.random.randrange(self.keys)


def one_operation(store: Handle, dice: Dice) -> Outcome:
    key = dice.key()
    what = dice.random.choice(
        (
            "set",
            "set",
            "set",
            "add",
            "replace",
            "append",
            "prepend",
            "cas",
            "number",
            "touch",
            "big",
        )
    )
    value = dice.body[: dice.size()]
    if what == "append" or what == "prepend":
        return store.put(
            key, value[: len(value) // 2], mode=Mode.APPEND if what == "append" else Mode.PREPEND
        ).outcome
    if what == "number":
        store.put(b"n" + key, b"9" * dice.random.randint(1, 19))
        return store.arith(b"n" + key, delta=1 << 63).outcome
    if what == "touch":
        return store.touch(key, 100_000)
    if what == "cas":
        found = store.look(key, 1)
        if isinstance(found, Outcome):
            return found
        return store.put(key, value, cas_compare=found.cas, flags=7).outcome
    if what == "big":
        making = store.begin(key, len(value), cas_new=dice.random.randrange(1, 1 << 60))
        if making.outcome != Outcome.ROOM_MADE:
            return making.outcome
        left = value
        while left:
            taken = making.fill(left)
            if not taken:
                making.abandon()
                return Outcome.NO_MEMORY
            left = left[taken:]
        outcome = making.commit().outcome
        making.abandon()
        return outcome
    mode = {"set": Mode.SET, "add": Mode.ADD, "replace": Mode.REPLACE}[what]
    flags = dice.random.choice((0, 0, 5))
    return store.put(key, value, mode=mode, flags=flags).outcome


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("limit", "value_max", "handles"),
    [(8, MIB, 1), (8, MIB, 3), (8, 3 * MIB, 2), (16, MIB, 3), (64, 8 * MIB, 2), (64, MIB, 4)],
)
def test_no_mix_is_refused(seed: int, limit: int, value_max: int, handles: int) -> None:
    dice = Dice(seed, value_max, 3000)
    with Cache(
        limit_bytes=limit * MIB,
        slots=handles + 1,
        chunk_bytes=sizes_of_the_server(),
    ) as cache:
        cache.set_live("item_bytes_max", value_max + 400)
        stores = [cache.open(slot) for slot in range(handles)]
        now = 100
        for one in stores:
            one.set_now(now)
            one.rest()
        refused = []
        for step in range(3000):
            if step % 100 == 0:
                dice.turn_style()
                now += dice.random.choice((0, 1, 5))
                for one in stores:
                    one.set_now(now)
                    if dice.random.random() < 0.5:
                        one.wake()
                        one.turn()
                        one.rest()
            store = dice.random.choice(stores)
            store.wake()
            if one_operation(store, dice) == Outcome.NO_MEMORY:
                refused.append((step, dice.style))
            store.rest()
        counters = stores[0].counters()
        assert not refused, (
            len(refused),
            refused[:5],
            {n: counters[n] for n in counters if "oom" in n},
        )
        assert counters["store_no_memory"] == 0
        assert counters["evictions"] > 0
        stores[0].check()


def hold_pages(neighbour: Handle, pages: int) -> None:
    """Begins to empty that many pages, of whatever classes, and rests."""
    held = 0
    for class_id in range(1, neighbour.slab().classes + 1):
        while held < pages and neighbour.move_begin(class_id, 0):
            held += 1
    assert held == pages
    neighbour.rest()


def test_pages_on_their_way_in_the_hands_of_who_rests() -> None:
    with Cache(limit_bytes=4 * MIB, chunk_bytes=TINY_LADDER) as cache:
        neighbour, store = cache.open(0), cache.open(1)
        for one in (neighbour, store):
            one.set_now(100)
        i = 0
        while store.counters()["evictions"] == 0:
            assert store.put(b"k%d" % i, b"x" * 900).outcome == Outcome.STORED
            i += 1
        hold_pages(neighbour, store.slab().pages_used)
        for i in range(1000):
            assert store.put(b"n%d" % i, b"x" * (30 + i % 800)).outcome == Outcome.STORED
        neighbour.wake()
        neighbour.turn()
        store.check()
