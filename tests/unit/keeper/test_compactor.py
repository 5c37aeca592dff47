"""Compaction of one page: what cannot be read, what is paid for, and who wants a buffer."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pymc.core.engine import LogClass
from pymc.core.flash import Bucket
from pymc.core.writeout import Loaded
from pymc.keeper import compactor as compactor_module
from pymc.keeper.compactor import Compactor
from pymc.policy.compaction import Compact
from tests.support.core.watch_rig import Reader
from tests.support.path_rig import Rig

PAGE = 1
UNREADABLE = SimpleNamespace(is_good=False, is_end=False, read_bytes=0)
END = SimpleNamespace(is_good=False, is_end=True, read_bytes=0)


def loaded(read_bytes: int) -> SimpleNamespace:
    return SimpleNamespace(is_good=True, is_end=False, read_bytes=read_bytes)


def step(**what: object) -> SimpleNamespace:
    nothing = {"rescued": 0, "rescued_bytes": 0, "needs_buffer": False, "needs_load": False}
    nothing |= {"dropped": 0, "dead": 0}
    return SimpleNamespace(**nothing | what)


class Scan:
    """A page as the test says it is."""

    def __init__(self, *_: object) -> None:
        self.steps: list[SimpleNamespace] = []
        self.stops = 0

    def begin(self, page: int) -> bool:
        return True

    def stop(self) -> None:
        self.stops += 1

    def load(self) -> Loaded:
        raise AssertionError("the thread is faked")

    def compact(self, bucket: int, records: int, *, read_only: bool) -> SimpleNamespace:
        return self.steps.pop(0)


class Threads:
    """Reads that end when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[int, Callable[[Any], None]]] = []

    def submit(self, path: int, work: object, finish: Callable[[Any], None]) -> None:
        self.jobs.append((path, finish))

    def end(self, result: SimpleNamespace) -> None:
        self.jobs.pop(0)[1](result)


class Streams:
    """Hears which streams want a buffer."""

    def __init__(self) -> None:
        self.wanted: list[int] = []
        self.steps = 0

    def want(self, bucket: int) -> None:
        self.wanted.append(bucket)

    def step(self) -> None:
        self.steps += 1


class Bench:
    """A compactor with fake time."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.threads, self.writer = Threads(), Streams()
        self.done: list[int] = []
        self.store = rig.store
        monkeypatch.setattr(compactor_module, "Scan", Scan)
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(compactor_module, "time", clock)
        threads, writer = cast(Any, self.threads), cast(Any, self.writer)
        self.compactor = Compactor(rig.store, rig.flash, writer, threads, self.done.append)
        self.path = rig.flash.page(PAGE).path

    def begin(self, bucket: Bucket = Bucket.COMPACT) -> Scan:
        self.compactor.begin(Compact(PAGE, bucket=bucket, read_only=True))
        return cast(Scan, cast(Any, self.compactor._scan))


@pytest.fixture
def bench(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(rig, monkeypatch)


def test_a_page_is_read_by_its_paths_thread_piece_by_piece(bench: Bench) -> None:
    scan = bench.begin()
    assert bench.compactor.page == PAGE
    assert [path for path, _ in bench.threads.jobs] == [bench.path]
    assert bench.compactor.step() == 0.05
    bench.threads.end(loaded(100))
    scan.steps = [step(), step(needs_load=True)]
    assert bench.compactor.step() == 0.0
    assert bench.compactor.step() == 0.05
    bench.threads.end(END)
    assert bench.done == [PAGE]
    assert bench.compactor.step() is None
    counters = bench.store.counters()
    assert (counters["ext_device_reads"], counters["ext_device_bytes_read"]) == (1, 100)


def test_watchers_are_told_of_it(bench: Bench) -> None:
    reader = Reader(bench.store, LogClass.SYSEVENTS)
    scan = bench.begin()
    bench.threads.end(loaded(100))
    scan.steps = [step(rescued=3, dropped=1), step(needs_load=True, dead=2)]
    bench.compactor.step()
    bench.compactor.step()
    bench.threads.end(END)
    bench.begin()
    for _ in range(8):
        bench.threads.end(UNREADABLE)
    lines = [line.decode() for line in reader.lines()]
    reader.close()
    assert lines[0].startswith("compact_fraginfo ratio=")
    assert lines[1].startswith(f"compact_start id={PAGE} version=")
    assert lines[2:6] == [
        f"compact_read_start id={PAGE} offset=0",
        f"compact_read_end id={PAGE} offset=100 rescues=3 lost=2 skipped=1",
        f"compact_read_start id={PAGE} offset=100",
        f"compact_end id={PAGE}",
    ]
    assert lines[-1] == f"compact_abort id={PAGE}"


def test_pieces_that_cannot_be_read_are_passed_over_up_to_eight(bench: Bench) -> None:
    bench.begin()
    for _ in range(7):
        bench.threads.end(UNREADABLE)
        assert len(bench.threads.jobs) == 1 and not bench.done
    bench.threads.end(UNREADABLE)
    assert (bench.threads.jobs, bench.done) == ([], [PAGE])
    assert bench.store.counters()["ext_read_errors"] == 8
    # Those of one page do not count for the next.
    bench.begin()
    bench.threads.end(UNREADABLE)
    assert len(bench.threads.jobs) == 1


def test_what_is_read_and_written_is_paid_for_at_the_rate(bench: Bench) -> None:
    bench.store.arena.set_live("ext_compact_rate_bytes", 1000)
    scan = bench.begin()
    bench.threads.end(loaded(500))
    assert bench.compactor.step() == pytest.approx(0.5)
    bench.now += 0.5
    scan.steps = [step(rescued=3, rescued_bytes=200), step(rescued=1, rescued_bytes=100)]
    assert bench.compactor.step() == 0.0
    assert bench.compactor.step() == pytest.approx(0.2)
    bench.now += 0.2
    assert bench.compactor.step() == 0.0
    assert bench.compactor.step() == pytest.approx(0.1)
    # Debts add up also within one moment.
    bench.compactor._pay(100)
    assert bench.compactor.step() == pytest.approx(0.2)
    assert bench.store.counters()["ext_compact_bytes"] == 300


def test_without_a_rate_nobody_pays(bench: Bench) -> None:
    bench.store.arena.set_live("ext_compact_rate_bytes", 0)
    scan = bench.begin()
    bench.threads.end(loaded(1 << 30))
    scan.steps = [step()]
    assert bench.compactor.step() == 0.0


@pytest.mark.parametrize(
    ("bucket", "counter"),
    [
        (Bucket.COLD_COMPACT, "ext_compact_rescues_cold"),
        (Bucket.OLD, "ext_compact_rescues_old"),
        (Bucket.COMPACT, None),
    ],
)
def test_rescues_count_by_their_stream(bench: Bench, bucket: Bucket, counter: str | None) -> None:
    scan = bench.begin(bucket)
    bench.threads.end(loaded(0))
    scan.steps = [step(rescued=5, rescued_bytes=50)]
    bench.compactor.step()
    counters = bench.store.counters()
    for name in ("ext_compact_rescues_cold", "ext_compact_rescues_old"):
        assert counters[name] == (5 if name == counter else 0)


def test_a_stream_without_a_buffer_asks_for_one_and_comes_back_soon(bench: Bench) -> None:
    scan = bench.begin(Bucket.OLD)
    bench.threads.end(loaded(0))
    scan.steps = [step(needs_buffer=True)]
    assert bench.compactor.step() == 0.002
    assert (bench.writer.wanted, bench.writer.steps) == ([Bucket.OLD], 1)
