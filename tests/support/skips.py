"""Says at the end of a run why tests were skipped; a run that may skip few fails by any other skip.

PYMC_TEST_SKIPS_ALLOWED names a file with one regular expression a line: the reasons that are
expected on this machine.
"""

import os
import re
from collections import Counter
from pathlib import Path

import pytest


class SkipReasons:
    """A plugin of pytest that counts the reasons of one run."""

    def __init__(self, allowed: list[str] | None) -> None:
        """Without a list each reason is allowed."""
        self._allowed = allowed
        self._reasons: Counter[str] = Counter()

    def unexpected(self) -> list[str]:
        """The reasons that are on no list."""
        if self._allowed is None:
            return []
        return [
            reason
            for reason in self._reasons
            if not any(re.fullmatch(pattern, reason) for pattern in self._allowed)
        ]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._reasons:
            return
        terminalreporter.section("why tests were skipped")
        unexpected = self.unexpected()
        for reason, count in self._reasons.most_common():
            mark = "NOT ALLOWED HERE: " if reason in unexpected else ""
            terminalreporter.line(f"{count:5d} {mark}{reason}")

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            where = report.longrepr
            text = str(where[2]) if isinstance(where, tuple) else str(where)
            self._reasons[text.removeprefix("Skipped: ")] += 1


def skip_reasons() -> SkipReasons:
    """The plugin with the list that the environment names."""
    path = os.environ.get("PYMC_TEST_SKIPS_ALLOWED")
    if not path:
        return SkipReasons(None)
    lines = Path(path).read_text().splitlines()
    return SkipReasons([line for line in lines if line and not line.startswith("#")])
