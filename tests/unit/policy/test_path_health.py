"""When a path goes: errors in a row and by rate, weighed against what went well. Time is fake."""

from collections.abc import Iterable

import pytest

from pymc.policy.path_health import (
    LONG_BAD_RECORDS,
    LONG_SECONDS,
    SHORT_BAD_READS,
    Counts,
    Failing,
    PathHistory,
    after_look,
    after_write,
    failing,
)


def each_second(steps: Iterable[Counts]) -> tuple[Failing | None, int]:
    """What is found, and after how many seconds, when so much comes in each of them."""
    history, total = after_look(PathHistory(), 0.0, Counts()), Counts()
    second = 0
    for second, step in enumerate(steps, start=1):
        total = step.since(Counts(*(-value for value in _values(total))))
        history = after_look(history, float(second), total)
        if found := failing(history):
            return found, second
    return None, second


def _values(counts: Counts) -> tuple[int, ...]:
    return (
        counts.reads,
        counts.read_errors,
        counts.bad_records,
        counts.writes,
        counts.write_errors,
    )


def test_three_failed_writes_in_a_row() -> None:
    history = PathHistory()
    for is_good in (False, False, True, False, False):
        history = after_write(history, is_good=is_good)
        assert failing(history) is None
    assert failing(after_write(history, is_good=False)) is Failing.WRITES_IN_ROW


def test_every_read_is_corrupt() -> None:
    steps = [Counts(reads=2000, bad_records=2000)] * 3
    assert each_second(steps) == (Failing.CHECKSUMS, 1)


def test_every_read_fails_at_a_slow_pace() -> None:
    steps = [Counts(reads=20, read_errors=20)] * 60
    assert each_second(steps) == (Failing.READS, 2)


def test_a_few_errors_are_no_reason() -> None:
    few = SHORT_BAD_READS - 1
    assert each_second([Counts(reads=few, read_errors=few)] + [Counts()] * 90)[0] is None
    # Nor are more of them among many good reads, told by the device or by checksums.
    steps = [Counts(reads=100_000, read_errors=1, bad_records=10)] * 300
    assert each_second(steps)[0] is None


def test_failing_every_now_and_then_is_found() -> None:
    """A quiet second, or ten of them, forget nothing."""
    bad, good = Counts(reads=300, read_errors=30), Counts(reads=100)
    assert each_second(([bad] + [good] * 10) * 6)[0] is Failing.READS
    assert each_second(([bad] + [good] * 59) * 6)[0] is None


def test_a_share_of_corrupt_records_is_found() -> None:
    found, second = each_second([Counts(reads=10_000, bad_records=300)] * 10)
    assert found is Failing.CHECKSUMS
    assert second == -(-LONG_BAD_RECORDS // 300)


def test_errors_that_the_device_tells_are_many_at_any_share() -> None:
    steps = [Counts(reads=100_000, read_errors=40)] * 60
    assert each_second(steps)[0] is Failing.READS
    # One bad write makes many records bad, of which nothing follows for the rest.
    assert each_second([Counts(reads=100_000, bad_records=400)] * 60)[0] is None


def test_the_share_and_the_number_of_errors_at_which_a_path_goes() -> None:
    """Two of a hundred reads: the share is met all the time, the number with the hundredth."""
    assert each_second([Counts(reads=100, read_errors=2)] * 60) == (Failing.READS, 50)
    assert each_second([Counts(reads=101, read_errors=2)] * 60)[0] is None


def test_bad_reads_of_three_seconds_are_weighed_together() -> None:
    """A look a second: those of a fourth one before are no part of it."""
    assert each_second([Counts(reads=31, read_errors=31)])[0] is None
    assert each_second([Counts(reads=32, read_errors=32)]) == (Failing.READS, 1)
    assert each_second([Counts(reads=8, read_errors=8)] * 10)[0] is None
    assert each_second([Counts(reads=11, read_errors=11)] * 10) == (Failing.READS, 3)
    assert each_second([Counts(reads=22, read_errors=11)] * 5) == (Failing.READS, 3)
    assert each_second([Counts(reads=23, read_errors=11)] * 5)[0] is None


def test_writes_that_fail_now_and_then() -> None:
    steps = [Counts(writes=1, write_errors=1), *[Counts(writes=2)] * 4]
    assert each_second(steps * 12)[0] is Failing.WRITES
    steps = [Counts(writes=1, write_errors=1), *[Counts(writes=20)] * 4]
    assert each_second(steps * 12)[0] is None


@pytest.mark.parametrize("pause", [1.0, 7.0])
def test_what_is_old_is_forgotten(pause: float) -> None:
    history, now = PathHistory(), 0.0
    for number in range(300):
        now = number * pause
        history = after_look(history, now, Counts(reads=number))
    assert len(history.looks) == LONG_SECONDS // pause + (2 if LONG_SECONDS % pause else 1)
    assert history.looks[0][0] <= now - LONG_SECONDS
