"""Tells when the kernel has no memory left for TCP: replies that wait then come late or never.

All TCP sockets of a machine share it, so that a neighbour may have filled it.
"""

import re
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

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


class TcpMemory:
    """A plugin of pytest: tests marked `tcp_memory` are skipped in a shortage, others say so."""

    def __init__(self, shortage: Callable[[], str | None]) -> None:
        self._shortage = shortage

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        shortage = self._shortage() if item.get_closest_marker("tcp_memory") else None
        if shortage:
            pytest.skip(shortage)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A failure says when a neighbour's sockets may be the reason."""
        report = yield
        shortage = self._shortage() if report.failed else None
        if shortage:
            report.sections.append(("this machine", shortage))
        return report
