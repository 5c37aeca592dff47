"""Replaying traces: what is read from a file, how values are sized, and the order of requests."""

import lzma
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.harness import loadgen, replay, workloads
from bench.harness.selfcheck import Store, TinyServer
from tests.support.deadline import scaled

IDS = [7, 3, 7, 4_000_000_000, 3, 3, 0, 7]
TIMEOUT_SECONDS = scaled(20)


def packed(ids: list[int]) -> bytes:
    """The ids the way a trace file holds them."""
    return struct.pack(f"<{len(ids)}I", *ids)


class Recorder:
    """A cache of `room` keys that forgets the oldest and notes what it is asked for."""

    def __init__(self, room: int, damage: bytes = b"") -> None:
        self.room = room
        self.damage = damage
        self.asked: list[int] = []

    def __call__(self, store: Store, key: bytes) -> tuple[bytes, bytes] | None:
        """The reply to a get."""
        self.asked.append(int(key[1:]))
        while len(store) > self.room:
            del store[next(iter(store))]
        if key not in store:
            return None
        return key, self.damage or store[key]


def run_loadgen(
    recorder: Recorder, file: Path, **more: int | bool
) -> tuple[int, dict[str, Any], str]:
    """Exit code, report and messages of a replay against a small server."""
    loadgen.build()
    server = TinyServer({}, recorder)
    arguments: dict[str, int | float | str | bool] = {"connections": 1, "read-through": True}
    arguments |= {"replay": str(file), **more}
    try:
        done = subprocess.run(
            loadgen.command(server.port, arguments),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    finally:
        server.close()
    return done.returncode, loadgen.parse_report(done.stdout or "{}"), done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A trace as it lies on disk."""
    path = tmp_path / "some.u32"
    path.write_bytes(packed(IDS))
    return path


def test_keys_are_asked_for_once_in_the_order_of_the_file(file: Path) -> None:
    recorder = Recorder(room=100)
    code, report, problem = run_loadgen(recorder, file)
    assert (code, problem) == (0, "")
    assert recorder.asked == IDS
    assert (report["gets"], report["hits"], report["sets"]) == (8, 4, 4)


def test_a_miss_is_set_before_the_next_get(file: Path) -> None:
    # One key fits: only the second of two equal neighbours can be a hit.
    recorder = Recorder(room=1)
    code, report, _ = run_loadgen(recorder, file)
    assert (code, report["hits"], report["sets"]) == (0, 1, 7)


def test_requests_cuts_a_replay_short_and_never_makes_it_longer(file: Path) -> None:
    recorder = Recorder(room=100)
    assert run_loadgen(recorder, file, requests=3)[0] == 0
    assert recorder.asked == IDS[:3]
    recorder.asked.clear()
    assert run_loadgen(recorder, file, requests=100)[0] == 0
    assert recorder.asked == IDS


def test_a_wrong_value_is_found_out(file: Path) -> None:
    code, _, problem = run_loadgen(Recorder(room=100, damage=b"x" * 100), file)
    assert code == 1
    assert "wrong value" in problem


@pytest.mark.parametrize("content", [b"", b"12345"])
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.u32"
    file.write_bytes(content)
    assert run_loadgen(Recorder(room=1), file)[0] == 2
    with pytest.raises(replay.TraceError):
        replay.unpack(file, tmp_path)


def test_load_threads_and_multigets_do_not_go_with_a_trace(file: Path) -> None:
    assert run_loadgen(Recorder(room=1), file, load=True)[0] == 2
    assert run_loadgen(Recorder(room=1), file, multiget=2)[0] == 2
    assert run_loadgen(Recorder(room=1), file, threads=2, connections=2)[0] == 2


def test_packed_and_plain_traces_say_the_same(tmp_path: Path, file: Path) -> None:
    squeezed = tmp_path / "some.u32.xz"
    squeezed.write_bytes(lzma.compress(packed(IDS)))
    folder = tmp_path / "plain"
    folder.mkdir()
    plain, unpacked = replay.unpack(file, folder), replay.unpack(squeezed, folder)
    assert (plain.name, plain.requests, plain.distinct) == ("some", 8, 4)
    assert (unpacked.name, unpacked.requests, unpacked.distinct) == ("some", 8, 4)
    assert plain.path == file
    assert unpacked.path.read_bytes() == file.read_bytes()


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.u32.xz"
    file.write_bytes(b"not xz at all")
    with pytest.raises(replay.TraceError):
        replay.unpack(file, tmp_path)


@pytest.mark.parametrize("share", [5, 10, 30])
def test_memory_holds_the_share_of_the_keys(share: float) -> None:
    size = replay.value_bytes(64, 86_466, share)
    items = 64 * 2**20 / (size + replay.KEY_BYTES + replay.OVERHEAD_BYTES)
    assert items == pytest.approx(86_466 * share / 100, rel=0.01)


def test_values_that_no_server_takes_are_refused() -> None:
    with pytest.raises(replay.TraceError):
        replay.value_bytes(64, 100, 1)
    with pytest.raises(replay.TraceError):
        replay.value_bytes(64, 10_000_000, 50)


def test_one_row_per_file_and_share(tmp_path: Path) -> None:
    row = next(row for row in workloads.read() if row.kind == "replay")
    files = []
    for name in ("a", "b"):
        files.append(tmp_path / f"{name}.u32")
        files[-1].write_bytes(packed(list(range(5000))))
    found = replay.rows(row, files, [10, 30], tmp_path)
    names = [made.name for made in found]
    assert names == ["replay a 10%", "replay a 30%", "replay b 10%", "replay b 30%"]
    assert int(found[0].data["value-bytes"]) > int(found[1].data["value-bytes"])
    assert [made.run["replay"] for made in found[::2]] == [str(file) for file in files]
    assert all(made.run["connections"] == 1 for made in found)
