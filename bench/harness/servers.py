"""Starting and stopping the servers under test, on free ports and pinned to a core."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.harness import certificates, processes, text_client
from scripts import peers

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 5
START_TRIES = 3
POLL_SECONDS = 0.02
START_POLL_SECONDS = 0.001


class ServerError(Exception):
    """A server cannot be found, started or reached."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A server program: how it is called here and in tables, and its extra arguments."""

    name: str
    label: str
    program: Path
    arguments: tuple[str, ...] = ()
    flash_file: Path | None = None  # made and removed by whoever starts the server
    stuck_file: Path | None = None  # a second one whose reads can be made to hang
    flash_paths: int = 1  # files of the tier, all of one size; flash_file is the first
    environment: tuple[tuple[str, str], ...] = ()  # beside what this process has

    @property
    def is_pymc(self) -> bool:
        """Also of one that runs beside others with another number of files."""
        return self.name.startswith("pymc")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a workload asks of a server."""

    threads: int = 1
    memory_mib: int = 1024
    connections_max: int = 1024
    unix: bool = False  # listens on a unix socket instead of a port
    item_mib: int = 0
    tls: str = ""  # kind of the certificate's key; "": plain connections
    is_mutual: bool = False  # clients must show a certificate


def memcached_flags(limits: Limits, endpoint: text_client.Endpoint) -> list[str]:
    """memcached's command line, which is pymc's as well."""
    if isinstance(endpoint, str):
        flags = ["-s", endpoint, "-a", "0700"]
    elif isinstance(endpoint, int):
        flags = ["-l", "127.0.0.1", "-p", str(endpoint), "-U", "0"]
    else:
        flags = ["-l", "127.0.0.1", "-p", str(endpoint.port), "-U", "0", "-Z"]
        flags += ["-o", endpoint.certificates.options(endpoint.is_mutual)]
    flags += ["-t", str(limits.threads), "-m", str(limits.memory_mib)]
    flags += ["-c", str(limits.connections_max)]
    flags += ["-I", f"{limits.item_mib}m"] if limits.item_mib else []
    # Started by root, memcached wants to be told whom to run as.
    return flags + (["-u", "root"] if os.geteuid() == 0 else [])


def pogocache_flags(limits: Limits, port: text_client.Endpoint) -> list[str]:
    """pogocache's spelling of the same limits."""
    return [
        *("-h", "127.0.0.1", "-p", str(port), "--threads", str(limits.threads)),
        *("--maxmemory", f"{limits.memory_mib}mb", "--maxconns", str(limits.connections_max)),
    ]


def find_kinds(
    names: Sequence[str], pymc: Path, extra: Mapping[str, str], fetch: bool
) -> tuple[list[Kind], list[str]]:
    """The servers asked for that are here, and a note for each that is not.

    `extra` maps a name to further arguments for that server, in one string; "" means all servers.
    With `fetch`, missing memcacheds are fetched.
    """
    found: list[Kind] = []
    notes: list[str] = []
    for name in names:
        try:
            program = _find_program(name, pymc, fetch)
        except (ServerError, peers.PeerError) as error:
            notes.append(f"{name}: {error}")
            continue
        arguments = shlex.split(extra.get("", "")) + shlex.split(extra.get(name, ""))
        found.append(Kind(name, _label(name, program), program, tuple(arguments)))
    return found, notes


def _find_program(name: str, pymc: Path, fetch: bool) -> Path:
    if name == "pymc":
        if not pymc.is_file():
            raise ServerError(f"{pymc} is not there; make build")
        return pymc
    if name == "pogocache":
        found = shutil.which(name)
        if not found:
            raise ServerError("not on PATH")
        return Path(found)
    newest = name == "memcached-newest"
    if fetch:
        return peers.fetch_newest() if newest else peers.fetch_debian()
    program = peers.find_newest() if newest else peers.find_debian()
    if program is None:
        raise ServerError("not here; scripts/peers.py fetches it")
    return program


def _label(name: str, program: Path) -> str:
    if not name.startswith("memcached"):
        return name
    version = peers.version_of(program)
    return "memcached " + ".".join(map(str, version)) if version else name


def free_port() -> int:
    """A TCP port that the kernel says is free; another process may still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running server; leaving the `with` block ends it with all its processes."""

    def __init__(self, kind: Kind, limits: Limits, cores: frozenset[int] | None) -> None:
        self.kind = kind
        self.limits = limits
        self.cores = cores
        self.port = 0
        self.start_seconds = 0.0
        self._folder = tempfile.TemporaryDirectory(prefix="pymc-bench-")
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()

    @property
    def endpoint(self) -> text_client.Endpoint:
        """Where clients find it."""
        if self.limits.unix:
            return f"{self._folder.name}/socket"
        if self.limits.tls:
            held = certificates.made(self.limits.tls)
            return certificates.TlsPort(self.port, held, self.limits.is_mutual)
        return self.port

    @property
    def pid(self) -> int:
        """Pid of the process that was started; the others are below it."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        # Between asking for a free port and binding it, someone else may take it.
        for attempt in range(1, START_TRIES + 1):
            try:
                self._start()
                return self
            except ServerError:
                self._stop()
                if attempt == START_TRIES:
                    raise
            except BaseException:
                self._stop()
                raise
        raise AssertionError("unreachable")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._log.close()
        self._folder.cleanup()

    def _start(self) -> None:
        self.port = free_port()
        flags = pogocache_flags if self.kind.name == "pogocache" else memcached_flags
        command = [str(self.kind.program), *flags(self.limits, self.endpoint), *self.kind.arguments]
        cores = self.cores
        self._log.seek(0)
        self._log.truncate()
        started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **dict(self.kind.environment)},
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        while not text_client.answers(self.endpoint):
            if self._process.poll() is not None or time.monotonic() > started + START_SECONDS_MAX:
                raise ServerError(f"{shlex.join(command)} does not answer: {self._log_tail()}")
            time.sleep(START_POLL_SECONDS)
        self.start_seconds = time.monotonic() - started

    def _log_tail(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-500:].strip() or "(it said nothing)"

    def _stop(self) -> None:
        """Ends all its processes; those that outlive the deadline are killed."""
        if self._process is None:
            return
        pids = processes.tree(self._process.pid)
        # memcached may take a second to hear SIGTERM and has nothing to lose; pymc has children.
        self._process.send_signal(signal.SIGTERM if self.kind.is_pymc else signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while time.monotonic() < deadline:
            self._process.poll()
            if not processes.alive(pids):
                break
            time.sleep(POLL_SECONDS)
        for pid in processes.alive(pids):
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
