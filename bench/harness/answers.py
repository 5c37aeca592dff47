"""GETs at a fixed rate beside long answers: a dump of all keys, and twenty `stats` a second."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.harness import loadgen, processes, text_client
from bench.harness.figures import Figures, Settings, figures_of
from bench.harness.servers import Server
from bench.harness.workloads import Workload

STATS_CALLS = 1000
STATS_PAUSE_SECONDS = 0.05
DUMP_COMMAND = b"lru_crawler metadump all\r\n"


@dataclass
class _Beside:
    """Seconds that each answer took, and whether to go on asking."""

    seconds: list[float] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)
    problems: list[str] = field(default_factory=list)


def gets_beside_dump(server: Server, workload: Workload, settings: Settings) -> Figures:
    """One dump after the other, read as fast as it comes."""

    def dump(client: text_client.Client) -> None:
        client.send(DUMP_COMMAND)
        client.read_until(b"END\r\n")

    with _beside(server, settings, dump, 0.0) as beside:
        figures = _gets(server, workload, settings)
    return {**figures, "dump_seconds": statistics.median(beside.seconds)}


def gets_beside_stats(server: Server, workload: Workload, settings: Settings) -> Figures:
    """What a `stats` costs the server, and what GETs feel of it."""

    def ask(client: text_client.Client) -> None:
        client.stats()

    with text_client.Client(server.port) as client:
        ask(client)
        before = processes.cpu(server.pid).seconds
        for _ in range(STATS_CALLS):
            ask(client)
        stats_seconds = processes.cpu(server.pid).seconds - before
    with _beside(server, settings, ask, STATS_PAUSE_SECONDS):
        figures = _gets(server, workload, settings)
    return {**figures, "stats_cpu_us": stats_seconds / STATS_CALLS * 1e6}


def _gets(server: Server, workload: Workload, settings: Settings) -> Figures:
    arguments = {**workload.data, **workload.run, "seed": settings.seed}
    timed = {**arguments, "seconds": settings.seconds}
    return figures_of(loadgen.run(server, timed, settings.client_cores, first=True))


@contextmanager
def _beside(
    server: Server,
    settings: Settings,
    ask: Callable[[text_client.Client], None],
    pause_seconds: float,
) -> Iterator[_Beside]:
    """Asks again and again from a thread on the client's core; ends when the answer is whole."""
    beside = _Beside()

    def run() -> None:
        if settings.client_cores:
            os.sched_setaffinity(threading.get_native_id(), settings.client_cores)
        try:
            with text_client.Client(server.port, timeout_seconds=60) as client:
                while not beside.is_over.wait(pause_seconds):
                    started = time.monotonic()
                    ask(client)
                    beside.seconds.append(time.monotonic() - started)
        except OSError as error:
            beside.problems.append(f"{server.kind.label}: {error}")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield beside
    finally:
        beside.is_over.set()
        thread.join()
    if beside.problems or not beside.seconds:
        raise loadgen.LoadError(beside.problems[0] if beside.problems else "nothing was answered")
