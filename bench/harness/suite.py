"""Runs workloads on several servers in turns, A B A B, and keeps every sample."""

import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bench.harness import measure
from bench.harness.measure import Figures, Settings
from bench.harness.servers import Kind, Limits, Server
from bench.harness.workloads import Bar, Workload

CONNECTIONS_SPARE = 64


@dataclass(frozen=True, slots=True)
class Result:
    """The samples of one workload: per server, one set of figures per round."""

    workload: Workload
    samples: dict[str, list[Figures]] = field(default_factory=dict)

    def values(self, server: str, figure: str) -> list[float]:
        """One figure of one server, round by round; empty when it was not measured."""
        return [sample[figure] for sample in self.samples.get(server, []) if figure in sample]

    def compare(self, bar: Bar, subject: str) -> list[float] | None:
        """The bar's ratio round by round; None when one of the two was not measured.

        Both sides of a ratio come from the same round, so that slow drift of the machine cancels.
        """
        ours = self.values(subject, bar.figure)
        if bar.against is None:
            return [bar.value(value, 0.0) for value in ours] or None
        theirs = self.values(bar.against, bar.figure)
        if not ours or not theirs:
            return None
        return [bar.value(a, b) for a, b in zip(ours, theirs, strict=True)]


def split_cores() -> tuple[frozenset[int] | None, frozenset[int] | None]:
    """One core for the server and another for the client; no pinning where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None, None
    return frozenset(cores[:1]), frozenset(cores[1:2])


def run_workload(
    workload: Workload, kinds: Sequence[Kind], rounds: int, settings: Settings
) -> Result:
    """All rounds of one workload. Raises LoadError, WrongValueError or ServerError."""
    server_cores, client_cores = split_cores() if workload.pinned else (None, None)
    settings = replace(settings, client_cores=client_cores)
    limits = Limits(workload.threads, workload.memory_mib, workload.connections_max)
    if workload.kind == "idle":
        limits = replace(limits, connections_max=settings.idle_connections + CONNECTIONS_SPARE)
    if workload.kind == "latency":
        settings = replace(settings, rate_per_second=_half_rate(workload, kinds, limits, settings))
    measurement = measure.MEASUREMENTS[workload.kind]
    result = Result(workload, {kind.name: [] for kind in kinds})
    for number in range(rounds):
        # Turning the order round each time keeps one server from always following the other.
        order = list(kinds) if number % 2 == 0 else list(reversed(kinds))
        for kind in order:
            with Server(kind, limits, server_cores) as server:
                figures = measurement(server, workload, replace(settings, seed=number * 2 + 1))
            result.samples[kind.name].append(figures)
            _progress(workload, kind, number, figures)
    return result


def _half_rate(
    workload: Workload, kinds: Sequence[Kind], limits: Limits, settings: Settings
) -> float:
    """Half of what the strongest memcached here answers; of the first server without one."""
    by_name = {kind.name: kind for kind in kinds}
    names = ("memcached-newest", "memcached-debian", kinds[0].name)
    reference = next(by_name[name] for name in names if name in by_name)
    with Server(reference, limits, split_cores()[0]) as server:
        return round(measure.top_rate(server, workload, settings) / 2)


def _progress(workload: Workload, kind: Kind, number: int, figures: Figures) -> None:
    shown = ("cpu_us", "requests_per_second", "p99_us", "items", "hit_ratio", "pss_bytes")
    text = " ".join(f"{name}={figures[name]:.4g}" for name in shown if name in figures)
    print(f"{workload.name} round {number + 1} {kind.label}: {text}", file=sys.stderr, flush=True)


def spread(values: Sequence[float]) -> float:
    """Half of the range between smallest and largest, as a share of the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0
