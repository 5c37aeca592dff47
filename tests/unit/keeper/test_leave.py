"""The keeper's walk that lets idle items leave memory: when it walks, and how it rests."""

from pathlib import Path

import pytest

from pymc.keeper import leave
from pymc.keeper.leave import LeaveJob, pause_seconds
from tests.support.inprocess import in_process


class Walk:
    """Stands in for the walk over memory; takes three steps."""

    def __init__(self, store: object) -> None:
        del store
        self.steps: list[tuple[int, int]] = []
        walks.append(self)

    def step(self, chunks: int, idle_seconds: int) -> bool:
        self.steps.append((chunks, idle_seconds))
        return len(self.steps) < 3


walks: list[Walk] = []


@pytest.mark.parametrize(("age", "pause"), [(0, 1), (2, 1), (80, 10), (480, 60), (10**6, 60)])
def test_walks_follow_each_other_by_the_age(age: int, pause: float) -> None:
    assert pause_seconds(age) == pause


def test_it_walks_in_steps_while_an_age_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    walks.clear()
    monkeypatch.setattr(leave, "Leave", Walk)
    options = f"ext_page_size=2,ext_wbuf_size=2,ext_path={tmp_path}/a:4m"
    with in_process(["-m", "16", "-o", options]) as server:
        job = LeaveJob(server.store)
        assert job.step() == 1.0
        server.ask("extstore item_age 480")
        # Nothing is on flash yet.
        assert job.step() == 1.0 and not walks
        server.store.count("items_with_copy")
        rests = [job.step() for _ in range(3)]
        assert len(walks) == 1 and walks[0].steps == [(512, 480)] * 3
        assert all(rest >= 0 for rest in rests)
        # Done: the next one comes later, but a new age is noticed within a second.
        assert job.step() == 1.0 and len(walks) == 1
        server.ask("extstore item_age 4294967295")
        assert job.step() == 1.0 and len(walks) == 1
