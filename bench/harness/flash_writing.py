"""The writing side of the flash tier: what a fast fill leaves, and what several devices take."""

from collections.abc import Sequence

from bench.harness import flash, loadgen
from bench.harness.figures import Figures, Settings
from bench.harness.servers import Server
from bench.harness.workloads import Workload

READ_BACK = {"connections": 8, "pipeline": 16}
FOUND_KEYS = 5_000
# So many times the memory is stored before bandwidth is measured: from then on each item that
# comes sends another one to flash.
PREPARED_FILLS = 1.5
MEGABYTE = 1_000_000


def _item_bytes(workload: Workload) -> float:
    """Key and value, in the middle of the sizes that the row has."""
    sizes = [int(word) for word in str(workload.data["value-bytes"]).split("-")]
    return int(workload.data.get("key-bytes", 16)) + sum(sizes) / len(sizes)


def _written(server: Server) -> int:
    return flash.counters(server.port)["extstore_bytes_written"]


def fills(server: Server, workload: Workload, settings: Settings) -> Figures:
    """SETs each key once, as fast as the server takes them, then looks for all of them."""
    keys = int(workload.data["keys"])
    arguments = {**workload.data, **workload.run, "load": True, "seed": settings.seed}
    report = loadgen.run(server, arguments, settings.client_cores).report
    seconds = float(report["elapsed_seconds"])
    written_bytes = _written(server)
    flash.wait_until_written(server.port)
    # Looking brings items back to memory, and so is not counted with.
    counters = flash.counters(server.port)
    looked = {**READ_BACK, **workload.data, "popularity": "sequential", "requests": keys}
    found = loadgen.run(server, looked, settings.client_cores).report
    sets = float(report["sets"])
    return {
        "found_ratio": float(found["hit_ratio"]),
        "sets_per_second": sets / seconds,
        "set_mb_per_second": sets * _item_bytes(workload) / seconds / MEGABYTE,
        "written_mb_per_second": written_bytes / seconds / MEGABYTE,
        "lost_ratio": counters.get(flash.LOST[server.kind.is_pymc], 0) / keys,
    }


def prepare_bandwidth(server: Server, workload: Workload, settings: Settings) -> None:
    """Fills memory, so that the measured time begins with writing."""
    keys = int(workload.memory_mib * 2**20 * PREPARED_FILLS / _item_bytes(workload))
    arguments = {**workload.data, "keys": keys, "connections": 8, "pipeline": 16, "load": True}
    loadgen.run(server, arguments, settings.client_cores)


def bandwidth(server: Server, workload: Workload, settings: Settings) -> Figures:
    """Bytes a second that go to flash while more is SET than the devices take."""
    arguments = {**workload.data, **workload.run, "set-share": 1, "seed": settings.seed}
    before = _written(server)
    timed = {**arguments, "seconds": settings.seconds}
    report = loadgen.run(server, timed, settings.client_cores).report
    written_bytes = _written(server) - before
    seconds = float(report["elapsed_seconds"])
    looked = {**READ_BACK, **workload.data, "requests": FOUND_KEYS, "seed": settings.seed}
    found = loadgen.run(server, looked, settings.client_cores).report
    return {
        "written_mb_per_second": written_bytes / seconds / MEGABYTE,
        "set_mb_per_second": float(report["sets"]) * _item_bytes(workload) / seconds / MEGABYTE,
        "found_ratio": float(found["hit_ratio"]),
    }


def fold_paths(
    samples: dict[str, list[Figures]], names: Sequence[str], counts: Sequence[int]
) -> None:
    """Adds times_<count>_paths to the samples of names[0]: that many files over the first count.

    The other names are the same server with more files; their slices match.
    """
    for name, count in zip(names[1:], counts[1:], strict=True):
        for mine, theirs in zip(samples[names[0]], samples[name], strict=True):
            base = mine["written_mb_per_second"]
            more = theirs["written_mb_per_second"]
            mine[f"times_{count}_paths"] = more / base if base else 0.0
            mine[f"written_mb_per_second_{count}_paths"] = more
