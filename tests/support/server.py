"""Starts pymc or a memcached on a port of the kernel's choice, and ends it without leftovers."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.connection import Address, ClosedError, Connection
from tests.support.deadline import WAIT_SECONDS, scaled, wait_until
from tests.support.packets import HEADER, request
from tests.support.programs import Program, faketime_library

# The stopped clock of a memcached under test starts here (UTC), so that a failure reads the same
# every time; far from 0 because memcached takes some seconds off at start.
CLOCK_START = 1_900_000_000
STOP_SECONDS = scaled(5.0)


class Server:
    """One running server process with all its children.

    `args` are memcached flags. Unless they say where to listen, the server listens on an ephemeral
    port of 127.0.0.1. With `clock` the time of the server stands still until move_clock().
    """

    def __init__(
        self,
        program: Program,
        args: Sequence[str] = (),
        *,
        clock: bool = False,
        env: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        self.program = program
        self.args = list(args)
        self.folder = Path(tempfile.mkdtemp(prefix="pymc-test-"))
        # The server may drop to another user, who must still write its port file here.
        self.folder.chmod(0o777)
        self.clock_seconds = 0
        self._port_file = self.folder / "port"
        self._clock_file = self.folder / "clock"
        self._stderr_file = self.folder / "stderr"
        self._has_clock = clock
        self._seen: dict[int, psutil.Process] = {}
        self.process = self._start(dict(env or {}))
        try:
            if wait:
                self.wait_ready()
            if wait and clock and program.is_pymc:
                self._pause_pymc()
        except BaseException:
            self.stop(check=False)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(check=kind is None)

    @property
    def pid(self) -> int:
        """The process that was started: the supervisor of a pymc."""
        return self.process.pid

    @property
    def ports(self) -> list[tuple[str, int]]:
        """Family ("INET" or "INET6") and port of each TCP listener, from the port file."""
        try:
            text = self._port_file.read_text()
        except FileNotFoundError:
            return []
        return [(family, int(port)) for family, port in re.findall(r"TCP (\S+): (\d+)", text)]

    @property
    def port(self) -> int:
        return self.ports[0][1]

    @property
    def udp_port(self) -> int:
        return int(re.findall(r"UDP \S+: (\d+)", self._port_file.read_text())[0])

    @property
    def address(self) -> Address:
        """Where a client connects: the unix socket, if there is one, else the first TCP port."""
        for flag, value in zip(self.args, self.args[1:], strict=False):
            if flag == "-s":
                return value
        family, port = self.ports[0]
        return ("::1" if family == "INET6" else "127.0.0.1", port)

    @property
    def stderr(self) -> str:
        """What the server has printed so far."""
        return self._stderr_file.read_text(errors="replace")

    def connect(self, timeout_seconds: float = WAIT_SECONDS) -> Connection:
        return Connection(self.address, timeout_seconds)

    def stats(self, sub: str = "") -> dict[str, str]:
        """`stats <sub>` over a connection of its own."""
        with self.connect() as connection:
            return connection.stats(sub)

    def children(self) -> list[psutil.Process]:
        """The living processes below the started one: workers and keeper."""
        with contextlib.suppress(psutil.NoSuchProcess):
            living = psutil.Process(self.pid).children(recursive=True)
            self._seen.update({child.pid: child for child in living})
            return living
        return []

    def worker_pids(self) -> list[int]:
        """The process of each worker of a pymc, by worker number."""
        stats = self.stats("pymc")
        numbers = sorted(
            int(m[1]) for key in stats if (m := re.fullmatch(r"worker_(\d+)_pid", key))
        )
        return [int(stats[f"worker_{number}_pid"]) for number in numbers]

    def move_clock(self, seconds: int) -> None:
        """Lets `seconds` pass at once for the server; returns when it has noticed."""
        if self.program.is_pymc:
            with self.connect() as connection:
                said = connection.ask(f"debugtime {seconds:+d}")
            assert said == b"OK", f"debugtime: {said!r}"
            return
        target = int(self.stats()["time"]) + seconds
        self.clock_seconds += seconds
        self._write_clock()
        # A new connection wakes the main loop, whose timer is due then; an old one would not.
        wait_until(lambda: int(self.stats()["time"]) >= target, "the clock moves", pause_seconds=0)

    def has_clock(self) -> bool:
        """True when move_clock() works: a debug build of pymc, or a memcached started for it."""
        if not self.program.is_pymc:
            return self._has_clock
        with self.connect() as connection:
            return connection.ask("debugtime r" if not self._has_clock else "debugtime p") == b"OK"

    def wait_ready(self) -> None:
        """Returns when the server answers `version`; raises with its stderr when it ended.

        A pymc is also complete then: its keeper comes after its first answers.
        """
        wait_until(self._answers, f"{self.program.name} {' '.join(self.args)} answers")
        if self.program.is_pymc:
            wait_until(self._has_keeper, "the keeper")

    def wait_exit(self, timeout_seconds: float = WAIT_SECONDS) -> int:
        """The exit status; negative for a signal. DeadlineError when it does not end."""
        wait_until(lambda: self.process.poll() is not None, "the server ends", timeout_seconds)
        return int(self.process.returncode)

    def living_processes(self) -> list[psutil.Process]:
        """Processes of this server, seen at any time, that are still there (zombies are not)."""
        return [process for process in self._seen.values() if _is_living(process)]

    def stop(self, *, check: bool = True) -> None:
        """Ends the server: asks a pymc with SIGTERM, kills all that is left, or is no pymc.

        Raises AssertionError when `check` is set and a pymc did not end cleanly.
        """
        self.children()
        status: int | None = self.process.poll()
        was_running = status is None
        if was_running:
            # A memcached takes a second to end, and never ends while its clock stands still.
            self.process.send_signal(signal.SIGTERM if self.program.is_pymc else signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self.process.wait(STOP_SECONDS)
            if not self.program.is_pymc:
                status = 0
        left = self._kill_leftovers()
        said = self.stderr
        shutil.rmtree(self.folder, ignore_errors=True)
        if check and was_running:
            assert status == 0, f"{self.program.name} ended with {status}; stderr:\n{said}"
            assert not left, f"processes {left} outlived their server; stderr:\n{said}"
            # A job of the keeper that fails is tried again, and nobody would notice.
            assert "Traceback" not in said, said

    def _kill_leftovers(self) -> list[int]:
        deadline = time.monotonic() + scaled(1.0)
        while self.living_processes() and time.monotonic() < deadline:
            time.sleep(0.005)
        left = self.living_processes()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_SECONDS)
        return [process.pid for process in left]

    def _start(self, extra: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [self.program.path, *self._user(), *self._listen(), *self.args]
        env = {**os.environ, "MEMCACHED_PORT_FILENAME": str(self._port_file)}
        if not self.program.is_pymc:
            # The runtime of a sanitizer is for our own code only.
            env.pop("LD_PRELOAD", None)
            if self._has_clock:
                library = faketime_library()
                assert library, "no libfaketime on this machine"
                self._write_clock()
                env |= {
                    "LD_PRELOAD": library,
                    "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
                    "FAKETIME_NO_CACHE": "1",
                    "TZ": "UTC",
                }
        env |= extra
        with open(self._stderr_file, "wb") as stderr:
            return subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
            )

    def _user(self) -> list[str]:
        return ["-u", "root"] if os.geteuid() == 0 and "-u" not in self.args else []

    def _listen(self) -> list[str]:
        if "-s" in self.args:
            return []
        port = [] if "-p" in self.args else ["-p", "-1"]
        return port if "-l" in self.args else [*port, "-l", "127.0.0.1"]

    def _has_keeper(self) -> bool:
        """The keeper is there and has its slot: it hears SIGTERM only after that."""
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            for child in self.children():
                if child.name() == "pymc: keeper":
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    caught = re.search(r"^SigCgt:\s*(\S+)", status, re.MULTILINE)
                    return caught is not None and bool(
                        int(caught[1], 16) >> (signal.SIGTERM - 1) & 1
                    )
        return False

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(
                f"{self.program.name} ended with {self.process.returncode}:\n{self.stderr}"
            )
        if "-s" not in self.args and not self.ports:
            return False
        try:
            with self.connect() as connection:
                if self._is_binary_only():
                    connection.send(request("version"))
                    return bool(connection.read_exactly(HEADER.size))
                connection.send(b"version\r\n")
                # With -Y or a full house the answer is an error, and an answer all the same.
                return bool(connection.read_line())
        except (OSError, ClosedError):
            return False

    def _is_binary_only(self) -> bool:
        return "binary" in self.args or ("-S" in self.args and "-Y" not in self.args)

    def _pause_pymc(self) -> None:
        with self.connect() as connection:
            connection.ask("debugtime p")

    def _write_clock(self) -> None:
        now = time.gmtime(CLOCK_START + self.clock_seconds)
        fresh = self._clock_file.with_suffix(".new")
        fresh.write_text(time.strftime("%Y-%m-%d %H:%M:%S\n", now))
        fresh.rename(self._clock_file)


class ServerPool:
    """Keeps the servers last used, so that tests with equal flags share one."""

    def __init__(self, servers_max: int = 6) -> None:
        self._servers: dict[tuple[str, tuple[str, ...], bool], Server] = {}
        self._servers_max = servers_max

    def server(self, program: Program, args: Sequence[str] = (), *, clock: bool = False) -> Server:
        """A running server with these flags: a shared one, so a test must not change settings."""
        key = (program.name, tuple(args), clock)
        server = self._servers.pop(key, None)
        if server is not None and server.process.poll() is not None:
            server.stop(check=False)
            server = None
        if server is None:
            server = Server(program, args, clock=clock)
        self._servers[key] = server
        while len(self._servers) > self._servers_max:
            self._servers.pop(next(iter(self._servers))).stop()
        return server

    def close(self) -> None:
        """Ends all servers; raises what the first failing stop() raised."""
        with contextlib.ExitStack() as stack:
            for server in self._servers.values():
                stack.callback(server.stop)
            self._servers.clear()


@contextlib.contextmanager
def server_pool() -> Iterator[ServerPool]:
    """A ServerPool that is closed at the end."""
    pool = ServerPool()
    try:
        yield pool
    finally:
        pool.close()


def _is_living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
