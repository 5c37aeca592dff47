"""Rows that replay recorded traces: one per file and share of its distinct keys in memory."""

import lzma
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.harness.workloads import Workload

KEY_BYTES = 16
# What an item takes beside key and value; no server takes less, and slab steps come on top.
OVERHEAD_BYTES = 56
VALUE_BYTES_MIN = 16
VALUE_BYTES_MAX = 1_000_000  # fits into an item of the servers' default -I


class TraceError(Exception):
    """A file is no trace, or its keys do not fit the memory that was asked for."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace as the load generator reads it, and how many different keys are in it."""

    name: str
    path: Path
    requests: int
    distinct: int


def unpack(source: Path, folder: Path) -> Trace:
    """Reads a trace, `.xz` or plain; the plain copy of a packed one goes into `folder`.

    Raises TraceError for what is not a sequence of 32-bit numbers, OSError for no file.
    """
    packed = source.suffix == ".xz"
    try:
        content = lzma.decompress(source.read_bytes()) if packed else source.read_bytes()
    except lzma.LZMAError as error:
        raise TraceError(f"{source}: {error}") from None
    ids = array("I")
    if not content or len(content) % ids.itemsize:
        raise TraceError(f"{source}: want 32-bit numbers")
    ids.frombytes(content)
    if sys.byteorder == "big":
        ids.byteswap()
    name = source.name.removesuffix(".xz").removesuffix(".u32")
    path = source
    if packed:
        path = folder / f"{len(list(folder.iterdir()))}-{name}.u32"
        path.write_bytes(content)
    return Trace(name, path, len(ids), len(set(ids)))


def value_bytes(memory_mib: int, distinct: int, share_percent: float) -> int:
    """The size of values of which `memory_mib` holds that share of the distinct keys.

    Raises TraceError when no value of a sensible size does.
    """
    wanted = max(1.0, distinct * share_percent / 100)
    size = int(memory_mib * 2**20 / wanted) - OVERHEAD_BYTES - KEY_BYTES
    if not VALUE_BYTES_MIN <= size <= VALUE_BYTES_MAX:
        raise TraceError(
            f"{share_percent:g} % of {distinct} keys in {memory_mib} MiB: values of {size} bytes"
        )
    return size


def rows(
    workload: Workload, files: Sequence[Path], shares: Sequence[float], folder: Path
) -> list[Workload]:
    """The row once per file and share, named after both. Raises TraceError and OSError."""
    found = []
    for file in files:
        trace = unpack(file, folder)
        for share in shares:
            size = value_bytes(workload.memory_mib, trace.distinct, share)
            found.append(
                replace(
                    workload,
                    name=f"{workload.name} {trace.name} {share:g}%",
                    title=f"{workload.title}: {file}, {share:g} % of {trace.distinct} keys",
                    data={**workload.data, "key-bytes": KEY_BYTES, "value-bytes": size},
                    run={**workload.run, "replay": str(trace.path)},
                )
            )
    return found
