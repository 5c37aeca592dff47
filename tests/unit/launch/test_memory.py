"""The plan of the shared memory: every part of it fits the limits it meets."""

import os
import re
from pathlib import Path

import pytest

from pymc import cli
from pymc.config import EXIT_OS_ERROR, EXIT_USAGE, Settings, StartupError
from pymc.core.arena import Arena
from pymc.core.flash import Flash
from pymc.core.ledger import HUGE_PAGE_BYTES
from pymc.launch import memory as memory_module
from pymc.launch.memory import (
    create_arena,
    no_room,
    open_flash,
    plan_memory,
    settle_memory,
)
from pymc.policy.reservation import MEGABYTE, MemoryLimits
from pymc.record import replace
from tests.support.memory_file import COVERED

GIGABYTE = 1024 * MEGABYTE
MACHINE = MemoryLimits(24 * GIGABYTE)
# An index at start that is a sixteenth of the memory: what one bucket takes is 64 bytes.
BUCKET_BYTES = 64


def clock() -> float:
    return 0.0


def settings_of(*args: str) -> Settings:
    return cli.parse(["-u", "root", *args], "pymc", {})


def test_without_limits_memory_may_rise_to_the_machines() -> None:
    plan = plan_memory(settings_of("-m", "64"), MACHINE)
    assert plan.geometry.limit_bytes == 64 * MEGABYTE
    assert plan.geometry.limit_bytes_max == 24 * GIGABYTE
    assert plan.notes == ()


@pytest.mark.parametrize("flash", [False, True])
def test_the_reservation_fits_the_address_space(tmp_path: Path, flash: bool) -> None:
    args = ["-o", f"ext_path={tmp_path}/f:50G"] if flash else []
    settings = settings_of("-m", "64", *args)
    least = plan_memory(settings, MemoryLimits(64 * MEGABYTE)).reserve_bytes
    most = plan_memory(settings, MACHINE).reserve_bytes
    for room in (least + 8 * MEGABYTE, 2 * least, 5 * least, most):
        plan = plan_memory(settings, replace(MACHINE, address_space_bytes=room))
        # The mapping is made in a room that is larger by the alignment.
        assert plan.reserve_bytes + HUGE_PAGE_BYTES <= room
        # And it is used, not only kept to.
        assert plan.reserve_bytes > room * 0.9 - 8 * MEGABYTE
        assert (plan.flash is not None) == flash


def test_the_flash_index_rises_as_far_as_the_limit(tmp_path: Path) -> None:
    settings = settings_of("-m", "64", "-o", f"ext_path={tmp_path}/f:50G")
    narrow = plan_memory(settings, replace(MACHINE, address_space_bytes=2 * GIGABYTE))
    wide = plan_memory(settings, MACHINE)
    assert narrow.flash and wide.flash
    assert narrow.flash.index_bytes_max == narrow.geometry.limit_bytes_max * 4 // 5
    assert narrow.flash.index_bytes_max < wide.flash.index_bytes_max


@pytest.mark.parametrize(
    ("options", "hint"),
    [("", 512), ("ext_item_size=64,", 64), ("ext_item_size=1,", 64), ("ext_item_size=2000,", 2000)],
)
def test_the_flash_index_begins_small_until_items_are_said_to_be(
    tmp_path: Path, options: str, hint: int
) -> None:
    settings = settings_of("-m", "1024", "-o", f"{options}ext_path={tmp_path}/f:1G")
    plan = plan_memory(settings, MACHINE)
    assert plan.flash and plan.flash.item_bytes_hint == hint


def test_a_limit_below_what_is_asked_for_ends_the_start() -> None:
    with pytest.raises(StartupError) as caught:
        plan_memory(settings_of("-m", "64"), replace(MACHINE, address_space_bytes=MEGABYTE))
    assert caught.value.exit_code == EXIT_OS_ERROR
    said = "failed to allocate memory: the limit on address space (ulimit -v) is too low: -m 64"
    assert caught.value.message.startswith(said)
    assert "\n" not in caught.value.message


def test_more_than_the_cgroup_allows_is_said_and_done() -> None:
    limits = replace(MACHINE, cgroup_bytes=100 * MEGABYTE)
    plan = plan_memory(settings_of("-m", "200"), limits)
    assert plan.geometry.limit_bytes_max == 200 * MEGABYTE
    assert len(plan.notes) == 1
    assert plan.notes[0].startswith("warning: -m 200 takes up to ")
    assert "the memory cgroup allows 100: raise the container's memory to " in plan.notes[0]


def test_what_stands_beside_the_limit_has_to_fit_too() -> None:
    limits = replace(MACHINE, cgroup_bytes=210 * MEGABYTE)
    (note,) = plan_memory(settings_of("-m", "200"), limits).notes
    assert "the memory cgroup allows 210" in note
    limits = replace(MACHINE, cgroup_bytes=300 * MEGABYTE)
    assert plan_memory(settings_of("-m", "200"), limits).notes == ()


@pytest.mark.parametrize(
    ("limits", "args", "megabytes", "whose"),
    [
        (replace(MACHINE, cgroup_bytes=512 * MEGABYTE), (), 466, "512 megabytes that its memory"),
        (replace(MACHINE, cgroup_bytes=512 * MEGABYTE), ("-t", "1"), 479, "512 megabytes that its"),
        (replace(MACHINE, machine_bytes=1024 * MEGABYTE), (), 719, "768 megabytes that this"),
    ],
)
def test_auto_takes_what_fits(
    monkeypatch: pytest.MonkeyPatch,
    limits: MemoryLimits,
    args: tuple[str, ...],
    megabytes: int,
    whose: str,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(memory_module, "say", said.append)
    settings = settle_memory(settings_of("-m", "auto", *args), limits)
    assert settings.memory_limit_bytes == megabytes * MEGABYTE
    (line,) = said
    assert line.startswith(f"-m auto: {megabytes} of the {whose}")
    assert plan_memory(settings, limits).notes == ()


def test_auto_says_when_nothing_fits() -> None:
    limits = replace(MACHINE, cgroup_bytes=40 * MEGABYTE)
    with pytest.raises(StartupError) as caught:
        settle_memory(settings_of("-m", "auto"), limits)
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.message.startswith("-m auto: its memory cgroup leaves 40 megabytes")


def test_a_number_stays_as_it_is() -> None:
    settings = settings_of("-m", "200")
    assert settle_memory(settings, replace(MACHINE, cgroup_bytes=MEGABYTE)) is settings


def test_large_pages_are_reserved_for_the_limit_only() -> None:
    plan = plan_memory(settings_of("-m", "64", "-L"), MACHINE)
    assert plan.geometry.limit_bytes_max == 64 * MEGABYTE


@pytest.mark.parametrize(
    ("args", "buckets", "note"),
    [
        (["-m", "64"], 1 << 13, ""),
        # Nobody asked for the default, so nothing is said when it is too much.
        (["-m", "2"], 1 << 12, ""),
        (["-m", "64", "-o", "hashpower=20"], 1 << 17, ""),
        (["-m", "64", "-o", "hashpower=24"], 1 << 17, "begins with hashpower=20 "),
        (["-m", "1024", "-o", "hashpower=24"], 1 << 21, ""),
    ],
)
def test_the_index_begins_with_an_eighth_at_most(args: list[str], buckets: int, note: str) -> None:
    settings = settings_of(*args)
    plan = plan_memory(settings, MACHINE)
    assert plan.geometry.bucket_start == buckets
    assert buckets * BUCKET_BYTES <= settings.memory_limit_bytes // 8
    assert len(plan.notes) == (1 if note else 0)
    assert note in "".join(plan.notes)


def test_notes_are_said_at_start(capfd: pytest.CaptureFixture[str]) -> None:
    arena, plan = create_arena(settings_of("-m", "64", "-o", "hashpower=24"))
    arena.close()
    assert capfd.readouterr().err == "".join(f"{note}\n" for note in plan.notes)
    assert plan.notes


@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize("workers", [1, 4, 16])
@pytest.mark.parametrize("connections", [100, 20_000])
def test_what_stands_beside_the_limit(
    tmp_path: Path, workers: int, connections: int, flash: bool
) -> None:
    args = ["-m", "64", "-t", str(workers), "-c", str(connections)]
    args += ["-o", f"ext_path={tmp_path}/f:1g"] if flash else []
    settings = settings_of(*args)
    arena, plan = create_arena(settings)
    with arena:
        tier = open_flash(settings, arena, plan)
        rooms = arena.ledger.measure(clock).rooms
        beside = [room for room in rooms if room.label not in COVERED | {"flash_buffers"}]
        buffers = [room for room in rooms if room.label == "flash_buffers"]
        if tier:
            tier.close()
    # Two for the path, and one for each stream; none is touched before something is written.
    assert [room.reserved_bytes for room in buffers] == ([8 * 4 * MEGABYTE] if flash else [])
    assert sum(room.touched_bytes for room in buffers) == 0
    reserved = sum(room.reserved_bytes for room in beside)
    claims = max(32 * 1024, 16 * connections) + max(4096, 4 * (connections + 64))
    stated = (92 * 1024 + claims) * plan.slots + 40 * (plan.geometry.limit_bytes_max >> 20)
    stated += (64 * 1024 + 128) * plan.slots + 160 * 1024
    stated += (52 + 128) * connections + (48 * 16 if flash else 0) + 1_258_291 + 128 * 1024
    assert reserved <= stated
    # A figure that is far too high would hide what comes to it.
    assert reserved > stated * 0.9
    assert sum(room.touched_bytes for room in beside) < 96 * 1024


def test_each_server_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knew the seed of the hash could choose keys of one bucket."""
    seeds: list[int] = []
    create = Arena.create

    def watched(*sizes: int, hash_seed: int, huge_pages: bool) -> Arena:
        seeds.append(hash_seed)
        return create(*sizes, hash_seed=hash_seed, huge_pages=huge_pages)

    monkeypatch.setattr(Arena, "create", watched)
    for _ in range(3):
        arena, _ = create_arena(settings_of("-m", "64"))
        arena.close()
    assert len(set(seeds)) == 3
    assert all(seed.bit_length() > 32 for seed in seeds)


def opened(tmp_path: Path, size: str) -> Flash:
    settings = settings_of("-o", f"ext_path={tmp_path}/f:{size}")
    arena, plan = create_arena(settings)
    with arena:
        tier = open_flash(settings, arena, plan)
        assert tier is not None
        tier.close()
    return tier


def test_a_file_that_has_no_room_is_refused(tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    wanted_mb = (2 * room.f_bfree * room.f_frsize >> 20) // 64 * 64 + 64
    with pytest.raises(StartupError) as refused:
        opened(tmp_path, f"{wanted_mb}m")
    assert refused.value.exit_code == 1
    assert re.fullmatch(
        rf"Failed to initialize external storage: failed to open file: {tmp_path}/f:"
        rf" no room for it: {wanted_mb} MiB wanted, \d+ MiB free on its file system\n",
        refused.value.error_text,
    )


def test_a_device_that_is_too_small_is_told_so() -> None:
    assert no_room("/dev/null", 5 << 20) == "no room for it: 5 MiB wanted, the device is smaller"


def test_a_file_system_that_sets_nothing_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    opened(tmp_path, "64m")
    assert "warning" not in capfd.readouterr().err
    geometry = memory_module.flash_geometry_of
    monkeypatch.setattr(
        memory_module, "flash_geometry_of", lambda *args: replace(geometry(*args), is_sparse=True)
    )
    opened(tmp_path, "100m")
    said = f"warning: {tmp_path}/f: its file system cannot set space aside; make sure that 64 MiB"
    assert f"{said} stay free there\n" in capfd.readouterr().err
