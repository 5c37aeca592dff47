"""Processes: start, stop, death of any of them, and that all workers act as one server."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.support.connection import ClosedError, Connection
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

# "Within a second", with room for a machine that is busy with other tests.
GONE_SECONDS = scaled(3.0)


def kill_process(pid: int) -> None:
    """Kills one process; number 0 would be all of our own, and -1 all there are."""
    assert pid > 1, pid
    os.kill(pid, signal.SIGKILL)


def worker_numbers(stats: dict[str, str], what: str) -> list[int]:
    count = sum(1 for key in stats if key.startswith("worker_") and key.endswith("_pid"))
    return [int(stats[f"worker_{number}_{what}"]) for number in range(count)]


def check_ends(server: Server, number: signal.Signals, status: int = 0) -> None:
    children = server.children()
    assert len(children) >= 2
    server.process.send_signal(number)
    assert server.wait_exit() == status
    wait_until(lambda: not server.living_processes(), "all children are gone", GONE_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_end_it_cleanly(pymc: Program, number: signal.Signals) -> None:
    with Server(pymc, ["-t", "2"]) as server, server.connect() as client:
        assert client.store("a", b"1") == b"STORED"
        check_ends(server, number)
        # The client sees the end and nothing else.
        assert client.read_to_close() == b""


def test_sighup_is_survived(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server, server.connect() as client:
        assert client.store("a", b"1") == b"STORED"
        server.process.send_signal(signal.SIGHUP)
        assert client.fetch("a") == b"1"
        with server.connect() as other:
            assert other.fetch("a") == b"1"
        assert server.process.poll() is None


@pytest.mark.parametrize("command", ["shutdown", "shutdown graceful"])
def test_shutdown_command(pymc: Program, command: str) -> None:
    with Server(pymc, ["-t", "2", "-A"]) as server, server.connect() as client:
        server.children()
        client.send(command.encode() + b"\r\n")
        assert client.read_to_close() == b""
        assert server.wait_exit() == 0
        wait_until(lambda: not server.living_processes(), "all children are gone", GONE_SECONDS)


def test_stats_pid_is_the_supervisor(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server:
        assert int(server.stats()["pid"]) == server.pid
        stats = server.stats("pymc")
        pids = [*worker_numbers(stats, "pid"), int(stats["keeper_pid"])]
        assert sorted(pids) == sorted(child.pid for child in server.children())


def test_daemon_with_pidfile(pymc: Program, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    tmp_path.chmod(0o777)
    server = Server(pymc, ["-t", "2", "-d", "-P", str(pidfile)], wait=False)
    daemon: psutil.Process | None = None
    try:
        assert server.wait_exit() == 0
        wait_until(lambda: server.ports, "the port is told")
        wait_until(pidfile.exists, "the pidfile is there")
        pid = int(wait_until(pidfile.read_text, "the pidfile has a number"))
        daemon = psutil.Process(pid)
        family = [daemon, *daemon.children(recursive=True)]
        assert int(server.stats()["pid"]) == pid
        assert daemon.cwd() == "/"
        assert os.getsid(pid) != os.getsid(0)
        daemon.send_signal(signal.SIGTERM)
        gone, alive = psutil.wait_procs(family, timeout=GONE_SECONDS)
        assert not alive, gone
        assert not pidfile.exists()
    finally:
        if daemon is not None and daemon.is_running():
            daemon.kill()
        server.stop(check=False)


def other_process(server: Server, pid: int, what: str) -> int:
    """Waits until `stats pymc` shows another process in place of `pid`; returns it."""

    def look() -> int:
        with contextlib.suppress(OSError, ClosedError):
            now = int(server.stats("pymc")[what])
            return now if now not in (pid, 0) and psutil.pid_exists(now) else 0
        return 0

    return wait_until(look, f"{what} is not {pid} any more")


def test_killed_worker_is_replaced_and_the_data_stays(pymc: Program) -> None:
    with Server(pymc, ["-t", "3"]) as server:
        with server.connect() as client:
            for number in range(1000):
                assert client.store(f"key{number}", b"v%d" % number) == b"STORED"
        for victim in range(3):
            before = server.stats("pymc")
            pid = int(before[f"worker_{victim}_pid"])
            kill_process(pid)
            started = time.monotonic()
            other_process(server, pid, f"worker_{victim}_pid")
            assert time.monotonic() - started < GONE_SECONDS
            after = server.stats("pymc")
            restarts = [worker_numbers(stats, "restarts")[victim] for stats in (before, after)]
            assert restarts[1] == restarts[0] + 1
            with server.connect() as client:
                for number in range(1000):
                    assert client.fetch(f"key{number}") == b"v%d" % number
        assert int(server.stats()["curr_items"]) == 1000
        assert int(server.stats("pymc")["items_lost_to_recovery"]) == 0


def test_killed_worker_takes_no_other_connection_with_it(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server:
        clients = [server.connect() for _ in range(10)]
        try:
            assert all(client.ask("mn") == b"MN" for client in clients)
            pid = server.worker_pids()[0]
            mine = set(sockets_of(pid))
            kill_process(pid)
            lost = 0
            for client in clients:
                try:
                    client.send(b"mn\r\n")
                    assert client.read_line() == b"MN\r\n"
                except (ClosedError, ConnectionResetError):
                    lost += 1
                    assert client.socket.getsockname()[1] in mine
            assert 1 <= lost <= len(mine)
            assert lost < len(clients)
        finally:
            for client in clients:
                client.close()


def sockets_of(pid: int) -> list[int]:
    """The remote ports of the TCP connections that a process has."""
    return [
        connection.raddr.port
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.raddr
    ]


def test_killed_keeper_is_replaced(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server, server.connect() as client:
        assert client.store("a", b"1") == b"STORED"
        pid = int(server.stats("pymc")["keeper_pid"])
        kill_process(pid)
        other_process(server, pid, "keeper_pid")
        assert int(server.stats("pymc")["keeper_restarts"]) == 1
        assert client.fetch("a") == b"1"
        # The new keeper works: it walks the items for a dump.
        client.send(b"lru_crawler metadump all\r\n")
        assert client.read_line().startswith(b"key=a ")
        assert client.read_line() == b"END\r\n"


def test_killed_supervisor_takes_all_with_it(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server:
        port = server.port
        client = server.connect()
        assert len(server.children()) >= 3
        server.process.kill()
        assert server.wait_exit() == -signal.SIGKILL
        wait_until(lambda: not server.living_processes(), "all children are gone", GONE_SECONDS)
        assert client.read_to_close() == b""
        client.close()
        with Server(pymc, ["-t", "1", "-p", str(port)]) as second:
            assert second.port == port


def all_workers_serve(server: Server) -> bool:
    """One more connection, and whether each worker has had one and all are gone again."""
    stats = server.stats("pymc")
    is_alone = sum(worker_numbers(stats, "curr_connections")) == 1
    return is_alone and all(count > 0 for count in worker_numbers(stats, "requests"))


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("threads", [2, 4])
def test_connections_spread_evenly(
    pymc: Program, tmp_path: Path, threads: int, transport: str
) -> None:
    where = ["-s", str(tmp_path / "socket")] if transport == "unix" else []
    with Server(pymc, ["-t", str(threads), *where]) as server:
        wait_until(lambda: all_workers_serve(server), "every worker has served")
        observer = server.connect()

        def connections() -> list[int]:
            return worker_numbers(observer.stats("pymc"), "curr_connections")

        # Those who asked until now must be gone, or the others are spread around them.
        wait_until(lambda: sum(connections()) == 1, "nobody else is connected")
        clients = [observer, *(server.connect() for _ in range(199))]
        try:
            for client in clients:
                assert client.ask("mn") == b"MN"
            counts = connections()
            assert len(counts) == threads
            assert sum(counts) == 200
            assert max(counts) - min(counts) <= 1, counts
        finally:
            for client in clients:
                client.close()


def ask_all(clients: list[Connection], command: str) -> list[bytes]:
    return [client.ask(command) for client in clients]


def test_all_workers_act_as_one(pymc: Program) -> None:
    with Server(pymc, ["-t", "4"]) as server:
        clients = [server.connect() for _ in range(8)]
        try:
            first, last = clients[0], clients[-1]
            assert first.store("a", b"1") == b"STORED"
            assert [client.fetch("a") for client in clients] == [b"1"] * 8
            assert {client.stats()["get_hits"] for client in clients} == {"8"}
            assert {client.stats()["pid"] for client in clients} == {str(server.pid)}
            assert first.ask("verbosity 1") == b"OK"
            assert {client.stats("settings")["verbosity"] for client in clients} == {"1"}
            assert last.ask("verbosity 0") == b"OK"
            assert first.ask("cache_memlimit 100") == b"OK"
            assert {c.stats()["limit_maxbytes"] for c in clients} == {str(100 << 20)}
            assert last.ask("stats detail on") == b"OK"
            for client in clients:
                assert client.store("p:x", b"1") == b"STORED"
            assert first.ask("stats detail dump") == b"PREFIX p get 0 hit 0 set 8 del 0"
            assert first.read_line() == b"END\r\n"
            assert first.ask("stats reset") == b"RESET"
            assert {client.stats()["get_hits"] for client in clients} == {"0"}
            assert first.ask("flush_all") == b"OK"
            assert [client.fetch("a") for client in clients] == [None] * 8
            assert last.ask("lru_crawler disable") == b"OK"
            assert set(ask_all(clients, "lru_crawler crawl all")) == {
                b"CLIENT_ERROR lru crawler disabled"
            }
        finally:
            for client in clients:
                client.close()


def test_cas_numbers_rise_whichever_worker_gives_them(pymc: Program) -> None:
    with Server(pymc, ["-t", "4"]) as server:
        clients = [server.connect() for _ in range(8)]
        try:
            seen: list[int] = []
            for turn in range(200):
                client = clients[turn % 8]
                client.send(b"ms a 1 c\r\nx\r\n")
                seen.append(int(client.read_line().split(b" c")[1]))
            assert seen == sorted(set(seen))
        finally:
            for client in clients:
                client.close()


def test_process_names(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server:
        names = {process.name() for process in [psutil.Process(server.pid), *server.children()]}
        assert not any(name.startswith("python") for name in names), names
        titles = [" ".join(process.cmdline()) for process in server.children()]
        assert len(set(titles)) == len(titles), titles


def test_called_as_memcached(pymc: Program, tmp_path: Path) -> None:
    link = tmp_path / "memcached"
    link.symlink_to(Path(pymc.path).resolve())
    shown = subprocess.run(
        [link, "-V"], capture_output=True, text=True, check=True, timeout=scaled(20)
    )
    assert shown.stdout.startswith("memcached 1.6.")
    with Server(Program("pymc", str(link)), ["-t", "1"]) as server:
        assert psutil.Process(server.pid).name() == "memcached"


@pytest.mark.slow
def test_random_kills_under_load(pymc: Program) -> None:
    seed = 20_240_707
    dice = random.Random(seed)
    held: dict[str, set[bytes]] = {}
    with Server(pymc, ["-t", "3", "-m", "128"]) as server:
        client = server.connect()
        killed = 0
        for step in range(2400):
            if step % 400 == 399:
                kill_one(server, dice)
                killed += 1
            key = f"key{dice.randrange(500)}"
            value = b"%s=%d;" % (key.encode(), step) * dice.choice([1, 30, 3000])
            try:
                if dice.random() < 0.5:
                    # A set whose answer never came may have happened or not.
                    held.setdefault(key, set()).add(value)
                    if client.store(key, value) == b"STORED":
                        held[key] = {value}
                else:
                    found = client.fetch(key)
                    allowed = held.get(key, set())
                    is_right = found is None or found in allowed
                    assert is_right, f"wrong value of {key}, seed {seed}, step {step}"
            except (ClosedError, ConnectionResetError):
                client.close()
                client = reconnect(server)
        found_count = sum(client.fetch(key) in values for key, values in held.items())
        lost = len(held) - found_count
        assert lost <= killed, f"{lost} items lost by {killed} kills, seed {seed}"

        def restarts() -> int:
            stats = server.stats("pymc")
            return sum(worker_numbers(stats, "restarts")) + int(stats["keeper_restarts"])

        wait_until(lambda: restarts() >= killed, "the last one is back")
        assert restarts() == killed
        client.close()


def kill_one(server: Server, dice: random.Random) -> None:
    """Kills a worker or the keeper, whichever the dice say; none is dead at that time."""

    def all_pids() -> list[int]:
        try:
            stats = server.stats("pymc")
        except (OSError, ClosedError):
            return []
        pids = [*worker_numbers(stats, "pid"), int(stats["keeper_pid"])]
        return pids if all(pid > 1 and psutil.pid_exists(pid) for pid in pids) else []

    kill_process(dice.choice(wait_until(all_pids, "all processes are there")))


def reconnect(server: Server) -> Connection:
    """A connection that has been answered; a worker may die once more in the meantime."""
    client = server.connect()
    try:
        assert client.ask("mn") == b"MN"
    except (ClosedError, ConnectionResetError):
        client.close()
        return reconnect(server)
    return client
