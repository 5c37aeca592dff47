"""Workers as threads on one cache, with a keeper that moves everything to flash under them."""

import random
import threading
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import LADDER, MIB, TINY_LADDER
from tests.support.core.flash_cache import FlashCache, Log, Rules
from tests.support.core.pipelines import check_values, pipeline
from tests.support.core.talk import Talk
from tests.support.deadline import WAIT_SECONDS, wait_until

THREADS = 2
PIPELINES = 12
# What the workers must have met before they may end.
WANTED = {"get_extstore": 60, "ext_brought_back": 8, "ext_reads_from_buffers": 20}
TURNS = 40
KINDS = {"auto": lib.FLASH_READER_AUTO, "threads": lib.FLASH_READER_THREADS}


class Worker(threading.Thread):
    def __init__(self, tier: FlashCache, slot: int) -> None:
        super().__init__(name=f"worker {slot}")
        self.tier = tier
        self.slot = slot
        self.dice = random.Random(slot)
        self.values = 0
        self.counters: dict[str, int] = {}
        self.must_end = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def work(self) -> None:
        # Opened here: the proof that a slot's owner lives belongs to the thread.
        store = self.tier.open_worker(self.slot)
        talk = Talk(store, values_max=64)
        pipelines = [pipeline(self.dice, self.slot) for _ in range(PIPELINES)]
        while not self.must_end.is_set():
            talk.feed(self.dice.choice(pipelines))
            self.values += check_values(talk.received)
            talk.received = b""
            store.limbo_step(50)
            store.turn()
        reads = store.reads
        assert reads is not None
        reads.wait_for_all()
        assert reads.memory_bytes() == 0
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize("ladder", [TINY_LADDER, LADDER], ids=["parts", "chunks"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_torn(tmp_path: Path, kind: str, ladder: tuple[int, ...]) -> None:
    log = Log(pages=3, kind=KINDS[kind])
    with FlashCache(
        tmp_path, log, spare_slots=THREADS, limit_bytes=8 * MIB, chunk_bytes=ladder
    ) as tier:
        workers = [Worker(tier, slot) for slot in range(1, THREADS + 1)]
        for worker in workers:
            worker.start()
        dice = random.Random(5)
        turns: list[None] = []

        def is_enough() -> bool:
            # Every other time the last records stay in write buffers, where workers find them.
            rules = Rules(compress_bytes_min=dice.choice((0, 100)))
            tier.write_out_all(rules, is_written=dice.random() < 0.5)
            tier.drop_memory_copies()
            tier.keeper.limbo_step(1000)
            turns.append(None)
            counters = tier.counters()
            has_met = all(counters[name] >= least for name, least in WANTED.items())
            return any(worker.error for worker in workers) or (has_met and len(turns) >= TURNS)

        wait_until(is_enough, "workers read from flash", 3 * WAIT_SECONDS)
        for worker in workers:
            worker.must_end.set()
        for worker in workers:
            worker.join()
            assert worker.error is None, worker.error
        counters = tier.counters()
        assert counters["badcrc_from_extstore"] == 0
        while tier.worker.limbo_step(1 << 20):
            pass
        tier.worker.check()
        tier.entries()
