"""What the look once a second makes the keeper do, and what messages make it do at once."""

import gc
import math
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.arena import Arena, LargePages, Note, Role
from pymc.core.flash import Wanted
from pymc.core.flash_paths import FlashPaths
from pymc.core.store import Store
from pymc.keeper import keeper as keeper_module
from pymc.keeper.keeper import Keeper
from pymc.keeper.observe import Quiet
from pymc.messages import (
    AnswerMessage,
    CrawlerState,
    CrawlMessage,
    Inbox,
    Message,
    MoveMessage,
    WakeMessage,
    send,
    send_note,
)
from pymc.policy.shrink import Move
from pymc.policy.snapshot import CacheState
from tests.support.inprocess import InProcess, in_process

# The test itself has slot 0, where a worker is; here it is the keeper's.
VICTIM = 1


@pytest.fixture
def server() -> Iterator[InProcess]:
    with in_process() as made:
        yield made


@pytest.fixture
def keeper(server: InProcess) -> Keeper:
    return Keeper(server.context, server.store)


def die_in_slot(arena: Arena, slot: int) -> None:
    """A process takes the slot and is killed there."""
    pid = os.fork()
    if pid == 0:
        try:
            # Kept alive: closing it would give the slot back.
            held = Store(arena, slot, Role.WORKER)
            held.beat()
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_slots_of_the_dead_are_repaired(server: InProcess, keeper: Keeper) -> None:
    arena = server.context.arena
    for slot in (VICTIM, server.context.slots.stop - 1):
        die_in_slot(arena, slot)
        assert arena.slot_owner(slot).role is Role.WORKER
    keeper._look()
    assert all(arena.slot_owner(slot).pid == 0 for slot in range(1, server.context.slots.stop))
    assert server.store.counters()["lock_recoveries"] == 2
    # Its own is in use, and stays.
    assert arena.slot_owner(server.store.slot).pid == os.getpid()


def test_a_look_makes_all_idle_jobs_due(server: InProcess, keeper: Keeper) -> None:
    keeper._due = {"move": 5.0}
    keeper._look()
    assert set(keeper._due) == {"fit", "move", "limbo", "shrink", "crawl"}
    # One that waits for its turn goes on waiting.
    assert keeper._due["move"] == 5.0


def test_without_a_maintainer_nobody_searches_by_himself() -> None:
    with in_process(["-o", "no_lru_maintainer"]) as server:
        keeper = Keeper(server.context, server.store)
        keeper._look()
        assert "crawl" not in keeper._due
        assert server.store.counters()["lru_maintainer_juggles"] == 0


def test_a_look_searches_for_the_dead_and_counts(server: InProcess, keeper: Keeper) -> None:
    arena = server.context.arena
    server.fill("k", 1000, 100, expiry_seconds=arena.seconds() + 5)
    arena.shift_clock(6)
    server.store.set_now(arena.seconds())
    keeper._look()
    assert arena.note(Note.CRAWLER) == CrawlerState.OWN
    assert server.store.counters()["lru_maintainer_juggles"] == 1


def test_a_look_samples_ages_and_takes_its_turn(
    server: InProcess, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(keeper_module, "frontiers_step", lambda store: seen.append("ages"))
    monkeypatch.setattr(server.store, "turn", lambda: seen.append("turn"))
    keeper._look()
    assert seen == ["turn", "ages"]


def test_the_next_look_comes_right_after_the_clock_moves(server: InProcess, keeper: Keeper) -> None:
    for _ in range(3):
        pause = keeper._look()
        assert 0 < pause <= 1.0 + keeper_module._TICK_MARGIN_SECONDS


def test_limbo_is_cleared(
    server: InProcess, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Store, int]] = []
    monkeypatch.setattr(keeper_module, "limbo_step", lambda *what: asked.append(what))
    keeper._due = {"limbo": 0.0}
    keeper._run_due_jobs()
    assert asked == [(server.store, keeper_module._LIMBO_ITEMS)]
    # Once a look, not in a circle.
    assert "limbo" not in keeper._due


QUIET_STATE = CacheState(100, 10, 20, 64, (), quiet_seconds=99)


@pytest.mark.parametrize(("large_bytes", "released"), [(0, [16]), (1 << 20, [])])
def test_free_pages_go_back_when_nobody_wants_them_but_not_large_ones(
    server: InProcess,
    keeper: Keeper,
    monkeypatch: pytest.MonkeyPatch,
    large_bytes: int,
    released: list[int],
) -> None:
    """Large pages were got once, at the start: memory that goes back splits them."""
    asked: list[int] = []

    def release(store: Store, pages_max: int) -> int:
        asked.append(pages_max)
        return pages_max

    monkeypatch.setattr(keeper_module, "read_state", lambda *_: QUIET_STATE)
    monkeypatch.setattr(keeper_module, "release_pool_step", release)
    monkeypatch.setattr(keeper_module, "fit_probation_step", lambda store: False)
    server.context.arena.large_pages = LargePages("thp", large_bytes, large_bytes)
    pause = keeper._fit_into_limit()
    assert asked == released
    # Pages go back a few at a time, one batch soon after the other.
    assert pause == (keeper_module._FIT_SECONDS if released else None)


@pytest.mark.parametrize(("is_fitting", "pause"), [(True, 0.02), (False, None)])
def test_queues_that_do_not_fit_yet_are_gone_on_with(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, is_fitting: bool, pause: float | None
) -> None:
    monkeypatch.setattr(keeper_module, "fit_probation_step", lambda store: is_fitting)
    assert keeper._fit_into_limit() == pause


def test_quiet_begins_anew_when_a_page_is_opened_or_the_clock_goes_back() -> None:
    quiet = Quiet()
    seen = [(5, 100), (5, 130), (6, 140), (6, 145), (6, 50), (6, 70)]
    assert [quiet.seconds(*one) for one in seen] == [0, 30, 0, 5, 0, 20]


def read(server: InProcess, keeper: Keeper, *messages: Message) -> set[str]:
    """Sends the messages; the jobs that are due at once when the keeper has read them."""
    keeper._due = {}
    for message in messages:
        assert send(server.context.keeper_inbox.writer, message)
    keeper._read_messages()
    return set(keeper._due)


def test_messages_make_their_jobs_due(server: InProcess, keeper: Keeper) -> None:
    arena = server.context.arena
    assert read(server, keeper) == set()
    assert read(server, keeper, WakeMessage()) == {"look"}
    assert read(server, keeper, CrawlMessage((1,))) == {"crawl"}
    assert arena.note(Note.CRAWLER) == CrawlerState.ASKED
    assert read(server, keeper, MoveMessage(1, 2)) == {"move"}
    assert arena.note(Note.SLAB_MOVE) == 1
    assert read(server, keeper, WakeMessage(), CrawlMessage(None)) == {"look", "crawl"}


def test_an_answer_knows_what_time_it_is(server: InProcess, keeper: Keeper) -> None:
    """Else it would name items that have died since the last job."""
    arena = server.context.arena
    server.fill("k", 10, 10, expiry_seconds=arena.seconds() + 5)
    arena.shift_clock(60)
    client, lent = socket.socketpair()
    channel = Inbox.create()
    with client, lent, channel.reader, channel.writer:
        fds = [lent.fileno(), channel.writer.fileno()]
        message = AnswerMessage(b"lru_crawler metadump all")
        assert send(server.context.keeper_inbox.writer, message, fds)
        keeper._due = {}
        keeper._read_messages()
        assert set(keeper._due) == {"answers"}
        while keeper._answers.count:
            keeper._answers.step()
        assert client.recv(4096) == b"END\r\n"


def test_who_stops_leaves_no_move_behind(server: InProcess, keeper: Keeper) -> None:
    """`slabs reassign` would be answered BUSY until the next keeper has started."""
    keeper._mover.add(Move(1, 2))
    assert server.context.arena.note(Note.SLAB_MOVE) == 1
    keeper._is_stopping = True
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert keeper.run() == 0
    finally:
        signal.signal(signal.SIGTERM, before)
        gc.unfreeze()
    assert server.context.arena.note(Note.SLAB_MOVE) == 0


def test_what_is_no_message_is_said_and_passed_over(
    server: InProcess, keeper: Keeper, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = server.context.keeper_inbox.writer
    # From a newer program perhaps.
    for datagram in (b"dance\n", b"move\nfrom_class 1\n1\n"):
        assert send_note(writer, datagram, [])
    assert read(server, keeper, WakeMessage()) == {"look"}
    said = capfd.readouterr().err
    assert "pymc: keeper: no message that is known here: b'dance\\n'" in said
    assert "lacks to_class" in said


def test_who_waits_for_a_page_does_not_wait_for_the_next_look(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    paths = f"ext_path={tmp_path}/a:4m"
    with in_process(["-m", "16", "-o", f"ext_page_size=2,ext_wbuf_size=2,{paths}"]) as server:
        keeper = Keeper(server.context, server.store)
        tier = keeper._tier
        assert tier is not None
        try:
            later = dict.fromkeys(tier.jobs, math.inf)
            keeper._due = dict(later)
            keeper._run_due_jobs()
            assert keeper._due == later
            tier._writer.needs_page = True
            keeper._run_due_jobs()
            assert keeper._due == later | {"reclaim": 0.0}
            tier._writer.needs_page = False
            keeper._due = dict(later)
            tier._reclaim.has_freed = True
            keeper._run_due_jobs()
            assert keeper._due == later | {"write": 0.0, "write out": 0.0}
            assert not tier._reclaim.has_freed
        finally:
            tier.close()


def test_writes_of_who_had_the_slot_before_are_over(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    paths = f"ext_path={tmp_path}/a:4m"
    with in_process(["-m", "16", "-o", f"ext_page_size=2,ext_wbuf_size=2,{paths}"]) as server:
        context, flash = server.context, server.context.flash
        assert flash is not None
        with Store(context.arena, context.keeper_slot, Role.KEEPER, flash) as store:
            FlashPaths(store, flash).note_writing(0, is_writing=True)
            seen = FlashPaths(server.store, flash)
            assert seen.writing_elsewhere(0)
            tier = Keeper(context, store)._tier
            assert tier is not None
            assert not seen.writing_elsewhere(0)
            tier.close()


def test_the_health_of_paths_is_looked_at_each_second(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    paths = ",".join(f"ext_path={tmp_path}/{name}:4m" for name in ("a", "b"))
    with in_process(["-m", "16", "-o", f"ext_page_size=2,ext_wbuf_size=2,{paths}"]) as server:
        context, flash = server.context, server.context.flash
        assert flash is not None
        with Store(context.arena, context.keeper_slot, Role.KEEPER, flash) as store:
            keeper = Keeper(context, store)
            assert keeper._tier is not None
            try:
                flash.want(1, Wanted.OUT)
                keeper._run_due_jobs()
                assert [flash.path(number).is_out for number in (0, 1)] == [False, True]
                # Every job of the tier is one that comes again.
                assert set(keeper._tier.jobs) - set(keeper._due) == set()
            finally:
                keeper._tier.close()
