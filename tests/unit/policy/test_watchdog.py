"""Who is killed and who is left alone, with time, beats and states as the test says."""

from dataclasses import replace

import pytest

from pymc.policy.watchdog import (
    HALTED_SECONDS,
    LATE_SECONDS,
    PAUSE_SECONDS,
    ProcessState,
    Watchdog,
)
from tests.support.watched_world import LIMIT, SLEEPING, STOPPED, World


@pytest.fixture
def world() -> World:
    made = World()
    made.pass_time(2)
    return made


def test_who_beats_is_left_alone(world: World) -> None:
    world.pass_time(100)
    assert not world.killed
    assert not world.verdict.late
    assert world.verdict.pause_seconds == PAUSE_SECONDS


def test_one_that_is_stuck_is_late_and_then_killed(world: World) -> None:
    world.silent = {1}
    world.pass_time(LATE_SECONDS - PAUSE_SECONDS)
    assert not world.verdict.late
    world.pass_time(2 * PAUSE_SECONDS)
    assert world.verdict.late == {1}
    world.pass_time(LIMIT - LATE_SECONDS - 2 * PAUSE_SECONDS)
    assert not world.killed
    world.pass_time(2 * PAUSE_SECONDS)
    (kill,) = world.kills
    assert (kill.slot, kill.pid, kill.reason, kill.state) == (1, 101, "no beat", SLEEPING)
    assert kill.silent_seconds == pytest.approx(LIMIT, abs=0.1)


def test_with_a_limit_of_zero_nobody_is_killed() -> None:
    world = World(Watchdog(0))
    world.silent = {1}
    world.change(0, waits_for=1)
    world.states[101] = STOPPED
    world.pass_time(1000)
    assert not world.killed
    assert world.verdict.late == {1}


def test_who_rests_and_beats_once_a_second_is_never_killed() -> None:
    world = World(Watchdog(1))
    for _ in range(20):
        world.silent = {0, 1, 2}
        world.pass_time(1.4)
        world.silent = set()
        world.look(0.1)
    assert not world.killed
    assert not world.verdict.late


def test_slow_beats_are_beats(world: World) -> None:
    for _ in range(20):
        world.silent = {0, 1, 2}
        world.pass_time(LIMIT * 0.9)
        world.silent = set()
        world.look()
    assert not world.killed


def test_a_pause_of_the_machine_kills_nobody(world: World) -> None:
    world.silent = {0, 1, 2}
    world.pass_time(1.0)
    for pause in (0.5, 30.0, 86400.0):
        world.look(pause)
    assert not world.killed
    # They come back one by one, the last of them late.
    world.silent = {2}
    world.pass_time(LIMIT - 2)
    assert not world.killed


def test_many_short_pauses_kill_nobody(world: World) -> None:
    """A machine so busy that each look takes a second: the limit is far away, yet it comes."""
    world.silent = {1}
    for _ in range(int(LIMIT * 3)):
        world.look(1.0)
    assert not world.killed
    for _ in range(int(LIMIT * 3)):
        world.look(1.0)
    assert world.killed == [1]


def test_a_clock_that_stands_or_goes_back_kills_nobody(world: World) -> None:
    world.silent = {1}
    for step in (0.0, 0.0, -3600.0, 0.0):
        world.look(step)
    assert not world.killed
    assert not world.verdict.late


def test_when_nobody_moves_it_takes_twice_as_long(world: World) -> None:
    world.silent = {0, 1, 2}
    world.pass_time(LIMIT * 1.9)
    assert not world.killed
    world.pass_time(LIMIT * 0.2)
    assert sorted(world.killed) == [0, 1, 2]


def test_who_is_not_gone_is_killed_again(world: World) -> None:
    world.silent = {1}
    world.pass_time(LIMIT * 2.2)
    assert world.killed == [1, 1]
    assert world.verdict.late == {1}


def test_a_new_process_begins_anew(world: World) -> None:
    world.silent = {1}
    world.pass_time(LIMIT * 0.9)
    world.change(1, pid=201)
    world.pass_time(LIMIT * 0.9)
    assert not world.killed
    del world.pulses[1]
    world.pass_time(LIMIT)
    assert not world.killed


def test_a_start_may_take_longer(world: World) -> None:
    world.silent = {1}
    world.change(1, pid=201, is_starting=True)
    world.pass_time(LIMIT * 3.9)
    assert not world.killed
    world.pass_time(LIMIT * 0.3)
    assert world.killed == [1]


def test_a_stopped_one_is_late_at_once(world: World) -> None:
    world.silent = {1}
    world.change(1, is_stopped=True)
    world.look(0.001)
    assert world.verdict.late == {1}
    assert not world.killed
    world.silent = set()
    world.change(1, is_stopped=False)
    world.look()
    assert not world.verdict.late


def test_stopped_within_a_lock_is_killed_early(world: World) -> None:
    world.silent = {0, 1}
    world.states[101] = STOPPED
    world.change(0, waits_for=1)
    world.pass_time(PAUSE_SECONDS + HALTED_SECONDS + 0.05)
    assert world.killed == [1]
    assert world.kills[0].reason == "halted within a lock that others wait for"
    # Within moments: others wait.
    assert world.kills[0].silent_seconds < 1.0


@pytest.mark.parametrize(
    "state",
    [ProcessState("t"), ProcessState("D", is_dumping=True), ProcessState("S", "do_freezer_trap")],
)
def test_whatever_halts_it(world: World, state: ProcessState) -> None:
    world.silent = {0, 1}
    world.states[101] = state
    world.change(0, waits_for=1)
    world.pass_time(PAUSE_SECONDS + HALTED_SECONDS + 0.05)
    assert world.killed == [1]


def test_stopped_outside_a_lock_has_the_whole_limit(world: World) -> None:
    world.silent = {1}
    world.states[101] = STOPPED
    world.change(1, is_stopped=True)
    world.pass_time(LIMIT - 0.1)
    assert not world.killed


def test_a_wait_before_it_was_stopped_does_not_count(world: World) -> None:
    world.silent = {1}
    world.change(1, waited_us=5000)
    world.look()
    world.states[101] = STOPPED
    world.change(1, is_stopped=True)
    world.pass_time(1)
    assert not world.killed


def test_who_was_continued_is_not_killed_for_having_been_stopped(world: World) -> None:
    world.silent = {0, 1}
    world.states[101] = STOPPED
    world.change(1, is_stopped=True)
    world.change(0, waits_for=1)
    for _ in range(2):
        world.look(HALTED_SECONDS / 3)
    world.states[101] = SLEEPING
    world.change(1, is_stopped=False)
    world.change(0, waits_for=None)
    world.pass_time(1)
    assert not world.killed


def test_a_pause_does_not_count_within_a_lock_either(world: World) -> None:
    world.silent = {0, 1, 2}
    world.states[101] = STOPPED
    world.change(0, waits_for=1)
    world.look()
    world.look(3600)
    assert not world.killed


def test_a_limit_that_is_too_short_is_two_seconds() -> None:
    world = World(Watchdog(0.1))
    world.look()
    world.silent = {1}
    assert world.seconds_until_killed() == pytest.approx(2.0, abs=0.1)


def test_nobody_looks_for_the_states_of_those_who_go_on(world: World) -> None:
    """To read one takes longer than all the rest of a look."""
    asked: list[int] = []

    def state_of(pid: int) -> ProcessState:
        asked.append(pid)
        return SLEEPING

    for beats in range(1000, 1010):
        pulses = {slot: replace(world.pulses[slot], beats=beats) for slot in world.pulses}
        world.watchdog.look(world.now + beats, pulses, state_of)
    assert asked == []


def test_who_waits_is_not_blamed(world: World) -> None:
    """The keeper sleeps within a lock, a worker waits for it, another one for that worker."""
    world.silent = {0, 1, 2}
    world.change(0, waits_for=1)
    world.change(1, waits_for=2)
    world.pass_time(LIMIT + 1)
    assert set(world.killed) == {2}
    assert 0 not in world.killed


def test_who_was_stopped_while_it_waited_is_blamed(world: World) -> None:
    """What its slot says is old: the owner that it names has long gone on."""
    world.silent = {1}
    world.states[101] = STOPPED
    world.change(1, waits_for=2)
    world.pass_time(LIMIT + 1)
    assert world.killed == [1]


def test_a_lock_that_is_never_given_back(world: World) -> None:
    """Its owner beats, and yet one and the same wait lasts longer than the limit."""
    world.silent = {0}
    world.change(0, waits_for=1)
    world.pass_time(LIMIT + 1)
    assert world.killed == [1]
    assert world.kills[0].reason == "process 100 waited 5.0 s for its lock"


def test_a_ring_of_waiters_loses_one(world: World) -> None:
    world.silent = {0, 1}
    world.change(0, waits_for=1)
    world.change(1, waits_for=0)
    world.pass_time(LIMIT + 1)
    assert world.killed == [0]


def test_another_wait_begins_anew(world: World) -> None:
    world.silent = {0}
    world.change(0, waits_for=1)
    world.pass_time(LIMIT - 1)
    world.change(0, waits_for=2)
    world.look()
    assert world.seconds_until_killed() == pytest.approx(LIMIT, abs=0.1)
    assert world.killed == [2]


def test_who_has_waited_stands_still_from_then_on(world: World) -> None:
    world.silent = {0}
    world.change(0, waits_for=77)
    world.pass_time(LIMIT * 2)
    world.change(0, waits_for=None)
    assert world.seconds_until_killed() == pytest.approx(LIMIT, abs=0.1)
    assert world.killed == [0]


def test_the_processor_is_watched_from_half_the_limit_on(world: World) -> None:
    """A fifth of that half is more than the tenth that a starved one does not get."""
    world.silent = {1}
    world.states[101] = ProcessState("R", cpu_seconds=1.0)
    world.pass_time(LIMIT - 0.1)
    world.states[101] = ProcessState("R", cpu_seconds=1.0 + LIMIT / 2 * 0.2)
    assert world.seconds_until_killed() < 0.5
    assert world.killed == [1]


def test_who_waits_for_a_stranger_is_left_alone(world: World) -> None:
    world.silent = {0}
    world.change(0, waits_for=77)
    world.pass_time(LIMIT * 3)
    assert not world.killed


def test_a_starved_one_is_not_stuck(world: World) -> None:
    world.silent = {1}
    world.states[101] = ProcessState("R", cpu_seconds=1.0)
    world.pass_time(LIMIT * 3)
    assert not world.killed
    # One that computes and computes is.
    world.states[101] = ProcessState("R", cpu_seconds=100.0)
    world.look()
    assert world.killed == [1]


@pytest.mark.parametrize(("share", "is_stuck"), [(0.05, False), (0.2, True), (1.0, True)])
def test_who_gets_some_of_the_processor_and_does_not_beat_is_stuck(
    world: World, share: float, is_stuck: bool
) -> None:
    world.silent = {1}
    for step in range(int(LIMIT * 3)):
        world.states[101] = ProcessState("R", cpu_seconds=share * step)
        world.pass_time(1.0)
    assert bool(world.killed) == is_stuck


def test_a_core_file_that_was_asked_for_takes_its_time() -> None:
    world = World(Watchdog(LIMIT, spares_dumps=True))
    world.silent = {1}
    world.change(0, waits_for=1)
    world.states[101] = ProcessState("D", is_dumping=True)
    world.pass_time(LIMIT * 10)
    assert not world.killed


def test_looks_are_closer_while_somebody_is_late_or_hinders(world: World) -> None:
    assert world.verdict.pause_seconds == PAUSE_SECONDS
    world.silent = {1}
    world.look()
    # It is silent for a moment, and nobody waits for it.
    assert world.verdict.pause_seconds == PAUSE_SECONDS
    world.silent = set()
    world.look()
    world.silent = {1}
    world.change(1, waited_us=1)
    world.look()
    assert world.verdict.pause_seconds < PAUSE_SECONDS
    world.silent = set()
    world.look()
    assert world.verdict.pause_seconds == PAUSE_SECONDS


def test_who_is_stopped_while_it_starts_is_not_waited_for_longer(world: World) -> None:
    world.silent.add(1)
    world.change(1, pid=201, is_starting=True, is_stopped=True)
    world.states[201] = STOPPED
    world.pass_time(LIMIT + 1)
    assert world.killed == [1]
