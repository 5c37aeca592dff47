"""Reading bench/workloads.toml: what each row of the report measures and what it should reach."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

WORKLOADS = Path(__file__).resolve().parent.parent / "workloads.toml"
FLASH_KINDS = (
    *("flash-get", "flash-items", "flash-latency", "flash-stuck", "flash-writes"),
    *("flash-fill", "flash-paths"),
)
KINDS = (
    *(
        "closed",
        "rate",
        "start",
        "latency",
        "capacity",
        "hit-ratio",
        "idle",
        "empty",
        "memtier",
        "interpreter",
        "replay",
    ),
    *("dump", "stats", "watch", "handshakes", "tls-idle"),
)
MEASURES = ("peer/pymc", "pymc/peer", "points", "value")

Arguments = Mapping[str, int | float | str | bool]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure should reach: a ratio to a peer, a difference in points, or a value."""

    figure: str
    measure: str
    against: str | None = None
    least: float | None = None
    most: float | None = None
    aim: float | None = None

    def __post_init__(self) -> None:
        assert self.measure in MEASURES, self.measure
        assert (self.least is None) != (self.most is None), "want least or most"
        assert (self.against is None) == (self.measure == "value"), "want a peer"

    def value(self, ours: float, theirs: float) -> float:
        """The ratio (or difference, or value) to be held against the bar."""
        if self.measure == "value":
            return ours
        if self.measure == "points":
            return (ours - theirs) * 100
        above, below = (theirs, ours) if self.measure == "peer/pymc" else (ours, theirs)
        return above / below if below else float("inf")

    def best(self, values: Sequence[float]) -> float:
        """The value that noise from outside spoiled least."""
        lower_is_better = self.measure == "peer/pymc" or self.most is not None
        return min(values) if lower_is_better else max(values)

    def reached(self, value: float) -> bool:
        """Tells whether the bar is reached; a difference must be above it."""
        if self.most is not None:
            return value <= self.most
        assert self.least is not None
        return value > self.least if self.measure == "points" else value >= self.least

    def aim_reached(self, value: float) -> bool:
        """Tells whether the aim, if there is one, is reached too."""
        if self.aim is None:
            return False
        return value <= self.aim if self.most is not None else value >= self.aim


@dataclass(frozen=True, slots=True)
class Workload:
    """One row; bench/workloads.toml explains the fields."""

    name: str
    title: str
    kind: str
    bars: tuple[Bar, ...]
    data: Arguments = field(default_factory=dict)
    run: Arguments = field(default_factory=dict)
    threads: int = 1
    memory_mib: int = 1024
    connections_max: int = 1024
    unix: bool = False
    item_mib: int = 0  # largest item (-I); 0: the server's own
    tls: str = ""  # over TLS, with a certificate whose key is ec or rsa; "": plain
    mutual: bool = False  # clients show a certificate as well
    pinned: bool = True
    rounds: int | None = None
    servers: tuple[str, ...] | None = None  # measured on these only
    flash_mib: int = 0  # size of each flash file; 0: no flash tier
    paths: tuple[int, ...] = ()  # each server is measured with so many flash files; (): with one
    device_mb_per_second: int = 0  # what each file takes; 0: as fast as it is
    flash_options: str = ""  # further -o options of all servers
    pymc_options: str = ""  # further -o options of pymc only, after flash_options
    fill_rate: float = 100_000  # SETs per second while flash is filled
    background: Arguments = field(default_factory=dict)  # load beside the one measured
    ext_threads: tuple[int, ...] = ()  # memcached is measured with these as well as its default

    def __post_init__(self) -> None:
        assert self.kind in KINDS + FLASH_KINDS, self.kind
        assert (self.kind in FLASH_KINDS) == (self.flash_mib > 0), self.name
        assert self.flash_mib or not self.pymc_options, f"{self.name}: not a flash row"


def read(path: Path = WORKLOADS) -> list[Workload]:
    """All workloads, in the order of the file. Raises TypeError for a field nobody knows."""
    tables: list[dict[str, Any]] = tomllib.loads(path.read_text())["workload"]
    found = []
    for table in tables:
        fields = dict(table)
        fields["bars"] = tuple(Bar(**bar) for bar in fields["bars"])
        fields |= fields.pop("server", {})
        for name in ("servers", "ext_threads", "paths"):
            if name in fields:
                fields[name] = tuple(fields[name])
        found.append(Workload(**fields))
    return found


def smoke_sized(workload: Workload) -> Workload:
    """The same workload, so small that it ends within a fraction of a second."""
    limits = {"keys": 400, "connections": 8, "requests": 2000}
    if workload.kind == "capacity":
        # It must still evict: a value of this size fills -m 64 with few requests.
        limits["keys"] = 4000
    if workload.kind in FLASH_KINDS:
        return _smoke_sized_flash(workload)
    if workload.kind == "replay":
        # Its keys and connections are the trace's; only its beginning is replayed.
        return replace(workload, run={**workload.run, "requests": limits["requests"]})
    data = {**workload.data, "keys": min(limits["keys"], int(workload.data.get("keys", 400)))}
    most = limits["connections"]
    run = {**workload.run, "connections": min(int(workload.run.get("connections", most)), most)}
    if "idle" in run:
        run["idle"] = limits["connections"]
    if workload.kind in ("dump", "stats", "handshakes"):
        run["rate"] = 500
    if workload.kind == "capacity":
        data["value-bytes"] = 30_000
    if workload.kind == "hit-ratio":
        run["requests"] = limits["requests"]
    background = dict(workload.background)
    if "connections" in background:
        background["connections"] = min(int(background["connections"]), most)
    return replace(workload, data=data, run=run, background=background, rounds=1)


def _smoke_sized_flash(workload: Workload) -> Workload:
    """Few keys with values so large that most of them do not fit into RAM."""
    small = {"keys": 4000, "value-bytes": 30_000}
    changed: dict[str, Any] = {"run": dict(workload.run)}
    if workload.kind in ("flash-latency", "flash-stuck"):
        changed["background"] = {**workload.background, **small}
    else:
        changed["data"] = {**workload.data, **small}
    if workload.kind == "flash-get":
        changed["run"] |= {"key-first": 400, "keys": 1000}
    if workload.kind == "flash-writes":
        changed["run"] |= {"requests": 4000, "rate": 4000}
    if workload.kind == "flash-paths":
        changed["run"] |= {"rate": 4000}
        changed["paths"] = workload.paths[:2]
    return replace(
        workload, rounds=1, memory_mib=64, flash_mib=512, fill_rate=8000, ext_threads=(), **changed
    )
