"""How long the keeper's job of writing out rests while nothing is to be written."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pymc.keeper import write_out as write_out_module
from pymc.keeper.write_out import WriteOutJob
from pymc.policy.write_out import ClassUse
from tests.support.inprocess import InProcess, in_process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcess]:
    tmp_path.chmod(0o777)
    options = f"ext_page_size=2,ext_wbuf_size=2,ext_path={tmp_path}/a:4m,ext_max_sleep=100000"
    with in_process(["-m", "4096", "-o", options]) as made:
        yield made


@pytest.fixture
def job(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> WriteOutJob:
    monkeypatch.setattr(write_out_module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    assert server.context.flash is not None
    health = cast(Any, SimpleNamespace(is_any_left=True))
    return WriteOutJob(server.store, server.context.flash, cast(Any, None), health)


def test_it_rests_as_long_as_memory_takes_to_fill_up_to_the_setting(
    server: InProcess, job: WriteOutJob
) -> None:
    # 4 GiB fill in a second at the speed that clients may have.
    assert job.step() == pytest.approx(0.1)
    server.context.arena.set_live("ext_max_sleep_us", 10_000_000)
    assert 0.9 < job.step() <= 1.0
    # It never spins.
    server.context.arena.set_live("ext_max_sleep_us", 0)
    assert job.step() == pytest.approx(0.002)


def test_looks_come_less_often_while_nothing_is_stored(
    job: WriteOutJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"stored": 0}

    def classes(_count: int) -> list[ClassUse]:
        return [ClassUse(1, 100, 1000, 0, 0, counts["stored"])]

    monkeypatch.setattr(job, "_classes", classes)
    monkeypatch.setattr(write_out_module, "is_nearly_full", lambda *_: True)
    job._look(100.0)
    seen: list[float] = []
    for stored in (0, 0, 0, 0, 5, 5, 6):
        counts["stored"] = stored
        job._look(101.0 + len(seen))
        seen.append(job._look_seconds)
    assert seen == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.025, 0.05, 0.025])
