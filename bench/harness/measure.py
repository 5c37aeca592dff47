"""The measurements: each drives one freshly started server and returns figures by name."""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.harness import (
    answers,
    flash,
    flash_writing,
    interpreter,
    loadgen,
    processes,
    secure,
    text_client,
)
from bench.harness.figures import Figures, Settings, figures_of
from bench.harness.servers import Server
from bench.harness.workloads import Arguments, Workload

FILL_STEPS = 40
FILL_AFTER_EVICTION_STEPS = 4
READ_BACK_TOLERANCE = 0.01
IDLE_WARM_CONNECTIONS = 16
CONNECTIONS_PER_SOURCE = 20_000
WARM_SECONDS = 0.3
# So long must nothing change until a server counts as started.
EMPTY_PAUSE_SECONDS = 1.0
TOP_RATE_RUNS = 5
# Servers take turns this often: a virtual machine's speed drifts within seconds, and only what
# was measured at the same time can be compared. The tail needs enough requests in one slice.
CLOSED_SLICE_SECONDS = 0.5
LATENCY_SLICE_SECONDS = 2.0
FLASH_SLICE_SECONDS = 1.0
# At a hundred requests a second a shorter one says nothing.
RATE_SLICE_SECONDS = 2.0
START_SLICE_SECONDS = 0.5
# Half of it is a storm of handshakes alone; then come GETs without one, and beside one.
HANDSHAKE_SLICE_SECONDS = 2.0


def load_keys(server: Server, data: Arguments, settings: Settings) -> None:
    """SETs every key once and waits until the server has settled."""
    arguments = {"connections": 8, "pipeline": 32, **data, "load": True}
    loadgen.run(server, arguments, settings.client_cores)
    text_client.wait_until_settled(server.endpoint)


def warm_up(server: Server, workload: Workload, settings: Settings) -> None:
    """Fills the server with all keys and lets it serve the workload for a moment."""
    load_keys(server, workload.data, settings)
    rate = {"rate": settings.rate_per_second} if settings.rate_per_second else {}
    arguments = {**workload.data, **workload.run, **rate, "seed": settings.seed}
    warm = {**arguments, "seconds": min(settings.seconds, WARM_SECONDS)}
    loadgen.run(server, warm, settings.client_cores)


def load_workload(server: Server, workload: Workload, settings: Settings) -> None:
    """Fills the server with all keys."""
    load_keys(server, workload.data, settings)


def closed(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Requests for keys that are all there, closed loop or at a rate: CPU per request."""
    arguments = {**workload.data, **workload.run, "seed": settings.seed}
    timed = {**arguments, "seconds": settings.seconds}
    sample = loadgen.run(server, timed, settings.client_cores)
    if sample.report["misses"]:
        raise loadgen.LoadError(f"{server.kind.label}: {sample.report['misses']} keys were lost")
    return figures_of(sample)


def latency(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Open loop at a fixed rate; latency counts from the time a request should have been sent."""
    arguments = {**workload.data, **workload.run, "seed": settings.seed}
    timed = {**arguments, "rate": settings.rate_per_second, "seconds": settings.seconds}
    figures = figures_of(loadgen.run(server, timed, settings.client_cores))
    return {**figures, "rate_per_second": settings.rate_per_second}


def watched(server: Server, workload: Workload, settings: Settings) -> Figures:
    """As closed(), beside a connection that watches; also how much of all that happened it got."""
    before = text_client.stats(server.endpoint)
    figures = closed(server, workload, settings)
    after = text_client.stats(server.endpoint)
    sent, skipped, dropped = (
        int(after[name]) - int(before[name])
        for name in ("log_watcher_sent", "log_watcher_skipped", "log_worker_dropped")
    )
    return {**figures, "told_share": sent / max(1, sent + skipped + dropped)}


def start(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Another server of the same kind, from its exec to its first answer."""
    with Server(server.kind, server.limits, server.cores) as fresh:
        cpu_seconds = processes.cpu(fresh.pid).seconds
        return {"start_ms": fresh.start_seconds * 1e3, "start_cpu_ms": cpu_seconds * 1e3}


def top_rate(server: Server, workload: Workload, settings: Settings) -> float:
    """Requests per second the server answers in a closed loop of the same requests: a median."""
    load_keys(server, workload.data, settings)
    run = {k: v for k, v in workload.run.items() if k not in ("spin", "arrival")}
    seconds = min(settings.seconds, CLOSED_SLICE_SECONDS)
    arguments = {**workload.data, **run, "seconds": seconds, "seed": settings.seed}
    rates = [
        float(loadgen.run(server, arguments, settings.client_cores).report["requests_per_second"])
        for _ in range(TOP_RATE_RUNS)
    ]
    return statistics.median(rates)


def capacity(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Fills the server past its first evictions, then counts the items, and reads them back."""
    keys = int(workload.data["keys"])
    step = max(1, keys // FILL_STEPS)
    stored = steps_left = 0
    evicting = False
    while stored < keys and not (evicting and steps_left == 0):
        data = {**workload.data, "key-first": stored, "keys": min(step, keys - stored)}
        arguments = {"connections": 8, "pipeline": 32, **data, "load": True}
        loadgen.run(server, arguments, settings.client_cores)
        stored += int(data["keys"])
        if evicting:
            steps_left -= 1
        elif int(text_client.stats(server.port).get("evictions", "0")) > 0:
            evicting, steps_left = True, FILL_AFTER_EVICTION_STEPS
    counters = text_client.stats(server.port)
    items = int(counters["curr_items"])
    if not evicting:
        raise loadgen.LoadError(f"{server.kind.label}: {stored} items and nothing was evicted")
    data = {**workload.data, "keys": stored, "popularity": "sequential", "requests": stored}
    arguments = {"connections": 8, "pipeline": 32, **data}
    found = int(loadgen.run(server, arguments, settings.client_cores).report["hits"])
    if abs(found - items) > items * READ_BACK_TOLERANCE:
        raise loadgen.LoadError(f"{server.kind.label}: claims {items} items, {found} were found")
    memory = processes.memory(server.pid)
    return {
        "items": float(items),
        "items_found": float(found),
        "stored": float(stored),
        "pss_mib": memory.pss_bytes / 2**20,
    }


def hit_ratio(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Read-through until warm, then the share of hits over as many requests again."""
    arguments = {**workload.data, **workload.run}
    loadgen.run(server, {**arguments, "seed": settings.seed}, settings.client_cores)
    measured = {**arguments, "seed": settings.seed + 1}
    figures = figures_of(loadgen.run(server, measured, settings.client_cores))
    items = float(text_client.stats(server.port)["curr_items"])
    return {**figures, "items": items, "pss_mib": processes.memory(server.pid).pss_bytes / 2**20}


def replay(server: Server, workload: Workload, settings: Settings) -> Figures:
    """A recorded trace, once and in order, on a server that starts empty."""
    arguments = {**workload.data, **workload.run, "seed": settings.seed}
    figures = figures_of(loadgen.run(server, arguments, settings.client_cores))
    items = float(text_client.stats(server.port)["curr_items"])
    return {**figures, "items": items, "pss_mib": processes.memory(server.pid).pss_bytes / 2**20}


def idle(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Memory that connections take which have sent one request and then nothing more."""
    count = settings.idle_connections
    with ExitStack() as open_connections:
        _open_idle(server.port, IDLE_WARM_CONNECTIONS, open_connections)
        before = processes.memory(server.pid)
        _open_idle(server.port, count, open_connections)
        after = processes.memory(server.pid)
    return {
        "connections": float(count),
        "pss_bytes": (after.pss_bytes - before.pss_bytes) / count,
        "rss_bytes": (after.rss_bytes - before.rss_bytes) / count,
        "pss_base_mib": before.pss_bytes / 2**20,
    }


def empty(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Memory of a server without items, once nothing is loaded any more."""
    before, now = -1, processes.memory(server.pid)
    while before != now.pss_bytes:
        before = now.pss_bytes
        time.sleep(EMPTY_PAUSE_SECONDS)
        now = processes.memory(server.pid)
    return {"pss_mib": now.pss_bytes / 2**20, "private_mib": now.private_bytes_max / 2**20}


def _open_idle(port: int, count: int, stack: ExitStack) -> None:
    for index in range(count):
        # A source address has fewer than 30,000 ports towards one server port.
        source = f"127.0.0.{1 + index // CONNECTIONS_PER_SOURCE}"
        client = stack.enter_context(text_client.Client(port, source=source))
        client.send(b"get nothing-%d\r\n" % index)
        if client.read_line() != b"END":
            raise loadgen.WrongValueError("an unknown key was found")


def memtier(server: Server, workload: Workload, settings: Settings) -> Figures:
    """The same question asked by memtier_benchmark, which must be on PATH."""
    keys = int(workload.data["keys"])
    common = [
        *("memtier_benchmark", "-P", "memcache_text", "-s", "127.0.0.1", "-p", str(server.port)),
        *("--threads=1", "--clients=50", "--data-size=100", f"--key-maximum={keys}"),
        "--hide-histogram",
    ]
    filling = [f"--requests={keys // 50}", "--ratio=1:0", "--key-pattern=P:P"]
    _run_memtier([*common, *filling], settings)
    before = processes.cpu(server.pid)
    measured = [
        f"--test-time={max(1, round(settings.seconds))}",
        f"--ratio={workload.run['ratio']}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "memtier.json"
        _run_memtier([*common, *measured, f"--json-out-file={out}"], settings)
        totals = json.loads(out.read_text())["ALL STATS"]["Totals"]
    after = processes.cpu(server.pid)
    # Older releases report no count.
    requests = float(totals.get("Count") or totals["Ops/sec"] * max(1, round(settings.seconds)))
    return {
        "cpu_us": (after.seconds - before.seconds) / requests * 1e6,
        "requests": requests,
        "requests_per_second": float(totals["Ops/sec"]),
    }


def lacking_tool(kind: str) -> str | None:
    """The program that this kind of measurement needs and that is not on PATH."""
    needed = {"memtier": "memtier_benchmark", "interpreter": "perf"}.get(kind)
    return needed if needed and not shutil.which(needed) else None


def _run_memtier(command: list[str], settings: Settings) -> None:
    cores = settings.client_cores
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    if done.returncode != 0:
        raise loadgen.LoadError(f"memtier_benchmark failed: {done.stderr.strip()[-300:]}")


def interpreter_share(server: Server, workload: Workload, settings: Settings) -> Figures:
    """The interpreter's share of the server's CPU time, told by perf."""
    arguments = {**workload.data, **workload.run, "seed": settings.seed}
    timed = {**arguments, "seconds": settings.seconds}
    shares, sample = interpreter.sample_shares(server, timed, settings.client_cores)
    return {
        **figures_of(sample),
        "interpreter_share": interpreter.interpreter_share(shares),
        "kernel_share": shares.get("[kernel.kallsyms]", 0.0),
    }


def nothing(server: Server, workload: Workload, settings: Settings) -> None:
    """For measurements that bring a fresh server to the state they need."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """How a kind of workload is measured: one preparation, then one or more slices of time.

    Without slice_seconds there is one sample per started server.
    """

    sample: Callable[[Server, Workload, Settings], Figures]
    prepare: Callable[[Server, Workload, Settings], None] = nothing
    slice_seconds: float | None = None


MEASUREMENTS: dict[str, Measurement] = {
    "closed": Measurement(closed, warm_up, CLOSED_SLICE_SECONDS),
    "watch": Measurement(watched, warm_up, CLOSED_SLICE_SECONDS),
    "rate": Measurement(closed, warm_up, RATE_SLICE_SECONDS),
    "start": Measurement(start, nothing, START_SLICE_SECONDS),
    "latency": Measurement(latency, warm_up, LATENCY_SLICE_SECONDS),
    "capacity": Measurement(capacity),
    "hit-ratio": Measurement(hit_ratio),
    "replay": Measurement(replay),
    "idle": Measurement(idle),
    "empty": Measurement(empty),
    "handshakes": Measurement(secure.handshakes, warm_up, HANDSHAKE_SLICE_SECONDS),
    "tls-idle": Measurement(secure.idle, secure.load),
    "memtier": Measurement(memtier),
    "dump": Measurement(answers.gets_beside_dump, load_workload, LATENCY_SLICE_SECONDS),
    "stats": Measurement(answers.gets_beside_stats, warm_up, LATENCY_SLICE_SECONDS),
    "interpreter": Measurement(interpreter_share, warm_up),
    "flash-get": Measurement(flash.gets, flash.prepare_gets, FLASH_SLICE_SECONDS),
    "flash-items": Measurement(flash.items),
    "flash-latency": Measurement(flash.hits, flash.prepare_hits, LATENCY_SLICE_SECONDS),
    "flash-stuck": Measurement(flash.hits_beside_stuck_path),
    "flash-writes": Measurement(flash.writes),
    "flash-fill": Measurement(flash_writing.fills),
    "flash-paths": Measurement(flash_writing.bandwidth, flash_writing.prepare_bandwidth),
}
