"""What flash_device.py recommends, and that it leaves nothing behind and touches no file."""

from dataclasses import replace
from pathlib import Path

import pytest

from scripts import flash_device
from scripts.flash_device import GIB, MIB, DeviceError, Measured

NVME = Measured(
    path="/mnt/nvme0",
    is_block_device=False,
    room_bytes=1000 * GIB,
    direct=True,
    sector_reads=True,
    io_uring=True,
    write_bytes_per_second=3 * GIB,
    reads_per_second=12_000,
    deep_reads_per_second=300_000,
)


def _options(measured: Measured) -> list[str]:
    return [advice.option for advice in flash_device.recommend(measured)]


def test_a_file_takes_nine_tenths_of_what_is_free() -> None:
    assert "ext_path=/mnt/nvme0/pymc.flash:921600m" in _options(NVME)


def test_a_block_device_is_used_whole_in_whole_pages() -> None:
    device = replace(NVME, path="/dev/x", is_block_device=True, room_bytes=10 * GIB + 5 * MIB)
    assert "ext_path=/dev/x:10240m" in _options(device)


def test_a_huge_device_gets_larger_pages_and_they_come_first() -> None:
    options = _options(replace(NVME, is_block_device=True, path="/dev/x", room_bytes=9000 * GIB))
    assert options[0] == "ext_page_size=256"
    page_mib = 256
    size_mib = int(options[2].rpartition(":")[2].removesuffix("m"))
    assert size_mib % page_mib == 0
    assert size_mib // page_mib <= flash_device.PAGES_MAX


@pytest.mark.parametrize(
    ("alone", "deep", "depth"), [(50_000, 60_000, 32), (12_000, 300_000, 64), (1000, 90_000, 256)]
)
def test_the_depth_follows_what_the_device_does_at_once(
    alone: float, deep: float, depth: int
) -> None:
    measured = replace(NVME, reads_per_second=alone, deep_reads_per_second=deep)
    assert f"ext_io_depth={depth}" in _options(measured)


def test_without_io_uring_threads_read() -> None:
    options = _options(replace(NVME, io_uring=False))
    assert "ext_engine=threads" in options
    assert "ext_threads=8" in options


def test_compaction_gets_a_third_of_the_writes_and_no_limit_when_unknown() -> None:
    assert "ext_compact_rate=1024" in _options(NVME)
    assert "ext_compact_rate=0" in _options(replace(NVME, write_bytes_per_second=0))


def test_too_small_a_place_gets_no_recommendation() -> None:
    small = replace(NVME, room_bytes=100 * MIB)
    assert flash_device.recommend(small) == []
    assert "too little room" in flash_device.report(small)


def test_the_report_warns_of_buffered_and_slow_devices() -> None:
    text = flash_device.report(replace(NVME, direct=False, deep_reads_per_second=200))
    assert "page cache" in text
    assert "few random reads" in text


@pytest.mark.slow
def test_a_directory_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"not to be touched")
    measured = flash_device.measure(str(tmp_path), seconds=0.05)
    assert list(tmp_path.iterdir()) == [kept]
    assert kept.read_bytes() == b"not to be touched"
    assert measured.write_bytes_per_second > 0
    assert measured.reads_per_second > 0
    assert measured.deep_reads_per_second > 0


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DeviceError, match="files are not touched"):
        flash_device.measure(str(tmp_path / "file"), seconds=0.01)
    with pytest.raises(DeviceError, match="No such file"):
        flash_device.measure(str(tmp_path / "nothing"), seconds=0.01)
