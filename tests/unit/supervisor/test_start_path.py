"""What a server does before its first worker starts: clients wait for all of it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import pymc
from tests.support.deadline import scaled

# Runs the program up to its first fork and prints what is loaded by then.
UNTIL_FORK = """
import gc, os, sys
def show():
    print(gc.isenabled(), *sorted(sys.modules), flush=True)
    os._exit(0)
import pymc.core.process
pymc.core.process.fork_child = show
sys.argv = ["pymc", "-u", "root", "-p", "0", "-t", "2", "-m", "64", *sys.argv[1:]]
from pymc.__main__ import main
main()
os._exit(1)
"""
# Runs it up to where the rest is loaded and tells whether all workers are there by then.
UNTIL_REST = """
import os, sys
import pymc.supervisor.startup as startup
startup._GIVE_WAY_SECONDS = 60.0
def show(context, launcher, children):
    print(context.are_workers_there(), "pymc.keeper" in sys.modules, flush=True)
    os._exit(0)
startup._start_keeper = show
sys.argv = ["pymc", "-u", "root", "-p", "0", "-t", "3", "-m", "64"]
from pymc.__main__ import main
main()
os._exit(1)
"""
# What takes a millisecond or more, and what workers do not need.
LOADED_LATER = {
    *("argparse", "dataclasses", "datetime", "email", "hashlib", "importlib.metadata", "json"),
    *("multiprocessing", "psutil", "random", "secrets", "tempfile", "tomllib", "unittest"),
    *("ctypes", "ssl", "_ssl"),
    *("cffi", "lz4", "pymc.config.help_text", "pymc.flash_log.dump", "pymc.flash_log.format"),
    *("pymc.keeper", "pymc.policy.compaction", "pymc.policy.watchdog", "pymc.supervisor.guard"),
    *("pymc.supervisor.watch", "pymc.tls", "pymc.core.tls", "mmap", "cryptography", "OpenSSL"),
    *("ipaddress", "struct"),
}
if sys.version_info >= (3, 14):
    # asyncio itself loads them there.
    LOADED_LATER -= {"dataclasses"}
# What workers would otherwise load each for itself.
LOADED_BEFORE = {"uvloop", "asyncio", "pymc.worker", "pymc.control", "pymc.stats.general"}


def said_by(program: str, *args: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *args], check=True, capture_output=True, timeout=scaled(60)
    )
    return done.stdout.decode().split()


def loaded_before_the_first_fork(*args: str) -> tuple[str, set[str]]:
    is_looking_for_garbage, *modules = said_by(UNTIL_FORK, *args)
    return is_looking_for_garbage, set(modules)


@pytest.mark.slow
def test_nothing_is_loaded_for_which_clients_need_not_wait() -> None:
    is_looking_for_garbage, modules = loaded_before_the_first_fork()
    assert is_looking_for_garbage == "False"
    assert modules & LOADED_LATER == set()
    assert LOADED_BEFORE - modules == set()


def test_whoever_wants_ssl_gets_the_real_one() -> None:
    program = "import pymc.worker, ssl; print(ssl.create_default_context().check_hostname)"
    assert said_by(program) == ["True"]


@pytest.mark.slow
def test_flash_needs_no_more_of_it(tmp_path: Path) -> None:
    _, modules = loaded_before_the_first_fork("-o", f"ext_path={tmp_path}/f:64m")
    assert modules & LOADED_LATER == set()


@pytest.mark.slow
def test_the_lines_of_stats_are_made_for_all_workers_at_once() -> None:
    listing = "print(gc.isenabled(), *sorted(sys.modules), flush=True)"
    counting = "import pymc.stats.report as r; print(r.templates.cache_info().currsize, flush=True)"
    assert said_by(UNTIL_FORK.replace(listing, counting)) == ["1"]


@pytest.mark.slow
def test_the_rest_waits_until_all_workers_are_there() -> None:
    assert said_by(UNTIL_REST) == ["True", "False"]


def test_the_build_leaves_byte_code() -> None:
    # Where the environment keeps Python from writing it, each start would compile all sources.
    room = Path(pymc.__file__).parent
    sources = [*room.glob("*.py"), *room.glob("*/*.py")]
    without = [
        source.name
        for source in sources
        if not Path(importlib.util.cache_from_source(str(source))).exists()
    ]
    assert sources
    assert without == []
