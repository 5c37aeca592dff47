"""The report: figures of every server, ratios against the bars, and the same as JSON."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.harness.servers import ROOT, Kind
from bench.harness.suite import Result, quartiles
from bench.harness.workloads import Bar

FOREIGN_BUSY_MAX = 0.05  # of one core
# A client that is itself descheduled sends late, and that counts as the server's latency.
CLIENT_DELAY_SHARE_MAX = 0.25
# Below this, clock ticks of 10 ms and the readings themselves look like somebody else's work.
FOREIGN_WALL_SECONDS_MIN = 0.4
# What each kind of workload shows; JSON has all figures.
SHOWN = {
    "closed": ("cpu_us", "cpu_key_us", "requests_per_second", "p99_us"),
    "watch": ("cpu_us", "requests_per_second", "p99_us", "told_share"),
    "rate": ("cpu_us", "requests_per_second", "p50_us", "p99_us"),
    "start": ("start_ms", "start_cpu_ms"),
    "latency": ("p50_us", "p99_us", "p999_us", "cpu_us"),
    "capacity": ("items", "pss_mib"),
    "hit-ratio": ("hit_ratio", "items", "pss_mib"),
    "replay": ("hit_ratio", "items"),
    "idle": ("pss_bytes", "rss_bytes", "pss_base_mib"),
    "handshakes": (
        *("handshakes_per_second", "handshake_cpu_us", "handshake_client_cpu_us"),
        *("resumed_share", "handshake_p50_us", "handshake_p99_us", "p99_us", "p99_calm_us"),
    ),
    "tls-idle": ("pss_bytes", "rss_bytes", "pss_base_mib"),
    "empty": ("pss_mib", "private_mib"),
    "memtier": ("cpu_us", "requests_per_second"),
    "dump": ("p50_us", "p99_us", "dump_seconds"),
    "stats": ("stats_cpu_us", "p50_us", "p99_us"),
    "interpreter": ("interpreter_share", "kernel_share"),
    "flash-get": (
        *("cpu_us", "best_cpu_us", "cpu_key_us", "requests_per_second", "keys_per_second"),
        *("best_requests_per_second", "p99_us", "hit_ratio", "flash_share"),
        *("read_bytes_per_key", "cached_share"),
    ),
    "flash-items": ("items", "stored", "index_bytes", "written_mib", "lost", "pss_mib"),
    "flash-latency": (
        *("p50_us", "p99_us", "p999_us", "best_p99_us", "hit_ratio", "background_per_second"),
        *(
            "background_hit_ratio",
            "flash_reads_per_second",
            "compacted_per_second",
            "written_mib_per_second",
        ),
    ),
    "flash-stuck": (
        *("stuck_ratio", "p99_us", "p99_healthy_us", "hit_ratio", "background_per_second"),
        *("background_healthy_per_second", "late_reads"),
    ),
    "flash-writes": (
        *("hit_ratio", "device_bytes_per_set_byte", "own_bytes_per_set_byte"),
        *("sets", "lost_per_set", "packed_share"),
        *("bound_bytes_per_set_byte", "written_per_bound"),
    ),
    "flash-fill": (
        *("found_ratio", "sets_per_second", "set_mb_per_second", "written_mb_per_second"),
        "lost_ratio",
    ),
    "flash-paths": (
        *("written_mb_per_second", "set_mb_per_second", "found_ratio"),
        *("times_2_paths", "times_4_paths"),
    ),
}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two blanks apart."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _figure_cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle = statistics.median(values)
    if len(values) < 2 or not middle:
        return _number(middle)
    low, high = quartiles(values)
    return f"{_number(middle)} ±{(high - low) / 2 / middle:.0%}"


def figures_table(results: Sequence[Result], kinds: Sequence[Kind]) -> str:
    """Medians over all slices; ± is half the range of the middle half, as a share of the median."""
    rows = []
    for result in results:
        figures = SHOWN[result.workload.kind]
        if "multiget" not in result.workload.run:
            figures = tuple(name for name in figures if name != "cpu_key_us")
        figures += tuple(
            dict.fromkeys(b.figure for b in result.workload.bars if b.figure not in figures)
        )
        for index, figure in enumerate(figures):
            cells = [_figure_cell(result.values(kind.name, figure)) for kind in kinds]
            rows.append([result.workload.name if index == 0 else "", figure, *cells])
    return _table(["workload", "figure", *[kind.label for kind in kinds]], rows)


def _bar_text(bar: Bar) -> str:
    bound = f">= {bar.least:g}" if bar.most is None else f"<= {bar.most:g}"
    if bar.measure == "points":
        bound = f"> {bar.least:g}"
    return bound


def verdict(bar: Bar, values: Sequence[float]) -> str:
    """`aim`, `ok` or `MISSED` for the median of a bar's values."""
    middle = statistics.median(values)
    if not bar.reached(middle):
        return "MISSED"
    return "aim" if bar.aim_reached(middle) else "ok"


def bars_table(results: Sequence[Result], kinds: Sequence[Kind], subject: str) -> str:
    """Each bar with the median of the slices' ratios and the range of their middle half."""
    labels = {kind.name: kind.label for kind in kinds}
    rows = []
    for result in results:
        for bar in result.workload.bars:
            values = result.compare(bar, subject)
            if values is None or bar.against == subject:
                continue
            low, high = quartiles(values)
            measure = bar.measure.replace("pymc", labels.get(subject, subject))
            rows.append(
                [
                    result.workload.name,
                    bar.figure,
                    measure.replace("peer", labels.get(bar.against or "", "")),
                    f"{statistics.median(values):.3g}",
                    f"{low:.3g}..{high:.3g}",
                    f"{result.compare_best(bar, subject):.3g}",
                    _bar_text(bar),
                    f"{bar.aim:g}" if bar.aim is not None else "",
                    verdict(bar, values),
                ]
            )
    header = [
        "workload",
        "figure",
        "measure",
        "median",
        "middle half",
        "of bests",
        "bar",
        "aim",
        "verdict",
    ]
    return _table(header, rows) if rows else "No bar applies to these servers."


def warnings(results: Sequence[Result]) -> list[str]:
    """What makes these figures less trustworthy."""
    found = []
    for result in results:
        for name, samples in result.samples.items():
            foreign = [
                sample["foreign_busy"]
                for sample in samples
                if sample.get("wall_seconds", 0) >= FOREIGN_WALL_SECONDS_MIN
            ]
            if foreign and statistics.median(foreign) > FOREIGN_BUSY_MAX:
                share = statistics.median(foreign)
                found.append(
                    f"{result.workload.name} on {name}: others used {share:.0%} of a core meanwhile"
                )
            late = [
                sample["client_delay_p999_us"] / sample["p999_us"]
                for sample in samples
                if sample.get("client_delay_p999_us") and sample["p999_us"]
            ]
            if late and statistics.median(late) > CLIENT_DELAY_SHARE_MAX:
                found.append(f"{result.workload.name} on {name}: the client itself was late")
            if any(sample.get("pids_changed") for sample in samples):
                found.append(f"{result.workload.name} on {name}: its processes changed meanwhile")
    return found


def missed(results: Sequence[Result], subject: str) -> int:
    """How many bars were measured and missed."""
    count = 0
    for result in results:
        for bar in result.workload.bars:
            values = result.compare(bar, subject) if bar.against != subject else None
            count += values is not None and verdict(bar, values) == "MISSED"
    return count


def as_json(
    results: Sequence[Result], kinds: Sequence[Kind], subject: str, options: dict[str, Any]
) -> str:
    """Everything measured: machine, commit, options and all samples."""
    document = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "load_average": os.getloadavg()[0],
        },
        "commit": _commit(),
        "options": options,
        "subject": subject,
        "servers": {kind.name: kind.label for kind in kinds},
        "workloads": [_workload_json(result, subject) for result in results],
        "warnings": warnings(results),
    }
    return json.dumps(document, indent=1) + "\n"


def _workload_json(result: Result, subject: str) -> dict[str, Any]:
    bars = []
    for bar in result.workload.bars:
        values = result.compare(bar, subject) if bar.against != subject else None
        if values is None:
            continue
        bars.append(
            {
                "figure": bar.figure,
                "measure": bar.measure,
                "against": bar.against,
                "median": statistics.median(values),
                "values": values,
                "bar": bar.least if bar.most is None else bar.most,
                "aim": bar.aim,
                "verdict": verdict(bar, values),
            }
        )
    return {"name": result.workload.name, "bars": bars, "samples": result.samples}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"
