"""What the machines of the flash tier share: the keeper's work, which no client may notice."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.model.flash_choices import admissions
from tests.support.core.driver import LADDER, MIB
from tests.support.core.flash_cache import Log
from tests.support.core.flash_keeper import KIB, TINY_LOG, Admission, FlashKeeper

START_SECONDS = 100
MOVE_TURNS_MAX = 20
pages = st.integers(0, 100)


class KeeperWork(RuleBasedStateMachine):
    """A tier of two workers and a keeper, and the rules of the keeper."""

    log: Log = TINY_LOG
    limit_bytes = 32 * MIB
    chunk_bytes: Sequence[int] = LADDER
    may_drop = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="flash-model-"))
        self.tier = FlashKeeper(
            self.folder,
            self.log,
            workers=2,
            limit_bytes=self.limit_bytes,
            chunk_bytes=self.chunk_bytes,
            now=START_SECONDS,
        )
        self.tier.may_drop = self.may_drop
        self.tier.set_live("item_bytes_max", 8 * MIB)
        self.tier.set_live("ext_recache_rate", 2)

    def teardown(self) -> None:
        self.tier.close()
        shutil.rmtree(self.folder)

    @rule(admission=admissions)
    def fill(self, admission: Admission) -> None:
        self.tier.fill(admission)

    @rule(batches=st.sampled_from([1, 2, 100]))
    def commit(self, batches: int) -> None:
        self.tier.commit(batches)

    @rule()
    def drop_memory(self) -> None:
        self.tier.drop_memory_copies()

    @rule(admission=admissions)
    def exile(self, admission: Admission) -> None:
        self.tier.exile(admission)

    @rule(which=pages)
    def compact(self, which: int) -> None:
        used = self.tier.in_use()
        if used:
            self.tier.compact(used[which % len(used)])

    @rule()
    def sweep(self) -> None:
        self.tier.sweep()

    @rule(chunks=st.sampled_from([7, 1 << 30]))
    def crawl(self, chunks: int) -> None:
        self.tier.keeper.crawl(chunks)
        self.tier.keeper.limbo_step()

    @rule(rate=st.sampled_from([0, 1, 2, 1000]))
    def recache(self, rate: int) -> None:
        self.tier.set_live("ext_recache_rate", rate)

    @invariant()
    def is_sound(self) -> None:
        self.tier.check()


# Room for all that the machine that forgets nothing writes, and for copies of it.
WIDE_LOG = Log(
    pages=24,
    page_bytes=256 * KIB,
    wbuf_bytes=64 * KIB,
    index_bytes_max=1 << 20,
    kind=TINY_LOG.kind,
    threads=1,
    avoid_direct=True,
)
