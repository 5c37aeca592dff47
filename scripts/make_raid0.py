#!/usr/bin/env python3
"""Assembles block devices into an md RAID0 array for the flash tier, or says what to do instead.

    scripts/make_raid0.py /dev/nvme0n1 /dev/nvme1n1            checks, and prints the commands
    scripts/make_raid0.py /dev/nvme0n1 /dev/nvme1n1 --run      runs them (root, mdadm)

Refused is any device that is mounted or in use, holds partitions, or carries the signature of a
file system, an array or a swap area: to give such a device up is for a human, with wipefs.
A device that cannot be judged is refused too. Without an array pymc stripes over several paths by
itself, which is printed as well.

Exit codes: 0 planned or done, 1 refused (the reasons are printed), 2 usage, 3 a command failed.
"""

import argparse
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KIB = 2**10
MIB = 2**20
GIB = 2**30
WRITE_BUFFER_BYTES = 4 * MIB  # ext_wbuf_size: what pymc writes at once
CHUNK_KIB_MIN, CHUNK_KIB_MAX = 64, 1024
DEVICE_BYTES_MIN = GIB
PAGE_BYTES_MIN = 64 * MIB  # ext_page_size
PAGES_MAX = 65535
# Stripes over unequal devices end where the smallest is full.
UNEQUAL_SHARE_MAX = 0.05
MOUNT_POINT = "/mnt/pymc"
# What a file system and its log take.
FILE_SHARE = 0.95


class RaidError(Exception):
    """Devices cannot be looked at, or a command failed; the message says why."""


@dataclass(frozen=True, slots=True)
class Device:
    """A block device as the system knows it."""

    path: str
    size_bytes: int
    is_block_device: bool = True
    read_only: bool = False
    spins: bool = False
    in_use: tuple[str, ...] = ()  # mount points, and what is built upon it
    partitions: tuple[str, ...] = ()
    signature: str = ""  # file system, partition table or array member


@dataclass(frozen=True, slots=True)
class Plan:
    """Commands that make the array, in order, and the ways to start pymc upon it."""

    commands: tuple[tuple[str, ...], ...]
    mount_commands: tuple[tuple[str, ...], ...]
    pymc_direct: str
    pymc_file: str


def problems(devices: Sequence[Device]) -> list[str]:
    """Why these devices must not be made into an array; empty when they may."""
    found = []
    if len(devices) < 2:
        found.append("RAID0 wants two devices at least; give one to pymc as it is")
    paths = [os.path.realpath(device.path) for device in devices]
    if len(set(paths)) < len(paths):
        found.append("a device is named twice")
    for device in devices:
        found += [f"{device.path}: {why}" for why in _device_problems(device)]
    sizes = [device.size_bytes for device in devices if device.is_block_device]
    if sizes and min(sizes) < max(sizes) * (1 - UNEQUAL_SHARE_MAX):
        wasted = sum(sizes) - min(sizes) * len(sizes)
        found.append(
            f"sizes differ: {wasted // GIB} GiB would not be striped; make partitions of equal size"
        )
    return found


def _device_problems(device: Device) -> list[str]:
    if not device.is_block_device:
        return ["not a block device"]
    found = []
    if device.read_only:
        found.append("read-only")
    if device.size_bytes < DEVICE_BYTES_MIN:
        found.append(f"{device.size_bytes // MIB} MiB is too small")
    if device.in_use:
        found.append(f"in use: {', '.join(device.in_use)}; unmount or stop that first")
    if device.partitions:
        found.append(f"holds partitions: {', '.join(device.partitions)}; name those instead")
    if device.signature:
        found.append(
            f"carries {device.signature}; if nothing on it is needed: wipefs --all {device.path}"
        )
    return found


def cautions(devices: Sequence[Device]) -> list[str]:
    """What to know although nothing forbids it."""
    spinning = [device.path for device in devices if device.spins]
    return [f"rotating disks answer slowly: {', '.join(spinning)}"] if spinning else []


def chunk_kib(count: int) -> int:
    """The array's chunk: one write of pymc spans all devices, one read touches a single one."""
    wanted = WRITE_BUFFER_BYTES // KIB // max(1, count)
    chunk = CHUNK_KIB_MIN
    while chunk * 2 <= min(wanted, CHUNK_KIB_MAX):
        chunk *= 2
    return chunk


def _pymc(*paths: tuple[str, int]) -> str:
    """The command line for these paths, whole pages each, pages so large that they suffice."""
    total = sum(size for _path, size in paths)
    page_bytes = PAGE_BYTES_MIN
    while total // page_bytes > PAGES_MAX:
        page_bytes *= 2
    options = [f"ext_page_size={page_bytes // MIB}"] if page_bytes != PAGE_BYTES_MIN else []
    for path, size in paths:
        options.append(f"ext_path={path}:{size // page_bytes * page_bytes // MIB}m")
    return f"pymc -m 1024 -o {','.join(options)}"


def plan(devices: Sequence[Device], array: str) -> Plan:
    """The commands for devices that problems() has nothing against."""
    count = len(devices)
    size_bytes = min(device.size_bytes for device in devices) * count
    make = (
        *("mdadm", "--create", array, "--level=0", f"--raid-devices={count}"),
        *(f"--chunk={chunk_kib(count)}K", *(device.path for device in devices)),
    )
    mount = (
        ("mkfs.xfs", array),
        ("mkdir", "-p", MOUNT_POINT),
        ("mount", "-o", "noatime", array, MOUNT_POINT),
    )
    # md keeps its own notes on each device.
    usable = size_bytes - count * 256 * MIB
    return Plan(
        commands=(make,),
        mount_commands=mount,
        pymc_direct=_pymc((array, usable)),
        pymc_file=_pymc((f"{MOUNT_POINT}/pymc.flash", int(usable * FILE_SHARE))),
    )


def without_array(devices: Sequence[Device]) -> str:
    """pymc over the devices themselves: it stripes over its paths, page by page."""
    return _pymc(*((device.path, device.size_bytes) for device in devices))


def report(devices: Sequence[Device], made: Plan, mdadm: bool, with_xfs: bool) -> str:
    """The plan for people."""
    lines = [f"careful: {text}" for text in cautions(devices)]
    commands = made.commands + (made.mount_commands if with_xfs else ())
    lines.append("as root:")
    if not mdadm:
        lines.append("  # mdadm is not installed here: its package has the same name")
    lines += [f"  {shlex.join(command)}" for command in commands]
    lines.append("then, on the array:")
    lines.append(f"  {made.pymc_file if with_xfs else made.pymc_direct}")
    lines.append("or without an array, which pymc stripes by itself:")
    lines.append(f"  {without_array(devices)}")
    if with_xfs:
        lines.append("To have it after a reboot: mdadm --detail --scan, and a line in /etc/fstab.")
    return "\n".join(lines)


def parse_lsblk(path: str, text: str, signature: str) -> Device:
    """A device from the output of lsblk --json for it alone. Raises RaidError."""
    try:
        entry: dict[str, Any] = json.loads(text)["blockdevices"][0]
        children: list[dict[str, Any]] = entry.get("children") or []
        mounted = [point for point in entry.get("mountpoints") or [] if point]
        partitions = [str(child["path"]) for child in children if child["type"] == "part"]
        built = [str(child["path"]) for child in children if child["type"] != "part"]
        return Device(
            path,
            int(entry["size"]),
            read_only=bool(entry["ro"]),
            spins=bool(entry["rota"]),
            in_use=tuple(mounted + built),
            partitions=tuple(partitions),
            signature=signature or str(entry.get("fstype") or entry.get("pttype") or ""),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RaidError(f"lsblk says of {path} what is not understood: {error!r}") from None


def _output(command: Sequence[str], codes: Sequence[int]) -> str:
    """What a command prints; raises RaidError when it is missing or ends with another code."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RaidError(f"{command[0]}: {error}") from None
    if done.returncode not in codes:
        raise RaidError(f"{shlex.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def inspect(path: str) -> Device:
    """Looks at one device without changing it. Raises RaidError when that cannot be done."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise RaidError(f"{path}: {error.strerror}") from None
    if not stat.S_ISBLK(mode):
        return Device(path, 0, is_block_device=False)
    # Opening excludes nobody else; it fails where the device cannot be read, and then blkid, which
    # ends with the same code for "nothing found" and "cannot look", must not be believed.
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise RaidError(f"{path}: {error.strerror}") from None
    columns = "PATH,TYPE,SIZE,FSTYPE,PTTYPE,MOUNTPOINTS,RO,ROTA"
    listed = _output(["lsblk", "--json", "--bytes", "--output", columns, path], (0,))
    # 2: nothing found. Any other failure, as 8 for contradicting signatures, is no permission.
    found = _output(["blkid", "-p", "-o", "export", path], (0, 2))
    signature = " ".join(line for line in found.splitlines() if not line.startswith("DEVNAME="))
    swaps = Path("/proc/swaps").read_text().split()
    device = parse_lsblk(path, listed, signature)
    if os.path.realpath(path) in swaps:
        return Device(path, device.size_bytes, in_use=("swap",))
    return device


def run(commands: Sequence[Sequence[str]]) -> None:
    """Runs them in order, ends at the first that fails. Raises RaidError."""
    for command in commands:
        print(f"+ {shlex.join(command)}", flush=True)
        done = subprocess.run(command)
        if done.returncode != 0:
            raise RaidError(f"{command[0]} ended with {done.returncode}; nothing after it was run")


def _checked(devices: Sequence[Device]) -> None:
    """Raises RaidError when they may not be used, or --run is not possible here."""
    if os.geteuid() != 0:
        raise RaidError("--run is for root")
    for device in devices:
        # The kernel's own word on it: nobody has it mounted or built upon it.
        try:
            os.close(os.open(device.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            raise RaidError(f"{device.path}: {error.strerror}") from None


def main() -> int:
    """Checks the devices named and prints or runs the plan."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("devices", nargs="+", metavar="DEVICE", help="two block devices or more")
    parser.add_argument("--array", default="/dev/md0", metavar="PATH", help="name of the array")
    parser.add_argument("--xfs", action="store_true", help="with a file system on it")
    parser.add_argument("--run", action="store_true", help="run the commands (root)")
    options = parser.parse_args()
    try:
        devices = [inspect(path) for path in options.devices]
        refused = problems(devices)
        if os.path.exists(options.array):
            refused.append(f"{options.array} is there already; choose another with --array")
        if refused:
            print("\n".join(["refused:", *(f"  {why}" for why in refused)]))
            return 1
        made = plan(devices, options.array)
        mdadm = shutil.which("mdadm") is not None
        print(report(devices, made, mdadm, options.xfs))
        if options.run:
            if not mdadm:
                raise RaidError("mdadm is not installed")
            _checked(devices)
            run(made.commands + (made.mount_commands if options.xfs else ()))
    except RaidError as error:
        print(f"make_raid0: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
