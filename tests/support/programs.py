"""Finds the servers that tests start: pymc itself and the memcached releases of this machine."""

import functools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True, slots=True)
class Program:
    """A server program: its name in test ids and transcript tags, and its start command."""

    name: str
    path: str

    @property
    def is_pymc(self) -> bool:
        return self.name == "pymc"

    @property
    def release(self) -> str:
        """The release that transcripts name: "1.6.38", or "pymc"."""
        return self.name.removeprefix("memcached-")


def pymc_program() -> Program:
    """The pymc of the environment that runs the tests; PYMC_BIN names another one."""
    beside = Path(sys.executable).parent / "pymc"
    path = beside if beside.exists() else ROOT / ".venv" / "bin" / "pymc"
    return Program("pymc", os.environ.get("PYMC_BIN", str(path)))


@functools.cache
def oracle_programs() -> tuple[Program, ...]:
    """Each memcached release found here, the newest first.

    Looks at PYMC_ORACLE (paths with `:` between), else at the start scripts under .peers/ and
    var/peers/; and at /usr/bin/memcached. Empty when this machine has none.
    """
    named = [path for path in os.environ.get("PYMC_ORACLE", "").split(":") if path]
    peers = [ROOT / ".peers", ROOT / "var" / "peers"]
    scripts = [str(found) for peer in peers for found in sorted(peer.glob("*/memcached"))]
    found: dict[str, Program] = {}
    for path in [*(named or scripts), "/usr/bin/memcached"]:
        release = _release_of(path)
        if release and release not in found:
            found[release] = Program(f"memcached-{release}", path)
    order = sorted(found, key=_release_key, reverse=True)
    return tuple(found[release] for release in order)


def newest_oracle() -> Program | None:
    """The strictest oracle, or None."""
    return next(iter(oracle_programs()), None)


def faketime_library() -> str | None:
    """The library that lets a test move the clock of a memcached, or None."""
    path = os.environ.get("PYMC_FAKETIME", _FAKETIME)
    return path if os.path.exists(path) else None


def _release_key(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _release_of(path: str) -> str:
    if not os.access(path, os.X_OK):
        return ""
    shown = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=20, check=False)
    # Not a pymc that goes by the name.
    match = re.fullmatch(r"memcached (\d+\.\d+\.\d+)\s*", shown.stdout)
    return match.group(1) if match else ""
