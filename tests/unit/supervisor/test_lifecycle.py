"""Life and death of a server's processes, from outside."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

TERMINATED = "Signal handled: Terminated.\nExiting normally\n"


def pids(server: Server) -> dict[str, int]:
    """The children's pids by the names that `stats pymc` gives them."""
    stats = server.stats("pymc")
    return {key: int(value) for key, value in stats.items() if key.endswith("_pid")}


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("who", ["worker_0_pid", "worker_1_pid", "keeper_pid"])
def test_the_killed_are_replaced(server: Server, who: str) -> None:
    with server.connect() as connection:
        assert connection.ask("set key 0 0 1\r\nx") == b"STORED"
    victim = pids(server)[who]
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: pids(server)[who] not in (0, victim), f"a new {who}", pause_seconds=0)
    # A loose bound: what counts is that no second passes, other tests may be running.
    assert time.monotonic() - killed < scaled(1.0)
    stats = server.stats("pymc")
    assert stats[who.replace("_pid", "_restarts")] == "1"
    assert int(stats["lock_recoveries"]) >= 1
    with server.connect() as connection:
        assert connection.ask("mg key v") == b"VA 1"
    assert f"(pid {victim}) was killed by SIGKILL; starting it again" in server.stderr


def worker_of(server: Server) -> psutil.Process | None:
    """The one worker, once it shows its name."""
    for child in server.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.cmdline()[:1] == ["pymc: worker 0"]:
                return child
    return None


def test_who_keeps_dying_waits(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server:
        for _ in range(3):
            worker = wait_until(lambda: worker_of(server), "the worker")
            assert worker is not None
            # SIGKILL counts as a short life for a tenth of a second only.
            worker.send_signal(signal.SIGALRM)
            worker.wait()
        wait_until(lambda: "starting it again in 0.25 s" in server.stderr, "the delay")
        server.wait_ready()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGTERM, TERMINATED),
        (signal.SIGINT, TERMINATED.replace("Terminated", "Interrupt")),
        (signal.SIGUSR1, "Gracefully stopping\nExiting normally\n"),
    ],
)
def test_signals_end_it_cleanly(pymc: Program, number: signal.Signals, said: str) -> None:
    with Server(pymc, ["-v", "-t", "2"]) as server:
        server.children()
        started = time.monotonic()
        os.kill(server.pid, number)
        assert server.wait_exit() == 0
        assert time.monotonic() - started < scaled(1.0)
        assert not server.living_processes()
        assert server.stderr.endswith(said)


def test_an_idle_worker_hears_signals(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server:
        (worker,) = server.worker_pids()
        os.kill(worker, signal.SIGHUP)
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: f"(pid {worker}) ended with exit code 0" in server.stderr, "its end")
        server.wait_ready()


def test_a_stopped_worker_does_not_hold_up_the_end(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server:
        (worker,) = server.worker_pids()
        os.kill(worker, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGTERM)
        started = time.monotonic()
        assert server.wait_exit() == 0
        assert time.monotonic() - started < scaled(2.0)
        assert is_gone(worker)


def test_the_keeper_holds_no_port(server: Server) -> None:
    """It may outlive the server, and a new one wants the port."""
    keeper = psutil.Process(pids(server)["keeper_pid"])

    def listening() -> list[int]:
        return [one.fd for one in keeper.net_connections() if one.status == psutil.CONN_LISTEN]

    wait_until(lambda: not listening(), "the keeper has closed its listeners")


def test_all_die_with_the_supervisor(server: Server) -> None:
    children = server.children()
    address = server.address
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: all(is_gone(child.pid) for child in children), "all children are gone")
    assert isinstance(address, tuple)
    with socket.create_server(address):
        pass


def test_a_second_server_is_refused(server: Server, pymc: Program) -> None:
    port = ["-l", "127.0.0.1", "-p", str(server.port)]
    with Server(pymc, port, wait=False) as second:
        assert second.wait_exit() == 71
        wanted = "failed to listen on one of interface(s) 127.0.0.1: Address already in use\n"
        hint = f"hint: 127.0.0.1, port {server.port}: another program listens there\n"
        assert second.stderr == wanted + hint
    assert server.stats()["pid"] == str(server.pid)


@pytest.mark.parametrize("name", ["pymc", "memcached"])
def test_names_of_processes(pymc: Program, tmp_path: Path, name: str) -> None:
    link = tmp_path / name
    link.symlink_to(pymc.path)
    with Server(Program("pymc", str(link)), ["-t", "1", "-m", "77"]) as server:
        supervisor = psutil.Process(server.pid)
        assert supervisor.name() == name
        words = supervisor.cmdline()
        assert words[0] == str(link)
        assert words[-2:] == ["-m", "77"]
        titles = {child.cmdline()[0] for child in server.children()}
        assert titles == {"pymc: worker 0", "pymc: keeper"}
        assert {child.name() for child in server.children()} == titles


def test_daemon_writes_its_pid_and_goes(pymc: Program, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    with Server(pymc, ["-d", "-P", str(pidfile), "-t", "1"], wait=False) as server:
        assert server.wait_exit() == 0
        wait_until(pidfile.exists, "the pid file")
        pid = int(pidfile.read_text())
        daemon = psutil.Process(pid)
        try:
            wait_until(lambda: server.ports, "the port file")
            assert server.stats()["pid"] == str(pid)
            assert daemon.cwd() == "/"
            assert os.getsid(pid) != os.getsid(0)
            assert os.readlink(f"/proc/{pid}/fd/2") == os.devnull
            daemon.terminate()
            wait_until(lambda: not daemon.is_running(), "the daemon is gone")
            assert not pidfile.exists()
        finally:
            if daemon.is_running():
                daemon.kill()


def test_pidfile_without_daemon(pymc: Program, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{os.getpid()}\n")
    with Server(pymc, ["-P", str(pidfile), "-t", "1"]) as server:
        wait_until(lambda: pidfile.read_text() == f"{server.pid}\n", "the pid file")
        assert f"contained the following (running) pid: {os.getpid()}" in server.stderr


def test_unix_socket_goes_with_its_server(pymc: Program, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Server(pymc, ["-s", str(path), "-t", "2"]) as server:
        wait_until(lambda: server.stats()["curr_connections"] == "1", "earlier ones are gone")
        lines = server.stats("conns")
        assert {value for key, value in lines.items() if key.endswith(":addr")} == {f"unix:{path}"}
    assert not path.exists()


def test_shutdown_command(pymc: Program) -> None:
    with Server(pymc, ["-A", "-t", "2"]) as server, server.connect() as connection:
        connection.send(b"shutdown\r\n")
        assert server.wait_exit() == 0


def test_hangup_reads_the_users_again(pymc: Program, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("joe:old\n")

    def login(word: str) -> bytes:
        with server.connect() as connection:
            return connection.ask(f"set x 0 0 7\r\njoe {word}")

    def hang_up(text: str, said: str) -> None:
        users.write_text(text)
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: server.stderr.endswith(said), said)

    with Server(pymc, ["-Y", str(users), "-t", "1"]) as server:
        assert login("old") == b"STORED"
        assert login("new") == b"CLIENT_ERROR authentication failure"
        hang_up("joe:new\nann:x\n", f"pymc: authfile [{users}] read again: 2 users\n")
        wait_until(lambda: login("new") == b"STORED", "the new password is known")
        assert login("old") == b"CLIENT_ERROR authentication failure"
        hang_up("nonsense\n", "'user:password'; 2 users read before it still count\n")
        assert login("new") == b"STORED"


def test_who_is_replaced_knows_the_users_that_the_file_had(pymc: Program, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("joe:old\n")
    with Server(pymc, ["-Y", str(users), "-t", "1"]) as server:
        users.write_text("nonsense\n")
        worker = wait_until(lambda: worker_of(server), "the worker")
        assert worker is not None
        worker.kill()
        worker.wait()
        server.wait_ready()
        with server.connect() as connection:
            assert connection.ask("set x 0 0 7\r\njoe old") == b"STORED"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["-Y", "/nonexistent"], 1, "Could not open authfile [/nonexistent] for reading"),
        (["-s", "/nonexistent/s"], 71, "bind(): No such file or directory\nfailed to listen on"),
    ],
)
def test_start_that_fails(pymc: Program, args: list[str], code: int, said: str) -> None:
    with Server(pymc, ["-t", "1", *args], wait=False) as server:
        assert server.wait_exit() == code
        assert server.stderr.startswith(said)


@pytest.mark.skipif(
    os.environ.get("PYMC_BUILD") in ("asan", "tsan"),
    reason="the sanitizer's shadow cannot be locked",
)
def test_locked_memory(pymc: Program) -> None:
    with Server(pymc, ["-k", "-t", "1"]) as server:
        status = Path(f"/proc/{server.worker_pids()[0]}/status").read_text()
        locked = int(status.partition("VmLck:")[2].split()[0])
        assert locked > 0 or "mlockall() failed" in server.stderr


def test_verbose_start_lists_classes_and_listeners(pymc: Program) -> None:
    with Server(pymc, ["-vv", "-t", "1"]) as server:
        assert "slab class   1: chunk size        32 perslab   32768\n" in server.stderr
        assert "server listening (auto-negotiate)\n" in server.stderr
