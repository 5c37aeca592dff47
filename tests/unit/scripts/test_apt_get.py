"""scripts/apt_get.sh waits for a package manager that somebody else uses, and only for that."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import ROOT

APT_GET = ROOT / "scripts" / "apt_get.sh"
# What apt and dpkg say of each of their locks.
HELD = {
    "dpkg": "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)",
    "lists": "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)",
    "older": "E: Unable to acquire the dpkg frontend lock (/x), is another process using it?",
    "late": "dpkg: error: dpkg frontend lock was locked by another process with pid 7",
}


class Apt:
    """An apt-get whose lock is held the first so many times it is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "build" / "apt.log"

    def run(self, held: int, said: str, *, waits_seconds: int = 5) -> tuple[int, str]:
        """Exit code and standard error of the script."""
        program = self.folder / "apt-get"
        program.write_text(
            f"""#!/bin/sh
            echo "$@" >>{self.folder}/calls
            [ "$(wc -l <{self.folder}/calls)" -gt {held} ] && {{ echo done; exit 0; }}
            echo "{said}" >&2
            exit 100
            """
        )
        program.chmod(0o755)
        done = subprocess.run(
            [APT_GET, self.log, "install", "-y", "gcc"],
            env={
                **os.environ,
                "PATH": f"{self.folder}:{os.environ['PATH']}",
                "APT_PAUSE_SECONDS": "0",
                "APT_WAIT_SECONDS": str(waits_seconds),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def apt(tmp_path: Path) -> Apt:
    return Apt(tmp_path)


def test_nothing_is_said_where_nobody_is_in_the_way(apt: Apt) -> None:
    assert apt.run(0, "") == (0, "")
    assert apt.calls == ["install -y gcc"]
    assert apt.log.read_text() == "done\n"


@pytest.mark.parametrize("lock", HELD)
def test_it_is_asked_again_until_the_lock_is_free(apt: Apt, lock: str) -> None:
    code, said = apt.run(3, HELD[lock])
    assert code == 0
    assert said.startswith("waiting for the package manager, up to 5 s: ")
    assert said.endswith(f"{HELD[lock].removeprefix('E: ')}\n")
    assert said.count("\n") == 1
    assert apt.calls == ["install -y gcc"] * 4
    assert apt.log.read_text().endswith("done\n")


def test_it_is_not_waited_for_ever(apt: Apt) -> None:
    code, said = apt.run(99, HELD["dpkg"], waits_seconds=0)
    assert code == 100
    assert "gave up waiting for the package manager: Could not get lock" in said
    assert len(apt.calls) == 1


@pytest.mark.parametrize(
    "fault",
    [
        "E: Unable to locate package gcc",
        "E: Unable to acquire the dpkg frontend lock (/x), are you root?",
    ],
)
def test_other_faults_are_not_waited_for(apt: Apt, fault: str) -> None:
    assert apt.run(99, fault) == (100, "")
    assert len(apt.calls) == 1
    assert fault in apt.log.read_text()
