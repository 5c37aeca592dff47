"""Processes that stand still: others serve meanwhile, and the watchdog ends them."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.connection import ClosedError, Connection
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

# Each new connection has a fair chance to be dealt to the stopped worker's socket.
MANY = 40
# A client that is left alone for so long was left alone.
ANSWER_SECONDS = scaled(5.0)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    assert pid > 1
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def connected(server: Server, count: int) -> Iterator[list[Connection]]:
    """Connections that were answered."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect(ANSWER_SECONDS)) for _ in range(count)]
        assert [client.ask("mn") for client in clients] == [b"MN"] * count
        yield clients


def is_cut(client: Connection) -> bool:
    try:
        return client.ask("mn") != b"MN"
    except (ClosedError, ConnectionResetError, BrokenPipeError):
        return True


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_new_connections_pass_by_a_stopped_worker(
    pymc: Program, tmp_path: os.PathLike[str], transport: str
) -> None:
    where = ["-s", f"{os.fspath(tmp_path)}/socket"] if transport == "unix" else []
    with Server(pymc, ["-t", "3", "-o", "watchdog=0", *where]) as server:
        pid = server.worker_pids()[1]
        with connected(server, 9) as clients:
            assert int(server.stats("pymc")["worker_1_curr_connections"]) >= 3
            with stopped(pid):
                wait_until(lambda: server.stats("pymc")["processes_late"] == "1", "it is late")
                with connected(server, MANY):
                    stats = server.stats("pymc")
                assert int(stats["connections_past_late"]) > 0
                if transport == "tcp":
                    assert int(stats["connections_rescued"]) > 0
                assert stats["watchdog_kills"] == "0"
            # It goes on with all its clients.
            assert all(client.ask("mn") == b"MN" for client in clients)
            wait_until(lambda: server.stats("pymc")["processes_late"] == "0", "it is back")
            assert server.worker_pids()[1] == pid
        # Who was accepted for another worker is counted where it is served.
        wait_until(lambda: server.stats()["curr_connections"] == "1", "all are gone")
        counts = server.stats("pymc")
        assert sum(int(counts[f"worker_{number}_curr_connections"]) for number in range(3)) <= 2


def test_a_stopped_worker_is_killed_and_its_clients_are_cut(pymc: Program) -> None:
    with Server(pymc, ["-t", "2", "-o", "watchdog=2"]) as server:
        pid = server.worker_pids()[1]
        with connected(server, 8) as clients, stopped(pid):
            # Each of them is answered or cut; none waits for ever.
            cut = [client for client in clients if is_cut(client)]
            assert 0 < len(cut) < len(clients)
            with connected(server, MANY):
                pass
        wait_until(lambda: server.worker_pids()[1] not in (0, pid), "there is another one")
        stats = server.stats("pymc")
        assert stats["watchdog_kills"] == "1"
        assert stats["worker_1_restarts"] == "1"
        lines = [line for line in server.stderr.splitlines() if f"(pid {pid})" in line]
        said = r"pymc: watchdog kills worker 1 \(pid \d+\): no beat for 2\.\d\d s, state T.*"
        assert len(lines) == 1, lines
        assert re.fullmatch(said, lines[0])


def test_a_stopped_keeper_is_killed_and_replaced(pymc: Program) -> None:
    with Server(pymc, ["-t", "1", "-o", "watchdog=2"]) as server:
        pid = int(server.stats("pymc")["keeper_pid"])
        with stopped(pid):
            wait_until(lambda: server.stats("pymc")["watchdog_kills"] == "1", "it is killed")
        wait_until(lambda: server.stats("pymc")["keeper_restarts"] == "1", "there is another one")
        assert f"watchdog kills keeper (pid {pid}): no beat for 2." in server.stderr


def test_the_end_does_not_wait_for_who_is_stopped(pymc: Program) -> None:
    with Server(pymc, ["-t", "2", "-o", "watchdog=0"]) as server:
        pids = [*server.worker_pids(), int(server.stats("pymc")["keeper_pid"])]
        with contextlib.ExitStack() as stack:
            for pid in pids:
                stack.enter_context(stopped(pid))
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.wait_exit() == 0
            assert time.monotonic() - started < scaled(5.0)
        assert not server.living_processes()
