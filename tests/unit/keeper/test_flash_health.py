"""What the keeper does about its paths: out, late, by hand, and back. Time is fake."""

import pytest

from pymc.core.arena import Role
from pymc.core.flash import Bucket, PageState, Wanted, Why
from pymc.core.flash_paths import FlashPaths
from pymc.core.store import Store
from pymc.core.writeout import WriteBuffers
from pymc.policy.path_recovery import (
    GOOD_PROBE_SECONDS,
    GOOD_PROBES,
    OUT_SECONDS,
    WRITE_SECONDS,
)
from tests.support.path_rig import Rig, Said, Threads


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
    rig.seen.more[0]["slow_reads"] += 1
    rig.look()
    assert said() == ["a: 1 reads took longer than a second"]


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
    buffers = WriteBuffers(rig.store, rig.flash)
    # Two of four pages of both paths are on the first one.
    assert all(buffers.begin(number, Bucket(number)) for number in range(4))
    fail_out(rig)
    rig.look(OUT_SECONDS)
    assert rig.page_states(0) == {PageState.DRAINING}
    assert rig.writers.jobs == []


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


def test_a_write_of_another_keeper_keeps_a_path_out(rig: Rig) -> None:
    """It would land in pages that are used again."""
    rig.steps.note_writing(0, is_writing=True)
    with Store(rig.context.arena, rig.context.keeper_slots[1], Role.KEEPER, rig.flash) as store:
        rig.steps = FlashPaths(store, rig.flash)
        rig.health = rig.successor()
        fail_out(rig)
        rig.flash.want(0, Wanted.IN)
        rig.look()
        assert rig.state(0)[0] == "out"
        rig.flash.forget_writes(rig.store.slot)
        rig.look()
        assert rig.state(0)[0] == "in"


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
    rig.flash.set_late(0, is_late=True)
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


def test_a_read_of_its_own_that_hangs_makes_a_path_late(rig: Rig, said: Said) -> None:
    rig.readers.submit(1, lambda: None, lambda _: None)
    rig.readers.late = WRITE_SECONDS - 1
    rig.look()
    assert rig.state(1)[0] == "in"
    rig.readers.late = WRITE_SECONDS
    rig.look()
    assert rig.state(1) == ("late", Why.LATE_READ)
    assert said() == ["b: late: a read is not answered; not used until it answers"]


def test_a_path_that_failed_may_be_taken_out_by_hand_too(rig: Rig, said: Said) -> None:
    """Else its probes would bring it back."""
    fail_out(rig)
    said()
    rig.flash.want(0, Wanted.OUT)
    rig.look()
    assert rig.state(0) == ("out", Why.HAND)
    assert said() == ["a: taken out of service: by hand"]
    rig.look()
    assert said() == []


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


def test_a_successor_closes_pages_that_can_get_no_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path may have got late while there was no keeper."""
    closed: list[int] = []
    monkeypatch.setattr(rig.steps, "close_pages", closed.append)
    rig.successor()
    assert closed == [0, 1]


def test_a_full_index_is_said_once_a_minute(rig: Rig, said: Said) -> None:
    for seconds, lines in ((0, 1), (59, 0), (1, 1), (60, 1)):
        rig.now += seconds
        rig.health.index_was_full()
        assert len(said()) == lines


def test_a_late_path_of_a_predecessor(rig: Rig, said: Said) -> None:
    rig.flash.set_late(0, is_late=True)
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
