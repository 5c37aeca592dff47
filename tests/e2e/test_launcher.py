"""The program `pymc` as the system sees it: its file, its names, and what it does not hear of."""

import os
import shutil
import site
import subprocess
from pathlib import Path

import psutil
import pytest

from csrc.build_launcher import WAY_FILE, Way, answers, command, ways
from csrc.toolchain import BuildError
from csrc.toolchain import run as compile_it
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

IS_EMBEDDED = WAY_FILE.is_file() and WAY_FILE.read_text() != "execs"
NOT_EMBEDDED = "this Python cannot be embedded: the program hands over to it"
RUN_SECONDS = scaled(60)


def processes(server: Server) -> list[psutil.Process]:
    return [psutil.Process(server.pid), *server.children()]


def is_living(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def traps(tmp_path: Path) -> dict[str, str]:
    """An environment in which a Python that listens to it finds a wrong pymc, or nothing."""
    wrong = tmp_path / "wrong"
    home = tmp_path / "home"
    version = Path(site.getusersitepackages()).parent.name
    for folder in (wrong, home / ".local/lib" / version / "site-packages"):
        (folder / "pymc").mkdir(parents=True)
        (folder / "pymc" / "__init__.py").write_text("raise SystemExit('the wrong pymc')\n")
        (folder / "usercustomize.py").write_text("raise SystemExit('code of somebody')\n")
    return {"PYTHONPATH": str(wrong), "PYTHONHOME": "/nonexistent", "HOME": str(home)}


@pytest.mark.skipif(not IS_EMBEDDED, reason=NOT_EMBEDDED)
@pytest.mark.parametrize("name", ["pymc", "memcached"])
def test_every_process_is_the_program(pymc: Program, tmp_path: Path, name: str) -> None:
    link = tmp_path / name
    link.symlink_to(pymc.path)
    options = ["-t", "2", "-m", "77"]
    with Server(Program("pymc", str(link)), options) as server:
        found = processes(server)
        assert {process.exe() for process in found} == {os.path.realpath(pymc.path)}
        assert found[0].name() == name
        assert {child.name() for child in found[1:]} == {
            *("pymc: worker 0", "pymc: worker 1", "pymc: keeper")
        }
        # Each word for itself, as the server was called.
        words = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")
        assert words[0] == os.fsencode(link)
        assert words[-5:] == [*(word.encode() for word in options), b""]


def test_memcached_lies_beside_pymc(pymc: Program) -> None:
    beside = Path(pymc.path).with_name("memcached")
    assert os.path.samefile(beside, pymc.path)
    shown = subprocess.run([beside, "-V"], capture_output=True, text=True, timeout=RUN_SECONDS)
    assert shown.stdout.startswith("memcached 1.6.")


@pytest.mark.skipif(not IS_EMBEDDED, reason=NOT_EMBEDDED)
@pytest.mark.skipif(
    shutil.which("start-stop-daemon") is None, reason="start-stop-daemon is not installed"
)
def test_an_init_script_stops_it(pymc: Program, tmp_path: Path) -> None:
    link = tmp_path / "memcached"
    link.symlink_to(pymc.path)
    pidfile = tmp_path / "pid"
    with Server(
        Program("pymc", str(link)), ["-d", "-P", str(pidfile), "-t", "2"], wait=False
    ) as server:
        assert server.wait_exit() == 0
        wait_until(lambda: server.ports and pidfile.exists(), "the daemon")
        daemon = psutil.Process(int(pidfile.read_text()))
        wait_until(lambda: len(daemon.children()) == 3, "workers and keeper")
        everybody = [daemon, *daemon.children()]
        done = subprocess.run(
            ["start-stop-daemon", "--stop", "--quiet", "--retry", "5"]
            + ["--pidfile", str(pidfile), "--exec", str(link)],
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0
        # The pid file, which the tool looks at, goes a moment before the process has ended.
        wait_until(lambda: not any(is_living(process) for process in everybody), "their ends")


def test_python_s_variables_mean_nothing(pymc: Program, traps: dict[str, str]) -> None:
    with Server(pymc, ["-t", "1"], env=traps) as server, server.connect() as client:
        assert client.store("key", b"value") == b"STORED"
        assert client.stats("pymc")["keeper_pid"] != "0"


def test_a_folder_with_another_pymc_means_nothing(pymc: Program, traps: dict[str, str]) -> None:
    shown = subprocess.run(
        [pymc.path, "-V"],
        capture_output=True,
        text=True,
        cwd=traps["PYTHONPATH"],
        timeout=RUN_SECONDS,
    )
    assert shown.stdout.startswith("pymc 1.6."), shown.stderr


def test_signals_and_exit_codes_are_the_program_s(pymc: Program) -> None:
    done = subprocess.run(
        [pymc.path, "-o", "nonsense"], capture_output=True, text=True, timeout=RUN_SECONDS
    )
    assert (done.returncode, done.stderr) == (1, 'Illegal suboption "nonsense"\n')


@pytest.mark.slow
@pytest.mark.parametrize("way", ways(), ids=lambda way: str(way.name))
def test_each_way_to_make_it_works(tmp_path: Path, traps: dict[str, str], way: Way) -> None:
    program = tmp_path / "memcached"
    try:
        compile_it(command(way, program))
    except BuildError as error:
        if way.library is None:
            raise
        pytest.skip(f"this Python's {way.library.name} cannot be linked: {error}")
    assert answers(program) == ""
    shown = subprocess.run(
        [program, "-V"],
        capture_output=True,
        text=True,
        env={**os.environ, **traps},
        timeout=RUN_SECONDS,
    )
    assert shown.stdout.startswith("memcached 1.6."), shown.stderr
    with Server(Program("pymc", str(program)), ["-t", "1"], env=traps) as server:
        assert server.stats()["version"]
