"""Measurements over TLS: handshakes, what others feel of them, and memory of idle connections."""

import subprocess
import time
from contextlib import ExitStack

from bench.harness import loadgen, processes, text_client
from bench.harness.figures import Figures, Settings, figures_of
from bench.harness.servers import Server
from bench.harness.workloads import Workload

STORM_LEAD_SECONDS = 0.2
WARM_CONNECTIONS = 16
# Buffers may stay with a connection for a moment after it was used.
SETTLING_SECONDS = 4.0
CONNECTIONS_PER_SOURCE = 20_000
# The load generator's first key of 16 bytes.
FIRST_KEY = b"k000000000000000"


def load(server: Server, workload: Workload, settings: Settings) -> None:
    """SETs every key once."""
    loadgen.run(server, {**workload.data, "load": True}, settings.client_cores)


def handshakes(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Connections that come, ask once and go; then the latency of others beside them.

    Half of the time goes to each. Both are closed loop, so a faster server is asked for more.
    """
    seconds = settings.seconds / 2
    storm = {**workload.data, **workload.background, "seed": settings.seed}
    alone = loadgen.run(server, {**storm, "seconds": seconds}, settings.client_cores)
    report = alone.report
    full, resumed = int(report["full_handshakes"]), int(report["resumed_handshakes"])
    count = max(1, full + resumed)
    elapsed_seconds = max(1e-9, float(report["elapsed_seconds"]))
    gets = {**workload.data, **workload.run, "seed": settings.seed, "seconds": seconds}
    calm = loadgen.run(server, gets, settings.client_cores, first=True)
    beside = _beside_storm(server, storm, gets, settings)
    handshake = report["latency"]["handshake"]
    return {
        **figures_of(beside),
        "handshakes_per_second": (full + resumed) / elapsed_seconds,
        "handshake_cpu_us": alone.server_cpu_seconds / count * 1e6,
        "handshake_client_cpu_us": float(report["client_cpu_seconds"]) / count * 1e6,
        "resumed_share": resumed / count,
        "handshake_p50_us": float(handshake["p50_us"]),
        "handshake_p99_us": float(handshake["p99_us"]),
        "p99_calm_us": float(calm.report["latency"]["all"]["p99_us"]),
        "foreign_busy": alone.foreign_cpu_seconds / max(1e-9, alone.wall_seconds),
    }


def _beside_storm(
    server: Server, storm: loadgen.Arguments, gets: loadgen.Arguments, settings: Settings
) -> loadgen.Sample:
    """The measured client, scheduled before the one that makes the storm where that is allowed."""
    words = {**storm, "seconds": float(gets["seconds"]) + 2 * STORM_LEAD_SECONDS}
    behind = subprocess.Popen(
        loadgen.command(server.endpoint, words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=loadgen.on_cores(settings.client_cores),
    )
    try:
        time.sleep(STORM_LEAD_SECONDS)
        sample = loadgen.run(server, gets, settings.client_cores, first=True)
        _, problem = behind.communicate()
    finally:
        behind.kill()
        behind.communicate()
    if behind.returncode:
        error = loadgen.WrongValueError if behind.returncode == 1 else loadgen.LoadError
        raise error(f"{server.kind.label}: the storm: {problem.strip()}")
    return sample


def idle(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Memory of connections that have read one large value and then say nothing more."""
    count = settings.idle_connections
    with ExitStack() as stack:
        _open_and_get(server, workload, WARM_CONNECTIONS, stack)
        before = processes.memory(server.pid)
        _open_and_get(server, workload, count, stack)
        after = _settled(server)
    return {
        "connections": float(count),
        "pss_bytes": (after.pss_bytes - before.pss_bytes) / count,
        "rss_bytes": (after.rss_bytes - before.rss_bytes) / count,
        "pss_base_mib": before.pss_bytes / 2**20,
    }


def _settled(server: Server) -> processes.Memory:
    """Memory once the server gives no more of it back."""
    before, now = processes.memory(server.pid), None
    while now is None or now.pss_bytes < before.pss_bytes:
        before = now or before
        time.sleep(SETTLING_SECONDS)
        now = processes.memory(server.pid)
    return now


def _open_and_get(server: Server, workload: Workload, count: int, stack: ExitStack) -> None:
    value_bytes = int(workload.data["value-bytes"])
    reply_bytes = len(b"VALUE %s 0 %d\r\n\r\nEND\r\n" % (FIRST_KEY, value_bytes)) + value_bytes
    for index in range(count):
        # A source address has fewer than 30,000 ports towards one server port.
        source = f"127.0.0.{1 + index // CONNECTIONS_PER_SOURCE}"
        client = stack.enter_context(text_client.Client(server.endpoint, source=source))
        client.send(b"get %s\r\n" % FIRST_KEY)
        if client.read_until(b"\r\nEND\r\n") != reply_bytes:
            raise loadgen.WrongValueError(f"{server.kind.label}: not the value that was stored")
