"""What a run of the load generator yields, by name, and how runs are set up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import loadgen

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and where to measure."""

    seconds: float
    client_cores: frozenset[int] | None
    idle_connections: int
    seed: int
    rate_per_second: float = 0.0  # open loop; measured beforehand
    own_openssl: bool = False  # rows over TLS: each server with the library it came with
    flash_dir: Path = Path()  # where servers with a flash tier get their files


def _transferred_mb(report: Mapping[str, Any]) -> float:
    """Both ways, and under TLS before it is encrypted."""
    return (float(report["received_bytes"]) + float(report["sent_bytes"])) / 1e6


def figures_of(sample: loadgen.Sample) -> Figures:
    """What every run of the load generator yields."""
    report = sample.report
    requests = max(1, int(report["requests"]))
    keys = max(1, int(report["keys_read"]) + int(report["sets"]))
    latency = report["latency"]["all"]
    wall_seconds = max(1e-9, sample.wall_seconds)
    return {
        "cpu_us": sample.server_cpu_seconds / requests * 1e6,
        "cpu_user_us": sample.server_user_seconds / requests * 1e6,
        "cpu_key_us": sample.server_cpu_seconds / keys * 1e6,
        "client_cpu_us": float(report["client_cpu_seconds"]) / requests * 1e6,
        "mb_per_cpu_second": _transferred_mb(report) / max(1e-9, sample.server_cpu_seconds),
        "requests": float(report["requests"]),
        "requests_per_second": float(report["requests_per_second"]),
        "hit_ratio": float(report["hit_ratio"]),
        "p50_us": float(latency["p50_us"]),
        "p99_us": float(latency["p99_us"]),
        "p999_us": float(latency["p999_us"]),
        "max_us": float(latency["max_us"]),
        "client_delay_p999_us": float(report["latency"]["client_delay"]["p999_us"]),
        "wall_seconds": sample.wall_seconds,
        "server_busy": sample.server_cpu_seconds / wall_seconds,
        "foreign_busy": sample.foreign_cpu_seconds / wall_seconds,
        "pids_changed": 0.0 if sample.stable_pids else 1.0,
    }
