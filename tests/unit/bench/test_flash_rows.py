"""Rows with several flash files or slow ones: which servers run, and what is compared."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.harness import flash_files, flash_writing, measure, report, slow_device, suite, workloads
from bench.harness.servers import Kind
from bench.harness.workloads import Workload


def row(name: str) -> Workload:
    return next(one for one in workloads.read() if one.name == name)


@pytest.mark.parametrize("name", ["pymc", "memcached-newest"])
def test_each_number_of_files_is_a_server_of_its_own(name: str) -> None:
    found = suite._variants(row("flash-paths"), Kind(name, name, Path("x")))
    assert [(one.name, one.flash_paths) for one in found] == [
        (name, 1),
        (f"{name}-paths-2", 2),
        (f"{name}-paths-4", 4),
    ]
    assert len({one.is_pymc for one in found}) == 1
    assert suite._variants(row("flash-fill"), Kind(name, name, Path("x"))) == [
        Kind(name, name, Path("x"))
    ]


def test_files_are_all_named_and_all_removed(tmp_path: Path) -> None:
    kind = Kind("pymc-paths-2", "pymc", Path("x"), ("-v",), flash_paths=2)
    workload = replace(row("flash-paths"), pymc_options="ext_admit=75")
    with flash_files.attached(kind, tmp_path, workload) as made:
        flag, option, words = made.arguments
        assert (flag, option) == ("-v", "-o")
        first, second = (word.removeprefix("ext_path=") for word in words.split(",")[-2:])
        assert words.split(",")[:-2] == ["ext_page_size=16", "ext_admit=75"]
        paths = [Path(place.removesuffix(":256m")) for place in (first, second)]
        assert made.flash_file == paths[0] != paths[1]
        for path in paths:
            path.touch()
    assert not any(path.exists() for path in paths)


def test_files_are_slow_where_the_row_says_so() -> None:
    kind = Kind("pymc", "pymc", Path("x"))
    with slow_device.slowed(kind, 0) as made:
        assert made.environment == ()
    with slow_device.slowed(kind, 40_000_000) as made:
        said = dict(made.environment)
        assert said["SLOW_DEVICE_BYTES_PER_SECOND"] == "40000000"
        assert Path(said["SLOW_DEVICE_STATE"]).stat().st_size == slow_device.STATE_BYTES
    assert not Path(said["SLOW_DEVICE_STATE"]).exists()


def test_more_files_are_compared_slice_by_slice() -> None:
    samples = {
        name: [{"written_mb_per_second": value} for value in values]
        for name, values in {"a": (40.0, 20.0, 0.0), "a-2": (78.0, 40.0, 1.0)}.items()
    }
    flash_writing.fold_paths(samples, ["a", "a-2"], (1, 2))
    assert [one["times_2_paths"] for one in samples["a"]] == [1.95, 2.0, 0.0]


def test_each_kind_can_be_measured_shown_and_made_small() -> None:
    for workload in workloads.read():
        assert workload.kind in measure.MEASUREMENTS and workload.kind in report.SHOWN
        assert workloads.smoke_sized(workload).kind == workload.kind
