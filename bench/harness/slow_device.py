"""Flash files that take so many bytes a second, whoever writes: see bench/device/slow_device.c."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.harness.servers import Kind

LIBRARY = Path(__file__).resolve().parent.parent / "build" / "slow_device.so"
STATE_BYTES = 4096


def environment(bytes_per_second: int, state: Path) -> dict[str, str]:
    """What a program has to be started with; makes the file in which its processes keep queues."""
    state.write_bytes(bytes(STATE_BYTES))
    state.chmod(0o666)
    return {
        "LD_PRELOAD": str(LIBRARY),
        "SLOW_DEVICE_BYTES_PER_SECOND": str(bytes_per_second),
        "SLOW_DEVICE_STATE": str(state),
    }


@contextmanager
def slowed(kind: Kind, bytes_per_second: int) -> Iterator[Kind]:
    """`kind`, started so that each of its files has that bandwidth; 0: as fast as they are."""
    if not bytes_per_second:
        yield kind
        return
    with tempfile.TemporaryDirectory(prefix="pymc-slow-") as folder:
        more = environment(bytes_per_second, Path(folder) / "state")
        yield replace(kind, environment=tuple(more.items()))
