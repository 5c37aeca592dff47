"""Which devices make_raid0.py refuses, and the commands it plans for the others."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts import make_raid0
from scripts.make_raid0 import GIB, Device, RaidError

FIRST = Device("/dev/nvme0n1", 1000 * GIB)
SECOND = Device("/dev/nvme1n1", 1000 * GIB)


def test_two_empty_devices_are_accepted() -> None:
    assert make_raid0.problems([FIRST, SECOND]) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"is_block_device": False}, "not a block device"),
        ({"read_only": True}, "read-only"),
        ({"size_bytes": GIB // 2}, "512 MiB is too small"),
        ({"in_use": ("/var",)}, "in use: /var"),
        ({"partitions": ("/dev/nvme1n1p1",)}, "holds partitions: /dev/nvme1n1p1"),
        ({"signature": "TYPE=xfs"}, "carries TYPE=xfs; if nothing on it is needed: wipefs"),
        ({"size_bytes": 500 * GIB}, "500 GiB would not be striped"),
        ({"path": "/dev/nvme0n1"}, "named twice"),
    ],
)
def test_a_device_that_must_not_be_used_is_refused(changes: dict[str, Any], complaint: str) -> None:
    found = make_raid0.problems([FIRST, replace(SECOND, **changes)])
    assert any(complaint in why for why in found), found


def test_one_device_is_no_array() -> None:
    assert "two devices at least" in make_raid0.problems([FIRST])[0]


@pytest.mark.parametrize(("count", "chunk"), [(2, 1024), (3, 1024), (4, 1024), (5, 512), (100, 64)])
def test_one_write_spans_all_devices(count: int, chunk: int) -> None:
    assert make_raid0.chunk_kib(count) == chunk


def test_the_plan_names_every_device_and_whole_pages() -> None:
    made = make_raid0.plan([FIRST, SECOND], "/dev/md0")
    assert made.commands == (
        (
            *("mdadm", "--create", "/dev/md0", "--level=0", "--raid-devices=2", "--chunk=1024K"),
            *("/dev/nvme0n1", "/dev/nvme1n1"),
        ),
    )
    size_mib = int(made.pymc_direct.rpartition(":")[2].removesuffix("m"))
    assert made.pymc_direct.startswith("pymc -m 1024 -o ext_path=/dev/md0:")
    assert size_mib % 64 == 0
    assert size_mib * 2**20 < 2000 * GIB


def test_large_arrays_get_larger_pages() -> None:
    devices = [replace(FIRST, size_bytes=8000 * GIB), replace(SECOND, size_bytes=8000 * GIB)]
    assert "-o ext_page_size=256," in make_raid0.plan(devices, "/dev/md0").pymc_direct


def test_the_report_says_what_to_do_without_mdadm() -> None:
    devices = [FIRST, replace(SECOND, spins=True)]
    made = make_raid0.plan(devices, "/dev/md0")
    text = make_raid0.report(devices, made, mdadm=False, with_xfs=True)
    assert "mdadm is not installed" in text
    assert "mkfs.xfs /dev/md0" in text
    assert "ext_path=/dev/nvme0n1:1024000m,ext_path=/dev/nvme1n1:1024000m" in text
    assert "rotating disks" in text


def _lsblk(**changes: Any) -> str:
    entry = {"path": "/dev/a", "type": "disk", "size": 5, "ro": False, "rota": True}
    entry |= {"fstype": None, "pttype": None, "mountpoints": [None]}
    return json.dumps({"blockdevices": [entry | changes]})


def test_what_lsblk_says_is_understood() -> None:
    empty = make_raid0.parse_lsblk("/dev/a", _lsblk(), "")
    assert empty == Device("/dev/a", 5, spins=True)
    children = [{"path": "/dev/a1", "type": "part"}, {"path": "/dev/md1", "type": "raid1"}]
    full = _lsblk(children=children, mountpoints=["/x"], fstype="ext4")
    device = make_raid0.parse_lsblk("/dev/a", full, "")
    assert device.partitions == ("/dev/a1",)
    assert device.in_use == ("/x", "/dev/md1")
    assert device.signature == "ext4"


def test_an_answer_that_is_not_understood_is_no_permission() -> None:
    for text in ("", "{}", '{"blockdevices": [{}]}'):
        with pytest.raises(RaidError):
            make_raid0.parse_lsblk("/dev/a", text, "")


def test_files_are_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(b"")
    monkeypatch.setattr(make_raid0, "run", lambda commands: pytest.fail("it ran something"))
    monkeypatch.setattr(sys, "argv", ["make_raid0.py", *map(str, paths), "--run"])
    assert make_raid0.main() == 1
    assert "not a block device" in capsys.readouterr().out
