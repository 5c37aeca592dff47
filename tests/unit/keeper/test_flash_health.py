"""What the keeper does about its paths: out, late, full, by hand, and back. Time is fake."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pymc.core.arena import Role
from pymc.core.flash import Bucket, Flash, Full, PageState, PathInfo, Wanted, Why
from pymc.core.flash_paths import FlashPaths, Probed
from pymc.core.store import Store
from pymc.core.writeout import Batch, FlashPages
from pymc.keeper.flash_health import Health
from pymc.policy.path_recovery import (
    FULL_QUIET_SECONDS,
    FULL_SECONDS,
    GOOD_PROBE_SECONDS,
    GOOD_PROBES,
    OUT_SECONDS,
    WRITE_SECONDS,
)
from pymc.record import replace
from pymc.stats.flash import path_state
from tests.unit.inprocess import in_process


class Recorder(FlashPages):
    """Pages of which only the calls to take a path out are of interest."""

    def __init__(self, store: Store, flash: Flash) -> None:
        super().__init__(store, flash)
        self.taken_out: list[int] = []

    def take_out(self, path: int) -> None:
        self.taken_out.append(path)
        super().take_out(path)


class SeenFlash:
    """The tier with counts that nobody counted, and with room that its file system has not."""

    def __init__(self, flash: Flash) -> None:
        self.flash = flash
        self.path_count = flash.path_count
        names = (
            *("reads", "read_errors", "bad_records", "slow_reads"),
            *("write_errors", "full_writes"),
        )
        self.more = [dict.fromkeys(names, 0) for _ in range(2)]
        self.full = [Full.NO, Full.NO]

    def path(self, number: int) -> PathInfo:
        info = self.flash.path(number)
        counts = {name: getattr(info, name) + count for name, count in self.more[number].items()}
        return replace(info, full=self.full[number], **counts)


class Threads:
    """Jobs that end when the test says so, after as long as it says."""

    def __init__(self) -> None:
        self.jobs: list[tuple[int, Callable[[], Any], Callable[[Any], None]]] = []
        self.late = 0.0

    def submit(self, path: int, work: Callable[[], Any], finish: Callable[[Any], None]) -> None:
        self.jobs.append((path, work, finish))

    def pending(self, path: int) -> int:
        return sum(1 for job in self.jobs if job[0] == path)

    def late_seconds(self, path: int) -> float:
        return self.late if self.pending(path) else 0.0

    def end(self, seconds: float = 0.0, error: int | None = None) -> None:
        path, work, finish = self.jobs.pop(0)
        probed = work()
        assert isinstance(probed, Probed)
        finish(Probed(probed.error if error is None else error, seconds))


class Rig:
    """Two paths, and the health of them."""

    def __init__(self, context: Any, store: Store, flash: Flash) -> None:
        self.context, self.store, self.flash = context, store, flash
        self.seen = SeenFlash(flash)
        self.pages = Recorder(store, flash)
        self.steps = FlashPaths(store, flash)
        self.writers, self.readers = Threads(), Threads()
        self.now = 1000.0
        self.health = self.successor()

    def successor(self) -> Health:
        return Health(
            self.context,
            self.seen,  # type: ignore[arg-type]
            self.pages,
            self.steps,
            self.writers,  # type: ignore[arg-type]
            self.readers,  # type: ignore[arg-type]
            lambda: self.now,
        )

    def look(self, seconds: float = 1.0) -> None:
        self.now += seconds
        assert self.health.look() == 1.0

    def state(self, number: int) -> tuple[str, Why]:
        info = self.seen.path(number)
        return path_state(info), info.why

    def page_states(self, number: int) -> set[PageState]:
        return {page.state for page in self.flash.pages() if page.path == number}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    tmp_path.chmod(0o777)
    options = "ext_page_size=2,ext_wbuf_size=2," + ",".join(
        f"ext_path={tmp_path}/{name}:4m" for name in ("a", "b")
    )
    with in_process(["-m", "16", "-o", options]) as server:
        context, flash = server.context, server.context.flash
        assert flash is not None
        with Store(context.arena, context.keeper_slot, Role.KEEPER, flash) as store:
            yield Rig(context, store, flash)


Said = Callable[[], list[str]]


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Said:
    """Lines since the last call, without what all of them begin with."""

    def read() -> list[str]:
        lines = capfd.readouterr().err.splitlines()
        return [line.removeprefix("pymc: flash: ").replace(f"{tmp_path}/", "") for line in lines]

    return read


def test_a_path_that_was_going_out_is_taken_out_again(rig: Rig) -> None:
    assert rig.health.is_any_left
    assert rig.pages.taken_out == []
    rig.pages.take_out(1)
    assert rig.successor().is_any_left
    assert rig.pages.taken_out == [1, 1]


def test_a_look_each_second_and_a_line_with_counts(rig: Rig, said: Said) -> None:
    for _ in range(3):
        rig.look()
    assert said() == []
    rig.seen.more[0] |= {"reads": 900, "read_errors": 3, "bad_records": 2, "slow_reads": 1}
    rig.look()
    wanted = "3 reads failed, 2 checksums were wrong, 1 reads took longer than a second"
    assert said() == [f"a: {wanted}"]
    rig.look()
    assert said() == []
    assert rig.health.is_any_left


def test_wrong_checksums_take_a_path_out(rig: Rig, said: Said) -> None:
    rig.look()
    rig.seen.more[1] |= {"reads": 2000, "bad_records": 2000}
    rig.look()
    why = "taken out of service: too many checksums are wrong"
    assert said() == [f"b: 2000 checksums were wrong, {why}"]
    assert rig.state(1) == ("out", Why.CHECKSUMS)
    assert rig.page_states(1) == {PageState.BAD}
    assert rig.state(0) == ("in", Why.NONE)


def test_failed_writes_take_it_out_before_the_next_look(rig: Rig, said: Said) -> None:
    for count in (1, 2, 3):
        rig.seen.more[0]["write_errors"] = count
        rig.health.wrote(0, is_good=False)
    assert rig.state(0) == ("out", Why.WRITES_IN_ROW)
    wanted = "a: 3 writes failed, taken out of service: several writes in a row failed"
    assert said() == [wanted]


def test_the_last_path_is_told(rig: Rig, said: Said) -> None:
    for number in (0, 1):
        rig.flash.want(number, Wanted.OUT)
    rig.look()
    assert said() == [
        "a: taken out of service: by hand",
        "b: taken out of service: by hand",
        "no path is left, items stay in memory only",
    ]
    assert not rig.health.is_any_left


def probe_until_due(rig: Rig, threads: Threads, seconds: float) -> None:
    """Nothing is tried before that time."""
    for _ in range(int(seconds) - 1):
        rig.look()
        assert threads.jobs == []
    rig.look()
    assert len(threads.jobs) == 1


def fail_out(rig: Rig) -> None:
    for _ in range(3):
        rig.seen.more[0]["write_errors"] += 1
        rig.health.wrote(0, is_good=False)
    assert rig.state(0)[0] == "out"


def test_a_path_that_failed_comes_back_after_good_probes(rig: Rig, said: Said) -> None:
    fail_out(rig)
    probe_until_due(rig, rig.writers, OUT_SECONDS)
    # One hangs: no other follows.
    rig.look(100)
    assert len(rig.writers.jobs) == 1
    # It was too slow, so the next one comes later.
    rig.writers.end(seconds=100.0)
    probe_until_due(rig, rig.writers, 2 * OUT_SECONDS)
    said()
    for left in reversed(range(GOOD_PROBES)):
        rig.writers.end()
        assert rig.state(0)[0] == "out"
        rig.look()
        assert len(rig.writers.jobs) == (left > 0)
    assert rig.state(0) == ("in", Why.NONE)
    assert rig.page_states(0) == {PageState.FREE}
    (line,) = said()
    assert line.startswith("a: in service again after 13")
    # Old errors are forgotten, and falling out again soon makes the pause longer.
    rig.look()
    assert rig.state(0)[0] == "in"
    fail_out(rig)
    probe_until_due(rig, rig.writers, 4 * OUT_SECONDS)


def test_a_probe_waits_for_a_page_that_nobody_uses(rig: Rig) -> None:
    batches = [Batch(rig.store) for _ in range(4)]
    buckets = (Bucket.DEFAULT, Bucket.COMPACT, Bucket.CHUNKED, Bucket.LOW_TTL)
    assert all(batch.begin(bucket) for batch, bucket in zip(batches, buckets, strict=True))
    fail_out(rig)
    rig.look(OUT_SECONDS)
    assert rig.page_states(0) == {PageState.DRAINING}
    assert rig.writers.jobs == []
    for batch in batches:
        batch.close()


def test_no_write_of_the_past_meets_pages_that_are_used_again(rig: Rig) -> None:
    fail_out(rig)
    rig.look(OUT_SECONDS)
    for _ in range(GOOD_PROBES):
        rig.writers.end()
        rig.look()
    assert rig.state(0)[0] == "in"
    fail_out(rig)
    rig.flash.want(0, Wanted.IN)
    rig.writers.submit(0, lambda: None, lambda _: None)
    rig.look()
    assert rig.state(0)[0] == "out"
    rig.writers.jobs.clear()
    rig.look()
    assert rig.state(0)[0] == "in"
    assert rig.seen.path(0).wanted is Wanted.JUDGED


def test_out_by_hand_stays_out(rig: Rig, said: Said) -> None:
    rig.flash.want(0, Wanted.OUT)
    rig.look()
    assert rig.state(0) == ("out", Why.HAND)
    rig.health = rig.successor()
    for _ in range(50):
        rig.look(OUT_SECONDS)
    assert rig.writers.jobs == []
    assert said() == ["a: taken out of service: by hand"]
    rig.flash.want(0, Wanted.IN)
    rig.look()
    assert rig.state(0) == ("in", Why.NONE)


def test_a_late_read_that_a_worker_met(rig: Rig, said: Said) -> None:
    rig.steps.set_late(0, is_late=True)
    rig.look()
    assert rig.state(0) == ("late", Why.LATE_READ)
    assert said() == ["a: late: a read is not answered; not used until it answers"]
    assert rig.page_states(0) == {PageState.FREE}
    assert rig.health.is_any_left
    rig.look()
    assert len(rig.readers.jobs) == 1
    # At most one probe hangs, and a slow one is no answer.
    rig.look(30)
    assert len(rig.readers.jobs) == 1
    rig.readers.end(seconds=GOOD_PROBE_SECONDS * 2)
    for _ in range(GOOD_PROBES):
        rig.look()
        rig.readers.end(seconds=GOOD_PROBE_SECONDS / 2)
        assert rig.state(0)[0] == "late"
    rig.look()
    assert rig.state(0) == ("in", Why.NONE)
    (line,) = said()
    assert line == f"a: answers again, was late for {30 + GOOD_PROBES + 2:.1f} s"


def test_a_write_that_hangs_makes_its_path_late(rig: Rig, said: Said) -> None:
    rig.writers.submit(1, lambda: None, lambda _: None)
    rig.writers.late = WRITE_SECONDS - 1
    rig.look()
    assert rig.state(1)[0] == "in"
    rig.writers.late = WRITE_SECONDS
    rig.look()
    assert rig.state(1) == ("late", Why.LATE_WRITE)
    assert rig.state(0)[0] == "in"
    assert said() == ["b: late: a write is not answered; not used until it answers"]
    # Reads may be answered while the write is not.
    for _ in range(2 * GOOD_PROBES):
        rig.look()
        while rig.readers.jobs:
            rig.readers.end()
    assert rig.state(1)[0] == "late"
    rig.writers.jobs.clear()
    rig.look()
    assert rig.state(1)[0] == "in"


def test_a_write_of_a_keeper_that_does_not_go(rig: Rig) -> None:
    """Its successor in another slot leaves the path alone as long as it is there."""
    rig.steps.note_writing(1, is_writing=True)
    other = rig.context.keeper_slots[1]
    with Store(rig.context.arena, other, Role.KEEPER, rig.flash) as store:
        rig.steps = FlashPaths(store, rig.flash)
        rig.health = rig.successor()
        rig.look()
        assert rig.state(1) == ("late", Why.LATE_WRITE)
        for _ in range(2 * GOOD_PROBES):
            rig.look()
            while rig.readers.jobs:
                rig.readers.end()
        assert rig.state(1)[0] == "late"
        rig.flash.forget_writes(rig.store.slot)
        rig.look()
        assert rig.state(1)[0] == "in"
        assert rig.state(0)[0] == "in"


def test_a_late_path_of_a_predecessor(rig: Rig, said: Said) -> None:
    rig.steps.set_late(0, is_late=True)
    rig.look()
    said()
    rig.health = rig.successor()
    for _ in range(GOOD_PROBES):
        rig.look()
        rig.readers.end()
    rig.look()
    assert rig.state(0)[0] == "in"
    (line,) = said()
    assert line.startswith("a: answers again")


def test_a_full_file_system_is_tried_and_told_once(rig: Rig, said: Said) -> None:
    tried: list[tuple[float, int]] = []

    def find_page(path: int, state: PageState, *, without_blocks: bool = False) -> int:
        assert (path, state, without_blocks) == (0, PageState.FREE, True)
        return 2

    def probe_room(page: int) -> Probed:
        tried.append((rig.now, page))
        return Probed(errno.ENOSPC if len(tried) < 3 else 0, 0.1)

    rig.steps.find_page = find_page  # type: ignore[method-assign]
    rig.steps.probe_room = probe_room  # type: ignore[method-assign]
    rig.steps.set_full = rig.seen.full.__setitem__  # type: ignore[method-assign]
    rig.look()
    rig.seen.full[0] = Full.NEW
    for _ in range(4):
        rig.seen.more[0]["full_writes"] += 1
        rig.health.wrote(0, is_good=False)
    wanted = "a: its file system is full: only pages that have their blocks are written again;"
    assert said() == [f"{wanted} it is tried every {FULL_SECONDS:.0f} s"]
    # Writes that were refused are no errors, so it is not out.
    assert rig.state(0) == ("full", Why.NO_ROOM)
    assert rig.health.is_any_left
    for _ in range(3):
        while not rig.writers.jobs:
            rig.look()
        assert said() == []
        # One try at a time, however long it takes.
        rig.look(60)
        assert rig.writers.pending(0) == 1
        rig.writers.end()
    rig.look()
    assert rig.state(0) == ("in", Why.NONE)
    assert said() == ["a: has room again after 196 s and 4 writes that it had no room for"]
    assert [page for _, page in tried] == [2, 2, 2]


def test_pages_with_blocks_are_tried_when_no_other_is_free(rig: Rig) -> None:
    rig.steps.set_full = rig.seen.full.__setitem__  # type: ignore[method-assign]
    rig.seen.full[0] = Full.ALL
    rig.seen.more[0]["full_writes"] = 1
    rig.look()
    assert rig.seen.full[0] is Full.ALL
    rig.look(FULL_SECONDS)
    assert rig.seen.full[0] is Full.NEW
    # They are, and for so long that all is well again.
    for _ in range(int(FULL_QUIET_SECONDS - 2 * FULL_SECONDS)):
        rig.health.wrote(0, is_good=True)
        rig.look()
        assert rig.seen.full[0] is Full.NEW
    for _ in range(int(2 * FULL_SECONDS)):
        rig.look()
    assert rig.state(0) == ("in", Why.NONE)
    assert rig.writers.jobs == []
