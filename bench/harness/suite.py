"""Runs workloads on several servers in turns, A B A B, and keeps every sample."""

import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from bench.harness import flash, flash_files, flash_writing, measure, openssl, slow_device
from bench.harness.figures import Figures, Settings
from bench.harness.servers import Kind, Limits, Server
from bench.harness.workloads import Bar, Workload

CONNECTIONS_SPARE = 64
SEEDS_PER_ROUND = 1000
# What the line about a round tells, where it was measured.
SHOWN = (
    *(
        "cpu_us",
        "requests_per_second",
        "p50_us",
        "p99_us",
        "start_ms",
        "items",
        "hit_ratio",
        "pss_bytes",
        "flash_share",
        "private_mib",
        "handshakes_per_second",
        "resumed_share",
        "told_share",
    ),
    *("cached_share", "flash_reads_per_second", "device_bytes_per_set_byte"),
    *("found_ratio", "written_mb_per_second"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """The samples of one workload: per server, one set of figures per slice of time."""

    workload: Workload
    samples: dict[str, list[Figures]] = field(default_factory=dict)

    def values(self, server: str, figure: str) -> list[float]:
        """One figure of one server, slice by slice; empty when it was not measured."""
        return [sample[figure] for sample in self.samples.get(server, []) if figure in sample]

    def compare(self, bar: Bar, subject: str) -> list[float] | None:
        """The bar's ratio slice by slice; None when one of the two was not measured.

        Both sides of a ratio come from the same slice, so that drift of the machine cancels.
        """
        ours = self.values(subject, bar.figure)
        if bar.against is None:
            return [bar.value(value, 0.0) for value in ours] or None
        theirs = self.values(bar.against, bar.figure)
        if not ours or not theirs:
            return None
        return [bar.value(a, b) for a, b in zip(ours, theirs, strict=True)]

    def compare_best(self, bar: Bar, subject: str) -> float | None:
        """The bar's ratio of the two servers' best slices, for machines that others disturb."""
        ours = self.values(subject, bar.figure)
        theirs = self.values(bar.against, bar.figure) if bar.against else ours
        if not ours or not theirs:
            return None
        return bar.value(bar.best(ours), bar.best(theirs))


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
    limits = Limits(
        workload.threads,
        workload.memory_mib,
        workload.connections_max,
        unix=workload.unix,
        item_mib=workload.item_mib,
        tls=workload.tls,
        is_mutual=workload.mutual,
    )
    if workload.kind in ("idle", "tls-idle"):
        limits = replace(limits, connections_max=settings.idle_connections + CONNECTIONS_SPARE)
    if workload.kind == "latency":
        settings = replace(settings, rate_per_second=_half_rate(workload, kinds, limits, settings))
    if workload.tls and not settings.own_openssl:
        kinds = [openssl.shared(kind) for kind in kinds]
    variants = [variant for kind in kinds for variant in _variants(workload, kind)]
    result = Result(workload, {kind.name: [] for kind in variants})
    if workload.flash_mib:
        files = sum(variant.flash_paths for variant in variants)
        flash_files.prepare(settings.flash_dir, files * workload.flash_mib << 20)
    for number in range(rounds):
        with ExitStack() as running:
            servers = []
            for kind in variants:
                if workload.flash_mib:
                    tier = flash_files.attached(kind, settings.flash_dir, workload)
                    kind = running.enter_context(tier)
                    bandwidth = workload.device_mb_per_second * 1_000_000
                    kind = running.enter_context(slow_device.slowed(kind, bandwidth))
                servers.append(running.enter_context(Server(kind, limits, server_cores)))
            _run_round(result, servers, replace(settings, seed=number * SEEDS_PER_ROUND + 1))
        _progress(result, number)
    for kind in kinds:
        names = [variant.name for variant in _variants(workload, kind)]
        if workload.paths:
            flash_writing.fold_paths(result.samples, names, workload.paths)
        else:
            flash.fold_best(result.samples, names)
    return result


def _variants(workload: Workload, kind: Kind) -> list[Kind]:
    """The server as it is, and beside it what the row compares it with.

    That is each number of flash files after the first, or memcached with other numbers of threads.
    """
    found = [replace(kind, flash_paths=workload.paths[0] if workload.paths else 1)]
    for count in workload.paths[1:]:
        found.append(replace(kind, name=f"{kind.name}-paths-{count}", flash_paths=count))
    if not kind.name.startswith("memcached"):
        return found
    for count in workload.ext_threads:
        name = f"{kind.name}-ext_threads-{count}"
        arguments = (*kind.arguments, "-o", f"ext_threads={count}")
        found.append(replace(kind, name=name, arguments=arguments))
    return found


def _run_round(result: Result, servers: Sequence[Server], settings: Settings) -> None:
    """Freshly started servers: prepares each, then samples them in turns, slice by slice.

    They all run meanwhile; one that is not asked anything uses next to no CPU.
    """
    workload = result.workload
    measurement = measure.MEASUREMENTS[workload.kind]
    slices = 1
    seconds = settings.seconds
    if measurement.slice_seconds:
        slices = max(1, round(seconds / measurement.slice_seconds))
        seconds /= slices
    for server in servers:
        measurement.prepare(server, workload, replace(settings, seconds=seconds))
    for number in range(slices):
        # Turning the order round each time keeps one server from always following the other.
        order = servers if number % 2 == 0 else list(reversed(servers))
        for server in order:
            timed = replace(settings, seconds=seconds, seed=settings.seed + number)
            figures = measurement.sample(server, workload, timed)
            result.samples[server.kind.name].append(figures)


def _half_rate(
    workload: Workload, kinds: Sequence[Kind], limits: Limits, settings: Settings
) -> float:
    """Half of what the strongest memcached here answers; of the first server without one."""
    by_name = {kind.name: kind for kind in kinds}
    names = ("memcached-newest", "memcached-debian", kinds[0].name)
    reference = next(by_name[name] for name in names if name in by_name)
    with Server(reference, limits, split_cores()[0]) as server:
        return round(measure.top_rate(server, workload, settings) / 2)


def _progress(result: Result, number: int) -> None:
    for name, samples in result.samples.items():
        medians = {
            figure: statistics.median(sample[figure] for sample in samples)
            for figure in SHOWN
            if figure in samples[0]
        }
        text = " ".join(f"{figure}={value:.4g}" for figure, value in medians.items())
        print(f"{result.workload.name} round {number + 1} {name}: {text}", file=sys.stderr)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The range that the middle half of the values lies in."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
