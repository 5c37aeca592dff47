"""The measurements of the flash tier: reads, items reachable, latency beside it, and wear.

Servers are filled at a fixed pace that all of them can follow (burst by burst, open loop), so that
what is cold reaches flash instead of being evicted.
"""

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.harness import flash_files, loadgen, processes, text_client, write_bound
from bench.harness.figures import Figures, Settings, figures_of
from bench.harness.servers import Server
from bench.harness.workloads import Arguments, Workload

SETTLE_SECONDS = 0.5
SETTLE_SECONDS_MAX = 20.0
POLL_SECONDS = 0.05
SAMPLE_KEYS = 20_000
STEPS = 18
STEP_KEYS_MIN = 1000
# The fill ends when a step of new keys adds less than this share of itself, twice in a row.
GROWTH_LEAST = 0.15
WARM_SECONDS = 0.5
BACKGROUND_LEAD_SECONDS = 0.7
HEADER_CHUNK_BYTES_MAX = 200  # memcached's headers of 40-byte keys lie in smaller chunks
# Items evicted without a copy on flash. memcached's evictions are those and headers of such copies;
# most of pymc's are of items that have one.
LOST = {False: "evictions", True: "unclean_evictions"}
DATA_OPTIONS = ("keys", "key-bytes", "value-bytes", "compressible")
FILL: Arguments = {"connections": 8, "pipeline": 256, "burst": 32, "load": True}


def counters(port: int) -> dict[str, int]:
    """The whole-numbered counters, general ones and those of the tier but for its pages'."""
    with text_client.Client(port) as client:
        found = client.stats() | client.stats("extstore")
    return {k: int(v) for k, v in found.items() if v.isdigit() and ":" not in k}


def fill(server: Server, data: Arguments, rate: float, settings: Settings) -> None:
    """SETs the keys of `data`, `rate` per second, then waits for the write-out."""
    arguments = {**FILL, **data, "rate": rate}
    loadgen.run(server, arguments, settings.client_cores)
    wait_until_written(server.port)


def wait_until_written(port: int) -> None:
    """Waits until the server has stopped writing to flash for a moment."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    seen, since = -1, time.monotonic()
    while time.monotonic() < deadline:
        written = counters(port).get("extstore_bytes_written", 0)
        if written != seen:
            seen, since = written, time.monotonic()
        if time.monotonic() - since > SETTLE_SECONDS:
            return
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class _Marks:
    """Counters before a run, for what happened in it."""

    counters: Mapping[str, int]
    read_bytes: int
    written_bytes: int

    @classmethod
    def take(cls, server: Server) -> "_Marks":
        return cls(counters(server.port), *processes.device_bytes(server.pid))

    def since(self, before: "_Marks", name: str) -> int:
        return self.counters.get(name, 0) - before.counters.get(name, 0)


def _arguments(workload: Workload, settings: Settings) -> dict[str, Any]:
    return {**workload.data, **workload.run, "seed": settings.seed}


def prepare_gets(server: Server, workload: Workload, settings: Settings) -> None:
    """Fills the server with more than its RAM holds and lets it serve GETs for a moment."""
    fill(server, workload.data, workload.fill_rate, settings)
    warm = {**_arguments(workload, settings), "seconds": WARM_SECONDS}
    loadgen.run(server, warm, settings.client_cores)


def gets(server: Server, workload: Workload, settings: Settings) -> Figures:
    """GETs of cold keys, closed loop; how many were read from flash and what the device did."""
    assert server.kind.flash_file is not None
    timed = {**_arguments(workload, settings), "seconds": settings.seconds}
    before = _Marks.take(server)
    with flash_files.PageCacheLimit([server.kind.flash_file], settings.client_cores) as cache:
        sample = loadgen.run(server, timed, settings.client_cores)
    after = _Marks.take(server)
    keys = max(1, int(sample.report["keys_read"]))
    flash_reads = after.since(before, "get_extstore")
    figures = figures_of(sample)
    return {
        **figures,
        "keys_per_second": keys / sample.report["elapsed_seconds"],
        "flash_share": flash_reads / keys,
        "read_bytes_per_key": (after.read_bytes - before.read_bytes) / keys,
        "cached_share": cache.cached_share_max,
    }


def _header_bytes(port: int) -> float:
    """RAM of memcached per item on flash: its header's chunk and its share of the hash table."""
    with text_client.Client(port) as client:
        slabs = client.stats("slabs")
        general = client.stats()
    chunks = chunk_bytes = 0
    for name, value in slabs.items():
        number, _, figure = name.partition(":")
        if figure == "chunk_size" and int(value) < HEADER_CHUNK_BYTES_MAX:
            used = int(slabs[f"{number}:used_chunks"])
            chunks += used
            chunk_bytes += used * int(value)
    if not chunks:
        raise loadgen.LoadError("no items on flash")
    return chunk_bytes / chunks + int(general["hash_bytes"]) / int(general["curr_items"])


def index_bytes_per_item(server: Server) -> float:
    """RAM bytes per item on flash. pymc tells its index; memcached's headers are counted."""
    if not server.kind.is_pymc:
        return _header_bytes(server.port)
    with text_client.Client(server.port) as client:
        found = client.stats("extstore")
    index, entries = int(found["index_bytes"]), int(found["index_entries"])
    if not entries:
        raise loadgen.LoadError("no items on flash")
    return index / entries


def _reachable(server: Server, data: Arguments, stored: int, settings: Settings) -> float:
    """Items found, estimated from a random sample of all keys stored so far, all verified."""
    words = {**data, "keys": stored, "requests": min(SAMPLE_KEYS, stored), "seed": stored}
    arguments = {"connections": 8, "pipeline": 16, **words}
    report = loadgen.run(server, arguments, settings.client_cores).report
    return stored * float(report["hit_ratio"])


def items(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Fills with ever more keys until no more of them stay, then counts those that are found."""
    keys = int(workload.data["keys"])
    step = max(keys // STEPS, STEP_KEYS_MIN)
    stored = small_steps = 0
    found = best = 0.0
    while stored < keys and small_steps < 2:
        count = min(step, keys - stored)
        fill(
            server,
            {**workload.data, "key-first": stored, "keys": count},
            workload.fill_rate,
            settings,
        )
        stored += count
        found = _reachable(server, workload.data, stored, settings)
        small_steps = small_steps + 1 if found - best < GROWTH_LEAST * count else 0
        best = max(best, found)
    counted = counters(server.port)
    written_bytes = processes.device_bytes(server.pid)[1]
    return {
        "items": found,
        "items_most": best,
        "stored": float(stored),
        "index_bytes": index_bytes_per_item(server),
        "lost": float(counted.get(LOST[server.kind.is_pymc], 0)),
        "written_mib": written_bytes / 2**20,
        "pss_mib": processes.memory(server.pid).pss_bytes / 2**20,
    }


def prepare_hits(server: Server, workload: Workload, settings: Settings) -> None:
    """Fills flash until pages are reused, then stores the small hot set, which stays in RAM."""
    filled = {name: value for name, value in workload.background.items() if name in DATA_OPTIONS}
    fill(server, filled, workload.fill_rate, settings)
    # Overwrites at random leave pages with holes, which is what compaction is for.
    holes = {**filled, "set-share": 1, "requests": filled["keys"], "load": False}
    fill(server, holes, workload.fill_rate, settings)
    loadgen.run(server, {**workload.data, "load": True}, settings.client_cores)


def _background(server: Server, workload: Workload, settings: Settings) -> subprocess.Popen[str]:
    words = {**workload.background, "seed": settings.seed}
    words["seconds"] = settings.seconds + 2 * BACKGROUND_LEAD_SECONDS
    return subprocess.Popen(
        loadgen.command(server.port, words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=loadgen.on_cores(settings.client_cores),
    )


def _timed_beside_gets(
    server: Server, workload: Workload, settings: Settings
) -> tuple[loadgen.Sample, dict[str, Any]]:
    """The measured client beside the one that makes the load, and what that one reports."""
    timed = {**workload.data, **workload.run, "seed": settings.seed, "seconds": settings.seconds}
    behind = _background(server, workload, settings)
    try:
        time.sleep(BACKGROUND_LEAD_SECONDS)
        sample = loadgen.run(server, timed, settings.client_cores, first=True)
        return sample, _background_report(behind)
    finally:
        behind.kill()
        behind.communicate()


def hits(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Latency of RAM hits, open loop, while other connections read flash as fast as they can.

    The client that is measured preempts the one that makes the load: they share a core.
    """
    assert server.kind.flash_file is not None
    before = _Marks.take(server)
    with flash_files.PageCacheLimit([server.kind.flash_file], settings.client_cores):
        sample, report = _timed_beside_gets(server, workload, settings)
    after = _Marks.take(server)
    seconds = float(report["elapsed_seconds"])
    compacted = ("extstore_compact_rescues", "extstore_compact_skipped", "extstore_compact_lost")
    figures = figures_of(sample)
    client_busy = float(report["client_cpu_seconds"]) / seconds
    figures["foreign_busy"] = max(0.0, figures["foreign_busy"] - client_busy)
    return {
        **figures,
        "background_per_second": float(report["requests_per_second"]),
        "background_hit_ratio": float(report["hit_ratio"]),
        "flash_reads_per_second": after.since(before, "get_extstore") / seconds,
        "compacted_per_second": sum(after.since(before, name) for name in compacted) / seconds,
        "written_mib_per_second": (after.written_bytes - before.written_bytes) / seconds / 2**20,
    }


def _hits_beside_gets(server: Server, workload: Workload, settings: Settings) -> Figures:
    """RAM hits, open loop, while other connections read flash as fast as they can."""
    sample, report = _timed_beside_gets(server, workload, settings)
    rate = float(report["requests_per_second"])
    return {**figures_of(sample), "background_per_second": rate}


def hits_beside_stuck_path(server: Server, workload: Workload, settings: Settings) -> Figures:
    """The p99 of RAM hits while one of two paths answers no read, and before."""
    assert server.kind.stuck_file is not None
    stored = {name: value for name, value in workload.background.items() if name in DATA_OPTIONS}
    fill(server, stored, workload.fill_rate, settings)
    loadgen.run(server, {**workload.data, "load": True}, settings.client_cores)
    healthy = _hits_beside_gets(server, workload, settings)
    trigger = flash_files.trigger(server.kind.stuck_file)
    trigger.touch()
    try:
        stuck = _hits_beside_gets(server, workload, settings)
        late_reads = counters(server.port)["path_1_late_reads"]
    finally:
        trigger.unlink()
    if not late_reads:
        raise loadgen.LoadError("no read hung")
    return {
        **stuck,
        "p99_healthy_us": healthy["p99_us"],
        "background_healthy_per_second": healthy["background_per_second"],
        "stuck_ratio": stuck["p99_us"] / healthy["p99_us"],
        "late_reads": float(late_reads),
    }


def _background_report(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, problem = process.communicate()
    if process.returncode:
        error = loadgen.WrongValueError if process.returncode == 1 else loadgen.LoadError
        raise error(f"the load behind: {problem.strip()}")
    return loadgen.parse_report(out)


def items_in_ram(port: int, item_bytes: int) -> int:
    """Items of that size that memory holds; headers of items on flash are smaller."""
    with text_client.Client(port) as client:
        slabs = client.stats("slabs")
    return sum(
        int(slabs[name.replace("chunk_size", "used_chunks")])
        for name, value in slabs.items()
        if name.endswith(":chunk_size") and int(value) >= item_bytes
    )


def writes(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Bytes that reach the device per byte SET, and the hit ratio they buy, once warm."""
    assert server.kind.flash_file is not None
    arguments = {**workload.data, **workload.run}
    loadgen.run(server, {**arguments, "seed": settings.seed}, settings.client_cores)
    before = _Marks.take(server)
    measured = {**arguments, "seed": settings.seed + 1}
    # Without it, buffered pages that are overwritten within seconds would never reach the device.
    with flash_files.PageCacheLimit([server.kind.flash_file], settings.client_cores):
        sample = loadgen.run(server, measured, settings.client_cores)
        wait_until_written(server.port)
    after = _Marks.take(server)
    item_bytes = int(workload.data["key-bytes"]) + int(workload.data["value-bytes"])
    set_bytes = max(1, int(sample.report["sets"])) * item_bytes
    packed = {}
    if tried_bytes := after.since(before, "compress_in_bytes"):
        packed["packed_share"] = after.since(before, "compress_out_bytes") / tried_bytes
    device_bytes = (after.written_bytes - before.written_bytes) / set_bytes
    bound_bytes = write_bound.bound(
        workload, items_in_ram(server.port, item_bytes), packed.get("packed_share", 1.0)
    )
    return {
        **figures_of(sample),
        **packed,
        "device_bytes_per_set_byte": device_bytes,
        "bound_bytes_per_set_byte": bound_bytes,
        "written_per_bound": device_bytes / bound_bytes if bound_bytes else 0.0,
        "own_bytes_per_set_byte": after.since(before, "extstore_bytes_written") / set_bytes,
        "lost_per_set": after.since(before, LOST[server.kind.is_pymc]) * item_bytes / set_bytes,
        "sets": float(sample.report["sets"]),
    }


BEST = {"cpu_us": min, "cpu_key_us": min, "requests_per_second": max, "p99_us": min}


def fold_best(samples: dict[str, list[Figures]], names: Sequence[str]) -> None:
    """Adds best_<figure> to the samples of names[0]: those of the variant with the best median.

    The other names are the same server with other numbers of I/O threads; the slices match.
    """
    for figure, choose in BEST.items():
        if not all(sample and figure in sample[0] for sample in (samples[n] for n in names)):
            continue
        medians = {name: _median([s[figure] for s in samples[name]]) for name in names}
        best = choose(names, key=lambda name: medians[name])
        for mine, theirs in zip(samples[names[0]], samples[best], strict=True):
            mine[f"best_{figure}"] = theirs[figure]


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
