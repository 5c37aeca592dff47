"""The slow device: what it counts for each file, whoever writes, and what it leaves alone."""

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.harness import loadgen, slow_device

MEGABYTE = 1_000_000
# So fast that nothing here has to wait.
BANDWIDTH = 1000 * MEGABYTE
# What a process does with each file it is given.
WRITES = """
import os, sys
for name in sys.argv[1:]:
    file = os.open(name, os.O_RDWR)
    assert os.pwrite(file, b"x" * 300_000, 4096) == 300_000
    assert os.pwritev(file, [b"y" * 100_000, b"z" * 100_000], 500_000) == 200_000
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, b"not counted")
    assert os.pread(file, 3, 500_000) == b"yyy"
    assert os.pread(file, 3, 600_000) == b"zzz"
    try:
        os.pwrite(file, b"", -1)
    except OSError:
        pass
"""


class Written(NamedTuple):
    """What one file took, and how long a device of that bandwidth is busy with it."""

    bytes: int
    busy_seconds: float


def written(state: Path) -> list[Written]:
    """What each file that was written took so far, in no order."""
    rows = struct.iter_unpack("=QQQQ", state.read_bytes())
    return [Written(count, busy_ns / 1e9) for key, _, count, busy_ns in rows if key]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    loadgen.build()
    return tmp_path / "state"


def start(env: dict[str, str], files: list[Path]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", WRITES, *map(str, files)]
    return subprocess.Popen(words, env={**os.environ, **env})


def device(folder: Path, name: str, size_bytes: int = 2 * MEGABYTE) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def test_each_file_has_a_bandwidth_whoever_writes(tmp_path: Path, state: Path) -> None:
    env = slow_device.environment(BANDWIDTH, state)
    first, second = device(tmp_path, "a"), device(tmp_path, "b")
    for process in [start(env, [first, second]), start(env, [first])]:
        assert process.wait() == 0
    found = sorted(written(state), key=lambda one: one.bytes)
    assert found == [Written(500_000, 0.0005), Written(1_000_000, 0.001)]


def test_what_is_no_device_is_left_alone(tmp_path: Path, state: Path) -> None:
    env = slow_device.environment(BANDWIDTH, state)
    small = device(tmp_path, "small", 1000)
    with small.open("r+b") as file:
        file.truncate(500_000)
    code = "import os, sys; os.pwrite(os.open(sys.argv[1], os.O_RDWR), b'x' * 1000, 0)"
    words = [sys.executable, "-c", code, str(small)]
    assert subprocess.run(words, env={**os.environ, **env}).returncode == 0
    assert written(state) == []


def test_without_its_variables_it_does_nothing(tmp_path: Path, state: Path) -> None:
    env = slow_device.environment(BANDWIDTH, state)
    assert start({"LD_PRELOAD": env["LD_PRELOAD"]}, [device(tmp_path, "a")]).wait() == 0
    assert written(state) == []
