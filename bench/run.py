#!/usr/bin/env python3
"""Measures pymc beside its peers and prints figures, ratios and whether the bars are reached.

Exit codes: 0 fine (bars may be missed, see --enforce), 1 a server answered wrongly,
2 usage or nothing to measure, 3 a server or the load generator failed, 4 a bar missed (--enforce).
"""

import argparse
import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.harness import (  # noqa: E402
    certificates,
    flash_files,
    loadgen,
    replay,
    report,
    selfcheck,
    suite,
    workloads,
)
from bench.harness.figures import Settings  # noqa: E402
from bench.harness.measure import lacking_tool  # noqa: E402
from bench.harness.servers import Kind, ServerError, find_kinds  # noqa: E402
from bench.harness.workloads import Workload  # noqa: E402

SERVERS = ("pymc", "memcached-newest", "memcached-debian", "pogocache")
# Names people type, beside the full ones.
ALIASES = {
    "memcached": ("memcached-debian",),
    "peers": ("memcached-newest", "memcached-debian"),
    "all": SERVERS,
}
OPTIONAL = ("pogocache",)
DESCRIPTORS_SPARE = 200


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--list", action="store_true", help="name the workloads and end")
    add("--only", action="append", default=[], metavar="NAME", help="measure only these (repeat)")
    add("--servers", default="all", metavar="A,B", help=f"of {', '.join((*SERVERS, *ALIASES))}")
    add("--subject", default="pymc", metavar="NAME", help="the server held against the bars")
    add("--rounds", type=int, default=5, metavar="N", help="interleaved rounds (default 5)")
    add("--seconds", type=float, default=4.0, metavar="S", help="of each run (default 4)")
    add("--idle-connections", type=int, default=10_000, metavar="N", help="for workload idle")
    add("--smoke", action="store_true", help="tiny sizes: does everything work and verify?")
    add("--json", type=Path, metavar="FILE", help="write everything measured")
    add("--pymc", type=Path, default=ROOT / ".venv/bin/pymc", metavar="PATH", help="which pymc")
    add(
        "--server-args",
        action="append",
        default=[],
        metavar="[NAME=]ARGS",
        help="further arguments for all servers, or for the one named (repeat)",
    )
    add(
        "--flash-dir",
        type=Path,
        default=ROOT / "var/flash-bench",
        metavar="DIR",
        help="where servers get their flash files (default var/flash-bench)",
    )
    add(
        "--own-openssl",
        action="store_true",
        help="over TLS: servers with the OpenSSL they came with, not all with the system's",
    )
    add("--replay", action="append", type=Path, default=[], metavar="FILE", help="a trace (repeat)")
    add(
        "--share",
        action="append",
        default=[],
        metavar="P[,P]",
        help="per cent of a trace's distinct keys that memory holds (default 10)",
    )
    add("--enforce", action="store_true", help="exit with 4 when a bar is missed")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.seconds = 1, min(options.seconds, 0.1)
        options.idle_connections = min(options.idle_connections, 100)
    if options.rounds < 1 or options.seconds <= 0 or options.idle_connections < 1:
        parser.error("rounds, seconds and connections must be positive")
    try:
        words = [word for text in options.share or ["10"] for word in text.split(",")]
        options.shares = [float(word) for word in words]
    except ValueError:
        parser.error(f"--share {options.share}: want per cents")
    if not all(0 < share <= 100 for share in options.shares):
        parser.error("--share: want more than 0 and at most 100 per cent")
    return options


def _chosen_workloads(only: list[str], smoke: bool) -> list[Workload]:
    found = workloads.read()
    names = [workload.name for workload in found]
    wanted: set[str] = set()
    unknown: set[str] = set()
    for word in (word for text in only for word in text.split(",")):
        # A row, or all rows of a group: "low" is low-100, low-1k and so on.
        chosen = [word] if word in names else [n for n in names if n.startswith(f"{word}-")]
        wanted.update(chosen)
        unknown.update([] if chosen else [word])
    if unknown:
        raise SystemExit(_fail(2, f"no such workload: {', '.join(sorted(unknown))}; see --list"))
    if wanted:
        found = [workload for workload in found if workload.name in wanted]
    return [workloads.smoke_sized(workload) for workload in found] if smoke else found


def _with_traces(
    chosen: list[Workload], options: argparse.Namespace, folder: Path
) -> list[Workload]:
    """The rows, those that replay once per trace and share; without a trace there is none."""
    found: list[Workload] = []
    for workload in chosen:
        if workload.kind != "replay":
            found.append(workload)
        elif options.replay:
            found += replay.rows(workload, options.replay, options.shares, folder)
        else:
            print(f"not measured: {workload.name}: no --replay FILE", file=sys.stderr)
    return found


def _server_names(text: str) -> list[str]:
    names: list[str] = []
    for word in text.split(","):
        for name in ALIASES.get(word, (word,)):
            if name not in SERVERS:
                raise SystemExit(_fail(2, f"no such server: {name}"))
            if name not in names:
                names.append(name)
    return names


def _extra_arguments(words: list[str]) -> dict[str, str]:
    extra: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in SERVERS:
            name, text = "", word
        extra[name] = f"{extra.get(name, '')} {text}"
    return extra


def _chosen_servers(options: argparse.Namespace) -> list[Kind]:
    """The servers to measure; one that was named and is missing ends the program."""
    names = _server_names(options.servers)
    extra = _extra_arguments(options.server_args)
    kinds, notes = find_kinds(names, options.pymc, extra, fetch=not options.smoke)
    for note in notes:
        print(f"not measured: {note}", file=sys.stderr)
    present = {kind.name for kind in kinds}
    lacking = [name for name in names if name not in present and name not in OPTIONAL]
    if not kinds or (lacking and (options.servers != "all" or "pymc" in lacking)):
        raise SystemExit(_fail(2, f"missing: {', '.join(lacking or names)}"))
    # Twice the same program would be measured for nothing.
    unique = {kind.program: kind for kind in reversed(kinds)}
    return [kind for kind in kinds if unique[kind.program] is kind]


def _fail(code: int, message: str) -> int:
    print(f"bench: {message}", file=sys.stderr)
    return code


def _raise_descriptor_limit(needed: int) -> None:
    """Servers inherit it; each idle connection takes one descriptor on either side."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, needed + DESCRIPTORS_SPARE)
    if hard != resource.RLIM_INFINITY:
        hard = max(hard, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, PermissionError):
        raise SystemExit(_fail(2, f"{needed} idle connections need ulimit -n {wanted}")) from None


def _measure_all(
    chosen: list[Workload], kinds: list[Kind], options: argparse.Namespace
) -> tuple[list[suite.Result], int]:
    """What could be measured, and the worst exit code: one row that fails does not end the rest."""
    settings = Settings(
        options.seconds,
        None,
        options.idle_connections,
        seed=1,
        own_openssl=options.own_openssl,
        flash_dir=options.flash_dir,
    )
    results: list[suite.Result] = []
    codes = {0}
    for workload in chosen:
        if tool := lacking_tool(workload.kind):
            print(f"not measured: {workload.name}: {tool} is not on PATH", file=sys.stderr)
            continue
        fitting = [k for k in kinds if not workload.servers or k.name in workload.servers]
        if not fitting:
            continue
        rounds = min(options.rounds, workload.rounds or options.rounds)
        try:
            results.append(suite.run_workload(workload, fitting, rounds, settings))
        except loadgen.WrongValueError as error:
            codes.add(_fail(1, f"{workload.name}: WRONG: {error}"))
        except (
            *(loadgen.LoadError, ServerError, OSError),
            certificates.CertificateError,
        ) as error:
            codes.add(_fail(3, f"{workload.name}: {error}"))
    return results, 1 if 1 in codes else max(codes)


def _measure_and_report(
    chosen: list[Workload], kinds: list[Kind], options: argparse.Namespace
) -> int:
    results, code = _measure_all(chosen, kinds, options)
    print(report.figures_table(results, kinds))
    print()
    print(report.bars_table(results, kinds, options.subject))
    if any(result.workload.flash_mib for result in results):
        print(flash_files.description(options.flash_dir))
    for warning in report.warnings(results):
        print(f"careful: {warning}")
    if options.json:
        shown = {"rounds": options.rounds, "seconds": options.seconds, "smoke": options.smoke}
        shown["server_args"] = options.server_args
        shown["own_openssl"] = options.own_openssl
        options.json.write_text(report.as_json(results, kinds, options.subject, shown))
    if code == 0 and options.enforce and report.missed(results, options.subject):
        return 4
    return code


def main() -> int:
    """Runs what the command line asks for; returns the exit code."""
    options = _options()
    chosen = _chosen_workloads(options.only, options.smoke)
    if options.list:
        for workload in chosen:
            print(f"{workload.name:16}  {workload.title}")
        return 0
    _raise_descriptor_limit(options.idle_connections)
    try:
        loadgen.build()
        selfcheck.check()
    except loadgen.LoadError as error:
        return _fail(3, str(error))
    with tempfile.TemporaryDirectory(prefix="pymc-replay-") as folder:
        try:
            chosen = _with_traces(chosen, options, Path(folder))
        except (replay.TraceError, OSError) as error:
            return _fail(2, str(error))
        return _measure_and_report(chosen, _chosen_servers(options), options)


if __name__ == "__main__":
    sys.exit(main())
