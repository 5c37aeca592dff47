"""The file of -P: root's folders, the user's folders, and folders where there cannot be one."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pymc import cli
from pymc.launch.pidfile import become_user_for_pidfile
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's own that others may look into; pytest's are closed to them."""
    with tempfile.TemporaryDirectory(prefix="pymc-run-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def give_to_nobody(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)


@contextlib.contextmanager
def daemon_of(server: Server, pidfile: Path) -> Iterator[psutil.Process]:
    """The daemon that a server started with -d and -P became; it ends with the block."""
    assert server.wait_exit() == 0, server.stderr
    wait_until(lambda: server.ports and pidfile.exists(), "the daemon")
    daemon = psutil.Process(int(pidfile.read_text()))
    try:
        yield daemon
    finally:
        daemon.terminate()
        wait_until(lambda: not is_living(daemon), "the daemon is gone")


def is_living(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@as_root
def test_a_daemon_that_is_nobody_has_one_in_root_s_folder(pymc: Program, folder: Path) -> None:
    pidfile = folder / "pid"
    args = ["-d", "-u", "nobody", "-P", str(pidfile), "-t", "1"]
    with (
        Server(pymc, args, wait=False) as server,
        daemon_of(server, pidfile) as daemon,
    ):
        assert server.stats()["pid"] == str(daemon.pid)
        # Not the daemon's: whoever takes it over cannot name other processes to root's scripts.
        assert (pidfile.stat().st_uid, pidfile.stat().st_mode & 0o777) == (0, 0o644)
        wait_until(lambda: len(daemon.children()) == 2, "worker and keeper")
        nobody = pwd.getpwnam("nobody").pw_uid
        for process in (daemon, *daemon.children()):
            assert set(process.uids()) == {nobody}
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert f"CapPrm:\t{0:016x}\n" in status
    assert [path.name for path in folder.iterdir()] == ["pid"]


@as_root
def test_it_goes_from_the_user_s_folder_at_the_end(pymc: Program, folder: Path) -> None:
    give_to_nobody(folder)
    with Server(pymc, ["-u", "nobody", "-P", str(folder / "pid"), "-t", "1"]) as server:
        assert (folder / "pid").read_text() == f"{server.pid}\n"
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait_exit() == 0
    assert list(folder.iterdir()) == []


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_root_that_may_not_write_everywhere(pymc: Program, folder: Path, tmp_path: Path) -> None:
    """As under pymc.service, whose folder for the pid file is the user's."""
    give_to_nobody(folder)
    script = tmp_path / "pymc"
    few = "--bounding-set=-all,+setuid,+setgid"
    script.write_text(f'#!/bin/sh\nexec setpriv {few} "{pymc.path}" "$@"\n')
    script.chmod(0o755)
    args = ["-u", "nobody", "-P", str(folder / "pid"), "-t", "1"]
    with Server(Program("pymc", str(script)), args) as server:
        assert (folder / "pid").read_text() == f"{server.pid}\n"
        assert server.stderr == ""


@pytest.mark.parametrize("where", ["nowhere/pid", "."])
def test_a_daemon_without_one_does_not_start(pymc: Program, folder: Path, where: str) -> None:
    path = os.path.abspath(folder / where)
    with Server(pymc, ["-d", "-P", path, "-t", "1"], wait=False) as server:
        assert server.wait_exit() == 71
        said = f"Could not open the pid file {path}.tmp for writing: "
        assert server.stderr.startswith(said)
        assert server.stderr.count("\n") == 1
        assert not server.ports


def test_in_the_foreground_it_is_said(pymc: Program, folder: Path) -> None:
    path = folder / "nowhere" / "pid"
    with Server(pymc, ["-P", str(path), "-t", "1"]) as server:
        said = f"Could not open the pid file {path}.tmp for writing: No such file or directory\n"
        assert server.stderr == said
        assert server.stats()["pid"] == str(server.pid)


def test_a_start_that_fails_leaves_it_alone(pymc: Program, server: Server, folder: Path) -> None:
    pidfile = folder / "pid"
    pidfile.write_text(f"{server.pid}\n")
    args = ["-l", "127.0.0.1", "-p", str(server.port), "-P", str(pidfile)]
    with Server(pymc, args, wait=False) as second:
        assert second.wait_exit() == 71
    assert pidfile.read_text() == f"{server.pid}\n"
    assert [path.name for path in folder.iterdir()] == ["pid"]


def test_a_link_leads_nowhere(pymc: Program, folder: Path) -> None:
    other = folder / "other"
    other.write_text("precious")
    (folder / "pid.tmp").symlink_to(other)
    (folder / "pid").symlink_to(other)
    with Server(pymc, ["-P", str(folder / "pid"), "-t", "1"]) as server:
        assert (folder / "pid").read_text() == f"{server.pid}\n"
        assert not (folder / "pid").is_symlink()
        assert other.read_text() == "precious"


def test_a_link_made_in_between_leads_nowhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    other = folder / "other"
    other.write_text("precious")
    user = pwd.getpwuid(os.getuid()).pw_name
    settings = cli.parse(["-u", user, "-P", str(folder / "pid")], "pymc", {})
    link = folder / "pid.tmp"
    link.symlink_to(other)

    def unlink_too_early(path: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(os, "unlink", unlink_too_early)
    assert become_user_for_pidfile(settings) is None
    assert other.read_text() == "precious"
    assert f"{link} for writing: File exists" in capfd.readouterr().err


def test_a_daemon_s_relative_path_is_the_caller_s(pymc: Program, folder: Path) -> None:
    port_file = folder / "port"
    user = ["-u", "root"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [pymc.path, *user, "-d", "-P", "pid", "-p", "-1", "-l", "127.0.0.1", "-t", "1"],
        cwd=folder,
        env={**os.environ, "MEMCACHED_PORT_FILENAME": str(port_file)},
        timeout=scaled(60),
        check=False,
    )
    assert done.returncode == 0
    wait_until((folder / "pid").exists, "the pid file")
    daemon = psutil.Process(int((folder / "pid").read_text()))
    daemon.terminate()
    wait_until(lambda: not is_living(daemon), "the daemon is gone")
    assert not (folder / "pid").exists()
