"""Runs compilers for the builds of the core and the launcher, and says what the system lacks."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CSRC = Path(__file__).resolve().parent
ROOT = CSRC.parent
ARM64 = "aarch64-linux-gnu-gcc"
COMPILER_PACKAGES = {"clang": "clang", ARM64: "gcc-aarch64-linux-gnu"}
_NOT_FOUND = re.compile(r"fatal error: '?([\w./]+)'?:? (?:No such file|file not found)")


class BuildError(Exception):
    """The build cannot go on; the message says why and where."""


@dataclass(frozen=True, slots=True)
class Library:
    """A row of csrc/LIBRARIES: a header, the package that has it, and what the linker is told."""

    header: str
    package: str
    flags: tuple[str, ...]


def libraries() -> list[Library]:
    """What the core needs of the system."""
    lines = (line.split("#")[0].split() for line in (CSRC / "LIBRARIES").read_text().splitlines())
    return [Library(row[0], row[1], tuple(row[2:])) for row in lines if row]


def run(command: list[str]) -> None:
    """Runs a compiler or linker; raises BuildError with what it printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    except FileNotFoundError:
        package = COMPILER_PACKAGES.get(command[0], "gcc libc6-dev")
        raise BuildError(f"pymc: no C compiler ({command[0]}): apt install {package}") from None
    if done.returncode != 0:
        raise BuildError(done.stderr.strip() or f"failed: {shlex.join(command)}")
    if done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)


def raise_if_any(failures: list[str]) -> None:
    """Raises one BuildError for several failures; a line is enough where the system lacks things.

    A compiler that is not there fails for every file in the same words.
    """
    failures = list(dict.fromkeys(failures))
    if failures:
        raise BuildError(lack("\n".join(failures)) or "\n\n".join(failures))


def lack(said: str) -> str:
    """One line that says what to install, when the compiler said that headers are not there."""
    packages = {library.header: library.package for library in libraries()}
    packages["Python.h"] = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
    found = [name for name in dict.fromkeys(_NOT_FOUND.findall(said)) if name in packages]
    if not found:
        return ""
    wanted = " ".join(packages[name] for name in found)
    return f"pymc: no {', '.join(found)}: apt install {wanted}"
