"""Where a server's time goes by program file, from perf: how much of it is the interpreter's."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.harness import loadgen, processes
from bench.harness.servers import Server

# Files whose samples count as interpreter: Python itself, which the program pymc embeds, and its
# loop. Kernel time counts as the core's: both engines spend it in the same calls.
INTERPRETER_FILES = ("pymc", "python", "libpython", "loop.cpython", "_asyncio", "_cffi_backend")
SAMPLES_PER_SECOND = 999
TIMEOUT_SECONDS = 60


def sample_shares(
    server: Server, arguments: loadgen.Arguments, cores: frozenset[int] | None
) -> tuple[dict[str, float], loadgen.Sample]:
    """Runs load and, meanwhile, perf on all the server's processes: file name to share of samples.

    Raises LoadError when perf may not be used here.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        with _recording(data, processes.tree(server.pid)):
            sample = loadgen.run(server, arguments, cores)
        done = subprocess.run(
            [*("perf", "report", "-i", data, "--stdio", "-q", "--sort", "dso")]
            + ["-F", "overhead,dso", "-t", ","],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    shares = parse_shares(done.stdout)
    if not shares:
        raise loadgen.LoadError(f"perf saw nothing: {done.stderr.strip()[-200:]}")
    return shares, sample


@contextmanager
def _recording(data: str, pids: Iterable[int]) -> Iterator[None]:
    """perf watches the processes within the block: it starts disabled and says when it counts."""
    control_read, control_write = os.pipe()
    answer_read, answer_write = os.pipe()
    # cpu-clock needs no hardware counters, which virtual machines often lack.
    record = subprocess.Popen(
        ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-o", data]
        + ["-p", ",".join(map(str, sorted(pids))), "-D", "-1"]
        + [f"--control=fd:{control_read},{answer_write}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(control_read, answer_write),
    )
    os.close(control_read)
    os.close(answer_write)
    try:
        os.write(control_write, b"enable\n")
        if not os.read(answer_read, 16).startswith(b"ack"):
            raise loadgen.LoadError("perf may not record here")
        yield
    finally:
        # SIGINT is what makes perf write its file out.
        record.send_signal(signal.SIGINT)
        record.wait(TIMEOUT_SECONDS)
        os.close(control_write)
        os.close(answer_read)


def parse_shares(text: str) -> dict[str, float]:
    """perf's lines `12.34%,file` as file to share."""
    shares: dict[str, float] = {}
    for line in text.splitlines():
        percent, comma, name = line.strip().partition(",")
        percent = percent.strip()
        if comma and percent.endswith("%"):
            shares[name.strip()] = shares.get(name.strip(), 0.0) + float(percent[:-1]) / 100
    return shares


def interpreter_share(shares: dict[str, float]) -> float:
    """The part of all samples that fell into the interpreter's files."""
    return sum(share for name, share in shares.items() if name.startswith(INTERPRETER_FILES))
