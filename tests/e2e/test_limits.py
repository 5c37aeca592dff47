"""Starts under limits that a shell or a service manager sets."""

import os
import re
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.programs import Program
from tests.support.server import Server

ANY_SANITIZER = os.environ.get("PYMC_BUILD") in ("asan", "tsan")
MIB = 1 << 20


def under(pymc: Program, folder: Path, ulimit: str) -> Program:
    """pymc, started by a shell that sets a limit first, which not even root may raise again."""
    script = folder / "limited"
    bound = "setpriv --bounding-set -sys_resource" if os.geteuid() == 0 else ""
    script.write_text(f'#!/bin/sh\nulimit {ulimit} || exit 99\nexec {bound} "{pymc.path}" "$@"\n')
    script.chmod(0o755)
    return Program("pymc", str(script))


def serves(server: Server) -> dict[str, str]:
    """Stores and reads twice what memory holds; `stats pymc` afterwards."""
    with server.connect() as connection:
        for number in range(1500):
            value = b"%08d" % number * 1250
            assert connection.store(f"key{number}", value) == b"STORED"
            assert connection.fetch(f"key{number}") == value
        return connection.stats("pymc")


@pytest.mark.skipif(ANY_SANITIZER, reason="the sanitizer's shadow takes all address space")
@pytest.mark.parametrize("kibibytes", [1_500_000, 4_000_000])
def test_address_space(pymc: Program, tmp_path: Path, kibibytes: int) -> None:
    program = under(pymc, tmp_path, f"-v {kibibytes}")
    with Server(program, ["-t", "2", "-m", "8"]) as server:
        stats = serves(server)
        assert int(stats["arena_reserved_bytes"]) < kibibytes * 1024
        with server.connect() as connection:
            assert connection.ask("cache_memlimit 16") == b"OK"
            assert connection.ask("cache_memlimit 20000").startswith(b"MEMLIMIT_ADJUST_FAILED")


@pytest.mark.skipif(ANY_SANITIZER, reason="the sanitizer's shadow takes all address space")
def test_address_space_with_flash(pymc: Program, tmp_path: Path) -> None:
    program = under(pymc, tmp_path, "-v 4000000")
    with Server(program, ["-m", "8", "-o", f"ext_path={tmp_path}/flash:1g"]) as server:
        serves(server)


@pytest.mark.skipif(ANY_SANITIZER, reason="the sanitizer's shadow takes all address space")
def test_too_little_address_space_is_said(pymc: Program, tmp_path: Path) -> None:
    program = under(pymc, tmp_path, "-v 400000")
    with Server(program, ["-m", "64"], wait=False) as server:
        assert server.wait_exit() == 71
        assert re.fullmatch(
            r"failed to allocate memory: the limit on address space \(ulimit -v\) is too low:"
            r" -m 64 takes \d+ megabytes of it, \d+ are left\n",
            server.stderr,
        )


def test_file_size(pymc: Program, tmp_path: Path) -> None:
    with Server(under(pymc, tmp_path, "-f 10000"), ["-t", "2", "-m", "8"]) as server:
        stats = serves(server)
        assert stats["arena_file_bytes"] == "0"
        assert int(stats["slab_pages_touched_bytes"]) > 4 * MIB


def test_file_size_with_flash_is_said(pymc: Program, tmp_path: Path) -> None:
    path = tmp_path / "flash"
    args = ["-m", "8", "-o", f"ext_path={path}:1g"]
    with Server(under(pymc, tmp_path, "-f 10000"), args, wait=False) as server:
        assert server.wait_exit() == 1
        failed = "Failed to initialize external storage: failed to open file:"
        assert server.stderr == f"{failed} {path}: File too large\n"


def test_open_files_of_just_c(pymc: Program, tmp_path: Path) -> None:
    with Server(under(pymc, tmp_path, "-n 1024"), ["-t", "2", "-c", "1024"]) as server:
        clients = [server.connect() for _ in range(50)]
        try:
            assert all(client.ask("mn") == b"MN" for client in clients)
            assert clients[0].stats()["max_connections"] == "1024"
        finally:
            for client in clients:
                client.close()


@pytest.mark.parametrize("option", ["maxconns_fast", "no_maxconns_fast"])
def test_open_files_below_c_lower_it(pymc: Program, tmp_path: Path, option: str) -> None:
    args = ["-t", "2", "-c", "2000000000", "-o", option]
    with Server(under(pymc, tmp_path, "-n 128"), args) as server, server.connect() as first:
        most = int(first.stats()["max_connections"])
        assert f"the hard limit is 128: at most {most} connections are served" in server.stderr
        assert first.stats("settings")["maxconns"] == str(most)
        clients = [first]
        try:
            clients += [server.connect() for _ in range(most - 1)]
            assert all(client.ask("mn") == b"MN" for client in clients)
            with server.connect() as beyond:
                if option == "maxconns_fast":
                    assert beyond.read_line() == b"ERROR Too many open connections\r\n"
                else:
                    wait_until(lambda: first.stats()["accepting_conns"] == "0", "nobody is let in")
                    clients.pop().close()
                    assert beyond.ask("mn") == b"MN"
            assert all(client.ask("mn") == b"MN" for client in clients)
        finally:
            for client in clients:
                client.close()


def test_no_open_file_for_a_client_is_said(pymc: Program, tmp_path: Path) -> None:
    with Server(under(pymc, tmp_path, "-n 60"), ["-t", "2"], wait=False) as server:
        assert server.wait_exit() == 71
        assert server.stderr.startswith("failed to set rlimit for open files. Try starting as root")
        assert "the hard limit is 60, of which the server itself takes" in server.stderr


def test_large_pages_are_told_at_start_and_in_stats(pymc: Program) -> None:
    with Server(pymc, ["-t", "1", "-m", "32", "-L"]) as server:
        stats = server.stats("pymc")
        assert stats["large_pages_kind"] in ("hugetlb", "collapsed", "thp", "none")
        asked, got = (int(stats[f"large_pages_{word}"]) for word in ("asked_bytes", "bytes"))
        assert asked == 32 * MIB
        assert ("warning: -L got " in server.stderr) == (got < asked)
        assert (stats["large_pages_kind"] == "none") == (got == 0)
        # Taken at the start, before anything is stored.
        assert int(stats["arena_touched_bytes"]) >= 32 * MIB
        assert int(stats["private_bytes"]) > 4 * MIB


@pytest.mark.parametrize("workers", [1, 4])
def test_little_is_touched_before_anything_is_stored(pymc: Program, workers: int) -> None:
    with Server(pymc, ["-t", str(workers), "-m", "64"]) as server:
        stats = server.stats("pymc")
        covered = ("index_buckets", "index_overflow", "rings", "slab_pages")
        touched = int(stats["arena_touched_bytes"])
        touched -= sum(int(stats[f"{name}_touched_bytes"]) for name in covered)
        # Some pages for each process, and the tables that all share.
        assert touched <= 64 * 1024 + 24 * 1024 * (workers + 1)


@pytest.mark.skipif(ANY_SANITIZER, reason="the sanitizer's shadow is memory, too")
def test_a_worker_has_little_of_its_own(pymc: Program) -> None:
    """A ceiling well above what is measured (`make bench ARGS="--only empty"`): 2 MiB."""
    with Server(pymc, ["-t", "4", "-m", "64"]) as server:
        for pid in server.worker_pids():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            private = re.findall(r"^Private_\w+: +(\d+) kB$", rollup, re.MULTILINE)
            assert sum(int(kibibytes) for kibibytes in private) < 4096
