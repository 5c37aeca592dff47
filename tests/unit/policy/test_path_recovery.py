"""How paths come back: probes, pauses that grow, and trouble that comes again. Time is fake."""

from pymc.policy.path_recovery import (
    GOOD_PROBES,
    OUT_SECONDS,
    OUT_SECONDS_MAX,
    PROBE_SECONDS,
    SOON_SECONDS,
    Recovery,
    after_probe,
    late,
    taken_out,
)


def test_a_late_path_is_probed_each_second() -> None:
    recovery = late(100.0)
    for _ in range(30):
        before = recovery.due
        recovery = after_probe(recovery, before, is_good=False)
        assert recovery.due == before + PROBE_SECONDS
    assert recovery.since == 100.0


def test_probes_in_a_row_end_it() -> None:
    recovery = late(0.0)
    for is_good in [True] * (GOOD_PROBES - 1) + [False] + [True] * (GOOD_PROBES - 1):
        recovery = after_probe(recovery, recovery.due, is_good=is_good)
        assert not recovery.is_over
    assert after_probe(recovery, recovery.due, is_good=True).is_over


def test_pauses_of_a_path_that_is_out_grow() -> None:
    recovery = taken_out(0.0)
    pauses = []
    for _ in range(9):
        pauses.append(recovery.pause_seconds)
        recovery = after_probe(recovery, recovery.due, is_good=False)
    assert pauses[:4] == [OUT_SECONDS, OUT_SECONDS * 2, OUT_SECONDS * 4, OUT_SECONDS * 8]
    assert pauses[-1] == OUT_SECONDS_MAX


def comes_back(recovery: Recovery) -> Recovery:
    while not recovery.is_over:
        recovery = after_probe(recovery, recovery.due, is_good=True)
    return recovery


def test_good_probes_follow_each_other_soon() -> None:
    recovery = comes_back(taken_out(0.0))
    assert recovery.due == OUT_SECONDS + GOOD_PROBES * PROBE_SECONDS


def test_who_falls_out_again_soon_waits_longer() -> None:
    first = comes_back(taken_out(0.0))
    again = taken_out(first.due + 1, first, first.due)
    assert again.pause_seconds == OUT_SECONDS * 2
    third = taken_out(again.due + 1, again, again.due)
    assert third.pause_seconds == OUT_SECONDS * 4
    later = taken_out(third.due + SOON_SECONDS, third, third.due)
    assert later.pause_seconds == OUT_SECONDS
