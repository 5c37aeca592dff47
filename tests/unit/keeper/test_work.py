"""Mover, crawler and the keeper's jobs on a store without processes."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pymc.core.arena import Note
from pymc.core.engine import LogClass
from pymc.core.ffi import lib
from pymc.core.snapshots import read_class, read_index, read_slab
from pymc.keeper import crawler as crawler_module
from pymc.keeper.crawler import Crawler
from pymc.keeper.keeper import Keeper
from pymc.keeper.mover import Mover
from pymc.messages import CrawlerState
from pymc.policy.shrink import Move
from tests.support.core.watch_rig import Reader
from tests.support.inprocess import InProcess, in_process

STEPS_MAX = 10_000


def run_dry(step: Callable[[], float | None]) -> None:
    """Steps until there is nothing to do, without the rests in between."""
    for _ in range(STEPS_MAX):
        if step() is None:
            return
    raise AssertionError("it never ends")


def filled_class(server: InProcess) -> int:
    classes = range(1, read_slab(server.store).classes + 1)
    return max(classes, key=lambda class_id: read_class(server.store, class_id).pages)


def test_moves_come_one_after_the_other() -> None:
    with in_process() as server:
        server.fill("k", 60_000, 100)
        source = filled_class(server)
        mover = Mover(server.context, server.store)
        mover.add(Move(source, 100, 2))
        assert server.context.arena.note(Note.SLAB_MOVE) == 1
        run_dry(mover.step)
        assert server.context.arena.note(Note.SLAB_MOVE) == 0
        assert read_class(server.store, 100).pages == 2
        assert server.store.check() == server.store.counters()["items"] == 60_000


class Unfinished:
    """A move of a page of which one chunk stays in use."""

    is_stuck = False
    passes = 0

    def step(self, chunks: int) -> bool:
        self.passes += 1
        return False

    def cancel(self) -> None:
        """Nothing is held."""


def test_too_many_moves_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[object, ...]] = []

    def begin(*move: object, may_evict: bool) -> None:
        begun.append(move)

    monkeypatch.setattr("pymc.keeper.mover.begin_move", begin)
    with in_process() as server:
        mover = Mover(server.context, server.store)
        mover.add(Move(50, 60, 40))
        mover.add(Move(50, 61, 1000))
        run_dry(mover.step)
    assert [move[2] for move in begun] == [60] * 40 + [61] * 24


def test_a_page_that_does_not_get_empty_is_looked_at_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pymc.keeper.mover.begin_move", lambda *_, may_evict: Unfinished())
    with in_process() as server:
        mover = Mover(server.context, server.store)
        mover.add(Move(50, 60))
        rests = [mover.step() for _ in range(8)]
        mover.cancel()
    assert rests == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25]


def test_a_page_that_never_gets_empty_is_left_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stuck(Unfinished):
        is_stuck = True
        is_cancelled = False

        def cancel(self) -> None:
            self.is_cancelled = True

    begun: list[Stuck] = []

    def begin(*_: object, may_evict: bool) -> Stuck:
        begun.append(Stuck())
        return begun[-1]

    monkeypatch.setattr("pymc.keeper.mover.begin_move", begin)
    with in_process() as server:
        mover = Mover(server.context, server.store)
        mover.add(Move(50, 60, 2))
        run_dry(mover.step)
        assert not mover.is_busy
        assert server.context.arena.note(Note.SLAB_MOVE) == 0
    assert [move.is_cancelled for move in begun] == [True, True]


def test_impossible_moves_are_skipped() -> None:
    with in_process() as server:
        mover = Mover(server.context, server.store)
        mover.add(Move(50, 60))
        run_dry(mover.step)
        assert not mover.is_busy


def test_a_cancelled_move_leaves_the_page() -> None:
    with in_process() as server:
        server.fill("k", 60_000, 100)
        source = filled_class(server)
        pages = read_class(server.store, source).pages
        mover = Mover(server.context, server.store)
        mover.add(Move(source, 100))
        assert mover.step() is not None
        mover.cancel()
        # Items that were rescued meanwhile may have taken a page more.
        one = read_class(server.store, source)
        assert (one.pages >= pages, one.draining_pages) == (True, 0)
        assert not mover.is_busy
        server.store.check()


def test_many_moves_are_cut_short() -> None:
    with in_process() as server:
        mover = Mover(server.context, server.store)
        mover.add(Move(50, 60, 1_000_000))
        mover.add(Move(50, 60, 1_000_000))
        run_dry(mover.step)


def test_search_that_was_asked_for() -> None:
    with in_process() as server:
        arena = server.context.arena
        server.fill("k", 5000, 100, expiry_seconds=1)
        server.store.set_now(arena.seconds())
        crawler = Crawler(server.context, server.store)
        assert crawler.step() is None
        crawler.ask(None)
        assert arena.note(Note.CRAWLER) == CrawlerState.ASKED
        run_dry(crawler.step)
        assert arena.note(Note.CRAWLER) == CrawlerState.IDLE
        counters = server.store.counters()
        assert (counters["items"], counters["lru_crawler_starts"]) == (0, 1)


def test_watchers_are_told_of_a_search() -> None:
    with in_process() as server:
        server.fill("k", 100, 100, expiry_seconds=1)
        server.store.set_now(server.context.arena.seconds())
        crawler = Crawler(server.context, server.store)
        reader = Reader(server.store, LogClass.SYSEVENTS)
        class_id = filled_class(server)
        for classes in (None, (class_id,)):
            crawler.ask(classes)
            run_dry(crawler.step)
        lines = [line.decode() for line in reader.lines()]
        reader.close()
        form = (
            "lru_crawler crawler={} lru=all low_mark=0 next_reclaims=0 since_run=0 next_run=0"
            " elapsed=0 examined={} reclaimed={}"
        )
        assert lines == [form.format(0, 100, 100), form.format(class_id, 0, 0)]


def test_tocrawl_ends_it_early() -> None:
    with in_process() as server:
        server.fill("k", 20_000, 100)
        server.context.arena.set_live("lru_crawler_to_crawl", 1000)
        crawler = Crawler(server.context, server.store)
        crawler.ask((filled_class(server),))
        run_dry(crawler.step)
        checked = server.store.class_counters(filled_class(server))["crawler_items_checked"]
        assert 1000 <= checked <= 2000


def test_tocrawl_counts_for_each_class() -> None:
    with in_process() as server:
        server.fill("a", 5000, 100)
        first = filled_class(server)
        server.fill("b", 5000, 400)
        second = filled_class(server)
        assert first != second
        server.context.arena.set_live("lru_crawler_to_crawl", 1000)
        crawler = Crawler(server.context, server.store)
        crawler.ask((first, second))
        run_dry(crawler.step)
        checked = [
            server.store.class_counters(class_id)["crawler_items_checked"]
            for class_id in (first, second)
        ]
        # And a step more at most.
        assert 2000 <= sum(checked) <= 2512


def test_a_search_ends_when_searching_is_switched_off() -> None:
    with in_process() as server:
        arena = server.context.arena
        server.fill("k", 5000, 100)
        crawler = Crawler(server.context, server.store)
        crawler.ask(None)
        crawler.consider()
        assert arena.note(Note.CRAWLER) == CrawlerState.ASKED
        arena.set_live("lru_crawler", 0)
        crawler.consider()
        assert arena.note(Note.CRAWLER) == CrawlerState.IDLE
        assert crawler.step() is None


def test_a_search_of_its_own_begins_when_items_have_died() -> None:
    with in_process() as server:
        arena = server.context.arena
        server.fill("k", 1000, 100, expiry_seconds=arena.seconds() + 5)
        crawler = Crawler(server.context, server.store)
        crawler.consider()
        assert crawler.step() is None
        arena.shift_clock(6)
        server.store.set_now(arena.seconds())
        crawler.consider()
        assert arena.note(Note.CRAWLER) == CrawlerState.OWN
        run_dry(crawler.step)
        assert server.store.counters()["items"] == 0


def test_a_flush_is_noticed_too() -> None:
    with in_process() as server:
        server.fill("k", 3000, 100)
        lib.store_flush_all(server.store.pointer, 0)
        crawler = Crawler(server.context, server.store)
        crawler.consider()
        run_dry(crawler.step)
        assert all(
            read_class(server.store, class_id).pages == 0
            or server.store.class_counters(class_id)["items"] == 0
            for class_id in range(1, read_slab(server.store).classes + 1)
        )


def test_classes_without_dead_items_are_left_alone() -> None:
    with in_process() as server:
        arena = server.context.arena
        server.fill("short", 1000, 100, expiry_seconds=arena.seconds() + 5)
        server.fill("lasting", 3000, 3000)
        arena.shift_clock(6)
        server.store.set_now(arena.seconds())
        crawler = Crawler(server.context, server.store)
        crawler.consider()
        run_dry(crawler.step)
        lasting = filled_class(server)
        assert server.store.class_counters(lasting)["crawler_items_checked"] == 0
        assert server.store.counters()["items"] == 3000


class Walking:
    """A search that goes on, of which every item was dead."""

    items_seen = items_reclaimed = 100

    def __init__(self, store: object, classes: object) -> None:
        """Of no interest."""

    def step(self, chunks: int) -> bool:
        return True


@pytest.mark.parametrize(
    ("is_asked", "sleep_us", "pause"), [(True, 0, 0.01), (False, 0, 0.03), (True, 500_000, 0.5)]
)
def test_a_search_rests_as_long_as_its_share_or_the_setting_says(
    monkeypatch: pytest.MonkeyPatch, is_asked: bool, sleep_us: int, pause: float
) -> None:
    """A step of 10 ms: half a core when asked for, a quarter where all are dead."""
    times = iter((100.0, 100.01))
    monkeypatch.setattr(crawler_module, "Crawl", Walking)
    with in_process() as server:
        server.context.arena.set_live("lru_crawler_sleep_us", sleep_us)
        crawler = Crawler(server.context, server.store)
        crawler._begin(None, is_asked=is_asked)
        clock = SimpleNamespace(monotonic=lambda: next(times))
        monkeypatch.setattr(crawler_module, "time", clock)
        assert crawler.step() == pytest.approx(pause)


def test_disabled_means_no_search() -> None:
    with in_process(["-o", "no_lru_crawler"]) as server:
        arena = server.context.arena
        server.fill("k", 10, 100, expiry_seconds=1)
        server.store.set_now(arena.seconds())
        crawler = Crawler(server.context, server.store)
        crawler.consider()
        assert arena.note(Note.CRAWLER) == CrawlerState.IDLE
        assert crawler.step() is None


def looked(server: InProcess, keeper: Keeper, looks: int) -> None:
    """Lets the keeper do all it wants to do, some looks long, without its rests."""
    for _ in range(looks):
        for job in (keeper._look, keeper._fit_into_limit, keeper._mover.step):
            run_dry(job) if job == keeper._mover.step else job()


def test_a_lower_limit_takes_pages_away() -> None:
    with in_process() as server:
        server.fill("k", 200_000, 100)
        used = read_slab(server.store).pages_used
        server.ask("cache_memlimit 8")
        keeper = Keeper(server.context, server.store)
        looked(server, keeper, used)
        slab = read_slab(server.store)
        assert slab.pages_used <= slab.pages_limit < used
        server.store.check()


@pytest.mark.parametrize("failing", ["_look", "_fit_into_limit"])
def test_a_failing_job_takes_no_other_with_it(
    failing: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Keeper) -> float:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(Keeper, failing, fail)
    with in_process() as server:
        keeper = Keeper(server.context, server.store)
        keeper._due["fit"] = 0.0
        keeper._run_due_jobs()
        assert "on purpose" in capfd.readouterr().err
        assert keeper._due["look"] > 0
        assert keeper._wait_seconds() >= 0


def test_each_job_is_a_beat() -> None:
    with in_process() as server:
        keeper = Keeper(server.context, server.store)
        keeper._due |= dict.fromkeys(("fit", "limbo"), 0.0)
        before = server.context.arena.pulse(server.store.slot).beats
        keeper._run_due_jobs()
        assert server.context.arena.pulse(server.store.slot).beats >= before + 3


def test_the_index_shrinks_after_a_flush() -> None:
    with in_process() as server:
        server.fill("k", 400_000, 10)
        full = read_index(server.store)
        limit = read_slab(server.store).pages_limit
        assert full.bytes > 3_500_000
        server.store.flush_all()
        keeper = Keeper(server.context, server.store)
        keeper._crawler.ask(None)
        run_dry(keeper._crawler.step)
        keeper._look()
        assert "shrink" in keeper._due
        run_dry(keeper._shrink_indexes)
        # 2^16 places are what it has at the start.
        assert read_index(server.store).bytes == 8192 * 64
        freed = full.bytes - 8192 * 64
        assert read_slab(server.store).pages_limit >= limit + freed // 2**20
        server.store.check()


def test_a_large_start_does_not_keep_memory_from_items() -> None:
    with in_process(["-m", "64", "-o", "hashpower=24"]) as server:
        keeper = Keeper(server.context, server.store)
        run_dry(keeper._shrink_indexes)
        assert read_index(server.store).bytes == 8192 * 64
        assert read_slab(server.store).pages_limit >= 63
        server.fill("k", 100_000, 100)
        run_dry(keeper._shrink_indexes)
        assert server.store.check() == server.store.counters()["items"] == 100_000
