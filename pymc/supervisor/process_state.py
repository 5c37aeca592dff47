"""Reads from /proc what state a process is in."""

from pymc.policy.watchdog import ProcessState


def read_state(pid: int) -> ProcessState:
    """Reads what the system says of a process; what cannot be read is as in ProcessState()."""
    # The name may hold anything, also brackets.
    fields = _read(f"/proc/{pid}/stat").rpartition(") ")[2].split()
    where = _read(f"/proc/{pid}/wchan").strip()
    run_ns = _read(f"/proc/{pid}/schedstat").split()
    return ProcessState(
        letter=fields[0] if fields else "?",
        where="" if where == "0" else where,
        cpu_seconds=int(run_ns[0]) / 1e9 if run_ns else 0.0,
        is_dumping="\nCoreDumping:\t1\n" in _read(f"/proc/{pid}/status"),
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
