"""A run says why tests were skipped, and fails when a reason is on no list."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deadline import scaled
from tests.support.programs import ROOT

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(3))
@pytest.mark.skip(reason="no gears (of wood)")
def test_gears(number):
    pass

def test_wheel():
    pytest.skip("no wheel")

@pytest.mark.xfail
def test_known():
    assert False

def test_fine():
    pass
"""
PLUGIN = """
from tests.support.skips import skip_reasons

def pytest_configure(config):
    config.pluginmanager.register(skip_reasons())
"""


SHORT = """
from tests.support.tcp_memory import TcpMemory

def pytest_configure(config):
    config.addinivalue_line("markers", "tcp_memory: x")
    config.pluginmanager.register(TcpMemory(lambda: "no memory for sockets"))
"""
SOCKET_TESTS = """
import pytest

@pytest.mark.tcp_memory
def test_that_sends_much():
    assert False

def test_that_fails():
    assert False
"""


def run(
    folder: Path, allowed: str | None, tests: str = TESTS, plugin: str = PLUGIN
) -> "subprocess.CompletedProcess[str]":
    (folder / "test_some.py").write_text(tests)
    (folder / "conftest.py").write_text(plugin)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST")}
    environ |= {"PYTHONPATH": str(ROOT)}
    environ.pop("PYMC_TEST_SKIPS_ALLOWED", None)
    if allowed is not None:
        (folder / "allowed").write_text(allowed)
        environ["PYMC_TEST_SKIPS_ALLOWED"] = str(folder / "allowed")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(folder)],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )


def test_reasons_are_counted(tmp_path: Path) -> None:
    done = run(tmp_path, None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "    3 no gears (of wood)\n    1 no wheel\n" in done.stdout
    assert "NOT ALLOWED" not in done.stdout


@pytest.mark.parametrize(
    ("allowed", "status", "refused"),
    [
        ("# All of them.\nno gears .*\n\nno w[a-z]+\n", 0, []),
        ("no gears .*\n", 1, ["no wheel"]),
        ("no whee\nno gears\n", 1, ["no gears (of wood)", "no wheel"]),
        ("", 1, ["no gears (of wood)", "no wheel"]),
    ],
)
def test_only_what_is_listed_may_be_skipped(
    tmp_path: Path, allowed: str, status: int, refused: list[str]
) -> None:
    done = run(tmp_path, allowed)
    assert done.returncode == status, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition("HERE: ")[2] for line in lines if "NOT ALLOWED" in line] == refused


def test_a_shortage_skips_or_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, None, SOCKET_TESTS, SHORT)
    assert "1 failed, 1 skipped" in done.stdout
    assert "- this machine -" in done.stdout and "\nno memory for sockets\n" in done.stdout


def test_deadlines_are_as_long_as_the_machine_is_slow(tmp_path: Path) -> None:
    program = (
        "import tests.support.deadline as d; print(d.WAIT_SECONDS, d.scaled(2))\n"
        "try:\n    d.wait_until(lambda: False, 'nothing', d.scaled(0.01))\n"
        "except d.DeadlineError as error:\n    print(error)"
    )
    for slowness, shown in (("3", "60.0 6.0"), ("0.5", "10.0 1.0")):
        environ = {**os.environ, "PYMC_TEST_SLOWNESS": slowness}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=scaled(60),
            check=True,
        )
        assert done.stdout.splitlines()[0] == shown
        assert done.stdout.splitlines()[1].startswith("not within 0.0")
