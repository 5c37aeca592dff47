"""Memory keeps to -m and what is stated beside it at any mix, and comes back after a flush."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.snapshots import read_slab
from pymc.keeper.keeper import Keeper
from pymc.policy.shrink import QUIET_SECONDS
from pymc.policy.slab_sizes import ladder
from tests.support.inprocess import InProcess, in_process
from tests.support.memory_file import COVERED

MIB = 1 << 20
LIMIT = 16 * MIB
# The two handles of these tests use so much of what stands beside -m.
BESIDE_BYTES = 700 * 1024
# What the index takes between two pages that pay for it.
ON_ITS_WAY_BYTES = MIB // 2


class Watch:
    """Reads the ledger; never an old measurement."""

    def __init__(self, server: InProcess) -> None:
        self._ledger = server.context.arena.ledger
        self._ticks = itertools.count(0, 1000)

    def covered(self) -> int:
        """The memory that counts against -m; asserts what stands beside it."""
        measured = self._ledger.measure(lambda: float(next(self._ticks)))
        beside = sum(room.touched_bytes for room in measured.rooms if room.label not in COVERED)
        assert beside <= BESIDE_BYTES
        return measured.file_bytes - beside


def look(server: InProcess, keeper: Keeper) -> None:
    """All that the keeper does in a second."""
    server.store.set_now(server.context.arena.seconds())
    keeper._look()
    for name in ("crawl", "shrink", "limbo"):
        for _ in range(1000):
            if keeper._jobs[name]() is None:
                break
    for _ in range(200):
        is_fitting = keeper._fit_into_limit() is not None
        for _ in range(1000):
            if keeper._mover.step() is None:
                break
        if not is_fitting:
            return


def mixes(dice: random.Random, sizes: list[int]) -> Iterator[tuple[str, int]]:
    """Keys and value sizes: many small ones, each class in turn, size changes, everything."""
    for number in range(200_000):
        yield f"tiny{number}", dice.randint(1, 20)
    for number in range(60_000):
        yield f"k{number % 9000}", dice.randint(1, 1500)
    for size in sizes:
        for number in range(min(400, 3 * LIMIT // size // len(sizes) + 20)):
            yield f"class{number}", max(1, size - 40)
    for number in range(150_000):
        yield f"tiny{number}", dice.randint(1, 30)
    for number in range(3000):
        yield f"k{number % 500}", int(900_000 ** dice.random())


@pytest.mark.parametrize("with_flash", [False, True])
def test_memory_holds_its_promise_and_comes_back(tmp_path: Path, with_flash: bool) -> None:
    args = ["-m", str(LIMIT // MIB)]
    args += ["-o", f"ext_page_size=16,ext_path={tmp_path}/flash:256m"] if with_flash else []
    with in_process(args) as server:
        arena, store = server.context.arena, server.store
        arena.freeze_clock(100)
        watch = Watch(server)
        keeper = Keeper(server.context, store)
        dice = random.Random(7)
        peak = 0
        for done, (key, size) in enumerate(mixes(dice, ladder(server.context.settings))):
            store.put(key.encode(), b"x" * size)
            if done % 5000 == 0:
                peak = max(peak, watch.covered())
            if done % 20_000 == 0:
                arena.freeze_clock(100 + done // 20_000)
                look(server, keeper)
        # Pages are counted to the nearest one.
        assert peak <= LIMIT + MIB // 2 + ON_ITS_WAY_BYTES
        look(server, keeper)
        assert watch.covered() <= LIMIT + MIB // 2
        counters = store.counters()
        assert counters["store_no_memory"] == 0
        assert counters["evictions"] > 100_000

        store.flush_all()
        for second in range(QUIET_SECONDS + 10):
            arena.freeze_clock(1000 + second)
            look(server, keeper)
        assert read_slab(store).pages_used == 0
        # The indexes as they are at the start, and what queues and tables keep of a page each.
        assert watch.covered() <= MIB + (MIB if with_flash else 0)
        store.put(b"key", b"value")
        store.check()


def test_memory_that_is_wanted_stays() -> None:
    with in_process(["-m", "16"]) as server:
        arena, store = server.context.arena, server.store
        arena.freeze_clock(100)
        server.fill("k", 60_000, 100)
        items = store.counters()["items"]
        keeper = Keeper(server.context, store)
        for second in range(3 * QUIET_SECONDS):
            arena.freeze_clock(100 + second)
            look(server, keeper)
        assert store.counters()["items"] == items
        assert store.counters()["evictions"] == 0
        assert read_slab(store).pages_pool == 0
