"""Tells when the kernel has no memory left for TCP: replies that wait then come late or never.

All TCP sockets of a machine share it, so that a neighbour may have filled it.
"""

import re
from pathlib import Path

SOCKETS = Path("/proc/net/sockstat")
LIMITS = Path("/proc/sys/net/ipv4/tcp_mem")


def tcp_shortage(sockets: Path = SOCKETS, limits: Path = LIMITS) -> str | None:
    """What is short, in a sentence; None while there is enough, or where it is not told."""
    try:
        used = re.search(r"^TCP: .*\bmem (\d+)", sockets.read_text(), re.MULTILINE)
        bounds = [int(word) for word in limits.read_text().split()]
    except OSError:
        return None
    # From the second bound on buffers shrink, at the third one nothing is given.
    if used is None or len(bounds) != 3 or int(used[1]) < bounds[1]:
        return None
    return f"TCP memory of this machine is short: {used[1]} pages in use, tcp_mem is {bounds}"
