"""Building and running the load generator, and reading the server's CPU around its requests."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench.harness import processes
from bench.harness.certificates import TlsPort
from bench.harness.servers import Server
from bench.harness.text_client import Endpoint

BENCH = Path(__file__).resolve().parent.parent
PROGRAM = BENCH / "build" / "loadgen"
# The one that OpenSSL and every client of today agree on; both servers get the same.
TLS_CIPHER = "TLS_AES_256_GCM_SHA384"

Arguments = Mapping[str, int | float | str | bool]


class LoadError(Exception):
    """The load generator cannot be built, or the server let it down."""


class WrongValueError(LoadError):
    """The server answered with a wrong value or with something the protocol does not allow."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: what the load generator reported, and the CPU used meanwhile."""

    report: dict[str, Any]
    server_cpu_seconds: float
    server_user_seconds: float
    foreign_cpu_seconds: float
    wall_seconds: float
    stable_pids: bool


def build() -> None:
    """Compiles the load generator when its sources have changed. Raises LoadError."""
    if not shutil.which("make"):
        raise LoadError("make is needed to build the load generator")
    done = subprocess.run(["make", "-s", "-C", str(BENCH)], capture_output=True, text=True)
    if done.returncode != 0:
        raise LoadError(f"the load generator does not build:\n{done.stderr}")


def command(endpoint: Endpoint, arguments: Arguments) -> list[str]:
    """The command line; True makes a bare flag, False leaves it out."""
    words = [str(PROGRAM), *_place(endpoint)]
    for name, value in arguments.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not False:
            words += [f"--{name}", str(value)]
    return words


def _place(endpoint: Endpoint) -> list[str]:
    if isinstance(endpoint, str):
        return ["--unix", endpoint]
    if isinstance(endpoint, int):
        return ["--port", str(endpoint)]
    return ["--port", str(endpoint.port), *_tls_words(endpoint)]


def _tls_words(endpoint: TlsPort) -> list[str]:
    words = ["--tls", "--tls-cipher", TLS_CIPHER]
    if endpoint.is_mutual:
        held = endpoint.certificates
        words += ["--tls-cert", str(held.chain("client")), "--tls-key", str(held.key("client"))]
    return words


def on_cores(cores: frozenset[int] | None, first: bool = False) -> Callable[[], None] | None:
    """What a new process calls to run on `cores` only; `first`: before others there, if allowed."""
    if cores is None:
        return None

    def apply() -> None:
        os.sched_setaffinity(0, cores)
        if first:
            with suppress(PermissionError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    return apply


def run(
    server: Server, arguments: Arguments, cores: frozenset[int] | None, first: bool = False
) -> Sample:
    """Runs it against `server`, itself on `cores`; readings enclose the requests only.

    `first` lets it preempt other load on the same cores.

    Raises WrongValueError for wrong values, LoadError when the run did not come to its end.
    """
    words = command(server.endpoint, {**arguments, "gate": True})
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=on_cores(cores, first),
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        text, readings = _run_gated(process.stdin, process.stdout, server.pid)
        process.stdin.close()
        problem = process.stderr.read().strip()
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    if code != 0:
        raise (WrongValueError if code == 1 else LoadError)(f"{server.kind.label}: {problem}")
    return _sample(parse_report(text), *readings)


def parse_report(text: str) -> dict[str, Any]:
    """What the load generator printed."""
    report: dict[str, Any] = json.loads(text)
    return report


@dataclass(frozen=True, slots=True)
class _Reading:
    cpu: processes.Cpu
    busy_seconds: float
    time_seconds: float


def _read(pid: int) -> _Reading:
    return _Reading(processes.cpu(pid), processes.machine_busy_seconds(), time.monotonic())


def _run_gated(
    stdin: IO[str], stdout: IO[str], server_pid: int
) -> tuple[str, tuple[_Reading, _Reading]]:
    """Opens the gate once connected; the report's last line is a lone closing brace."""
    if stdout.readline() != "ready\n":
        # Its message and exit code say why.
        reading = _read(server_pid)
        return "{}", (reading, reading)
    before = _read(server_pid)
    stdin.write("\n")
    stdin.flush()
    lines = []
    for line in stdout:
        lines.append(line)
        if line == "}\n":
            break
    return "".join(lines), (before, _read(server_pid))


def _sample(report: dict[str, Any], before: _Reading, after: _Reading) -> Sample:
    server_seconds = after.cpu.seconds - before.cpu.seconds
    busy_seconds = after.busy_seconds - before.busy_seconds
    foreign_seconds = busy_seconds - server_seconds - float(report["client_cpu_seconds"])
    return Sample(
        report=report,
        server_cpu_seconds=server_seconds,
        server_user_seconds=after.cpu.user_seconds - before.cpu.user_seconds,
        foreign_cpu_seconds=max(0.0, foreign_seconds),
        wall_seconds=after.time_seconds - before.time_seconds,
        stable_pids=before.cpu.pids == after.cpu.pids,
    )
