"""A copy of the tree in which changes are tried out: built and tested there, never in the tree.

The copy stays in build/mutate, so that the next run compiles only what has changed since.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from scripts.check_tidy import tracked_files

# A change may leave a variable without use; that shall not keep it from being tried.
_BUILD = (
    "import sys; from csrc import build_core; build_core.WARNINGS[:] = ['-w'];"
    " sys.argv[1:] = []; sys.exit(build_core.main())"
)
_COPIED = ("csrc/", "pymc/", "scripts/", "tests/", "bench/")
# Behind this much more than the tests take without a change, they hang.
_PATIENCE = 3
_PATIENCE_SECONDS = 30
_SPEEDS = ("not slow", "slow")
_NO_TESTS = 5


class Verdict(Enum):
    """What the tests said of a change."""

    KILLED = "killed"
    TIMED_OUT = "killed by time"
    SURVIVED = "survived"
    INVALID = "does not build"


@dataclass(slots=True)
class Outcome:
    """A verdict, which tests came to it, and how long they took."""

    verdict: Verdict
    told: str
    seconds: float


class TreeError(Exception):
    """The copy does not build, or its tests fail without any change."""


class Tree:
    """The copy, and the tests of one room in it."""

    def __init__(self, root: Path, folder: Path, tests: tuple[str, ...], *, is_c: bool) -> None:
        self.folder = folder
        self._root, self._tests, self._is_c = root, tests, is_c
        # How long the tests of each speed may take; where there are none, nothing is run.
        self._limits: list[float] = []

    def copy(self) -> None:
        """Makes the copy equal to the tree; what is equal already keeps its time."""
        wanted = {path for path in tracked_files(self._root) if self._is_wanted(path)}
        for path in wanted:
            source, target = self._root / path, self.folder / path
            if not target.is_file() or target.read_bytes() != source.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                shutil.copymode(source, target)
        for left in [file for name in _COPIED for file in (self.folder / name).rglob("*")]:
            is_made = left.suffix == ".so" or "__pycache__" in left.parts
            if left.is_file() and not is_made and str(left.relative_to(self.folder)) not in wanted:
                left.unlink()
        # Tests and the build look for the interpreter's environment beside the tree.
        environment = self.folder / ".venv"
        if not environment.is_symlink():
            environment.symlink_to(self._root / ".venv")

    @staticmethod
    def _is_wanted(path: str) -> bool:
        return path.startswith(_COPIED) or "/" not in path

    def build(self) -> str:
        """Builds the copy's debug core; what went wrong, or "" when nothing did."""
        done = subprocess.run(
            [sys.executable, "-c", _BUILD],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if done.returncode == 0 else done.stderr.strip() or "the build failed"

    def prepare(self) -> float:
        """Builds and tests the copy as it is; the seconds that its tests take. Raises TreeError."""
        self.copy()
        if failure := self.build():
            raise TreeError(f"without any change the copy does not build:\n{failure}")
        known = self._read_baseline()
        if not known:
            outcomes = [self._run(speed, float("inf")) for speed in _SPEEDS]
            for outcome in outcomes:
                if outcome.verdict is not Verdict.SURVIVED:
                    raise TreeError(f"without any change its tests fail: {outcome.told}")
            known = [outcome.seconds for outcome in outcomes]
            self._baseline().write_text(" ".join(f"{seconds:.1f}" for seconds in known))
        self._limits = [seconds and seconds * _PATIENCE + _PATIENCE_SECONDS for seconds in known]
        return sum(known)

    def try_out(self) -> Outcome:
        """Builds and tests the copy with a change in it. Requires: prepare() was called."""
        assert self._limits
        if self._is_c and (failure := self.build()):
            return Outcome(Verdict.INVALID, failure.splitlines()[0], 0)
        told, seconds = [], 0.0
        for speed, limit in zip(_SPEEDS, self._limits, strict=False):
            if not limit:
                continue
            outcome = self._run(speed, limit)
            seconds += outcome.seconds
            told.append(outcome.told)
            if outcome.verdict is not Verdict.SURVIVED:
                return Outcome(outcome.verdict, outcome.told, seconds)
        return Outcome(Verdict.SURVIVED, " and ".join(told), seconds)

    def _run(self, speed: str, limit_seconds: float) -> Outcome:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        started = time.monotonic()
        log = self.folder.parent / "tests.log"
        with log.open("wb") as out:
            child = subprocess.Popen(
                [*command, "-m", speed, *self._tests],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = child.wait(None if limit_seconds == float("inf") else limit_seconds)
            except subprocess.TimeoutExpired:
                return Outcome(
                    Verdict.TIMED_OUT, f"no end after {limit_seconds:.0f} s", limit_seconds
                )
            finally:
                self._end(child)
        seconds = time.monotonic() - started
        said = log.read_text(errors="replace")
        if code == _NO_TESTS:
            return Outcome(Verdict.SURVIVED, f"0 {speed}", 0)
        if code == 0:
            passed = re.search(r"(\d+) passed", said)
            return Outcome(Verdict.SURVIVED, f"{passed[1] if passed else 0} {speed}", seconds)
        return Outcome(Verdict.KILLED, _killer(said, code), seconds)

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        """Ends the tests' process and those that it has begun: they are a group of their own."""
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()

    def _environment(self) -> dict[str, str]:
        # Bytecode is known by its source's time in seconds: a change within one would be missed.
        return {**os.environ, "PYMC_BUILD": "debug", "PYTHONDONTWRITEBYTECODE": "1"}

    def _baseline(self) -> Path:
        """Where the times of the tests of this very tree are kept."""
        digest = hashlib.sha256("\n".join(self._tests).encode())
        for path in sorted(tracked_files(self._root)):
            if self._is_wanted(path):
                digest.update(path.encode() + (self._root / path).read_bytes())
        return self.folder.parent / f"baseline-{digest.hexdigest()[:16]}"

    def _read_baseline(self) -> list[float]:
        path = self._baseline()
        return [float(word) for word in path.read_text().split()] if path.is_file() else []


def _killer(said: str, code: int) -> str:
    """Which test failed; or how the tests' process ended, which is what a false check leads to."""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.M)
    if failed:
        return failed[1]
    checked = re.search(r"^.*check failed.*$", said, re.M | re.I)
    return checked[0].strip() if checked else f"the tests ended with {code}"
