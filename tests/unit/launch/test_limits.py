"""Reading the limits of the machine, of cgroups and of the process."""

import os
import resource
from collections.abc import Mapping

import pytest

from pymc.launch.limits import cgroup_bytes, oom_kills, read_limits

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "32 23 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)
# What a container sees: only its own group, at the mount's root.
V1_CONTAINER = "32 23 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
UNLIMITED_V1 = "9223372036854771712\n"


def limit_of(groups: str, mounts: str, files: Mapping[str, str]) -> int | None:
    all_files = {"/proc/self/cgroup": groups, "/proc/self/mountinfo": mounts, **files}
    return cgroup_bytes(all_files.get)


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "limit"),
    [
        (
            "0::/system.slice/pymc.service\n",
            V2_MOUNT,
            {"/sys/fs/cgroup/system.slice/pymc.service/memory.max": "1000000\n"},
            1_000_000,
        ),
        # The lowest on the way up counts, `max` does not.
        (
            "0::/a/b\n",
            V2_MOUNT,
            {
                "/sys/fs/cgroup/a/b/memory.max": "max\n",
                "/sys/fs/cgroup/a/memory.max": "5000\n",
                "/sys/fs/cgroup/memory.max": "7000\n",
            },
            5000,
        ),
        ("0::/\n", V2_MOUNT, {"/sys/fs/cgroup/memory.max": "4096\n"}, 4096),
        (
            "5:cpu:/x\n4:memory:/y\n0::/\n",
            V1_MOUNTS,
            {
                "/sys/fs/cgroup/memory/y/memory.limit_in_bytes": "300\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED_V1,
                # The CPU controller's folder has no limits of memory.
                "/sys/fs/cgroup/cpu/x/memory.limit_in_bytes": "1\n",
            },
            300,
        ),
        (
            "4:memory:/docker/abc/inner\n",
            V1_CONTAINER,
            {
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
                "/sys/fs/cgroup/memory/inner/memory.limit_in_bytes": "1000\n",
            },
            1000,
        ),
        # The path of a group outside what is mounted: what is mounted counts all the same.
        (
            "4:memory:/elsewhere\n",
            V1_CONTAINER,
            {"/sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n"},
            2000,
        ),
        (
            "4:memory:/y\n",
            V1_MOUNTS,
            {"/sys/fs/cgroup/memory/y/memory.limit_in_bytes": UNLIMITED_V1},
            None,
        ),
        ("", "", {}, None),
    ],
)
def test_the_lowest_limit_of_a_cgroup(
    groups: str, mounts: str, files: Mapping[str, str], limit: int | None
) -> None:
    assert limit_of(groups, mounts, files) == limit


V2_EVENTS = "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n"
V1_EVENTS = "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"
MACHINE_EVENTS = "pgfault 12\noom_kill 9\ndrop_pagecache 0\n"


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "kills"),
    [
        ("0::/a\n", V2_MOUNT, {"/sys/fs/cgroup/a/memory.events": V2_EVENTS}, 2),
        ("4:memory:/y\n", V1_MOUNTS, {"/sys/fs/cgroup/memory/y/memory.oom_control": V1_EVENTS}, 4),
        # The root has no such file in v2: the next above that counts is taken, then the machine.
        ("0::/\n", V2_MOUNT, {"/proc/vmstat": MACHINE_EVENTS}, 9),
        (
            "0::/a/b\n",
            V2_MOUNT,
            {"/sys/fs/cgroup/a/memory.events": V2_EVENTS, "/proc/vmstat": MACHINE_EVENTS},
            2,
        ),
        # Kernels before 4.13 count none.
        ("4:memory:/y\n", V1_MOUNTS, {"/sys/fs/cgroup/memory/y/memory.oom_control": ""}, None),
        ("", "", {}, None),
    ],
)
def test_kills_for_want_of_memory(
    groups: str, mounts: str, files: Mapping[str, str], kills: int | None
) -> None:
    all_files = {"/proc/self/cgroup": groups, "/proc/self/mountinfo": mounts, **files}
    assert oom_kills(all_files.get) == kills


def test_without_proc_there_is_no_limit() -> None:
    assert cgroup_bytes(lambda path: None) is None


def test_no_limit_on_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: unlimited)
    limits = read_limits(1)
    assert limits.address_space_bytes is None
    assert limits.machine_bytes == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_address_space_is_left_for_the_processes_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = 1 << 50
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    one, five = (read_limits(threads).address_space_bytes for threads in (1, 5))
    assert one is not None and five is not None
    # At least the interpreter is mapped, and heaps and buffers come.
    assert one < limit - (200 << 20)
    assert 4 * (128 << 20) < one - five < 4 * (200 << 20)
