"""The child that checks: what it says, and what becomes of one that says nothing."""

import os
import signal
from collections.abc import Callable

import pytest

from pymc.core.errors import InvalidArgumentError
from pymc.tls import checker
from pymc.tls.checker import Check, start_check
from pymc.tls.files import MaterialError
from pymc.tls.material import OK, Material
from tests.support.certificate_files import CertificateFiles
from tests.support.deadline import scaled


def said_by(judge: Callable[[], str], seconds: float = scaled(30.0)) -> str:
    return checker._start(judge, ()).wait(seconds)


def raising(error: BaseException) -> Callable[[], str]:
    def judge() -> str:
        raise error

    return judge


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        (lambda: OK, "OK"),
        (raising(MaterialError("Error\nloading  it")), "Error loading it"),
        (raising(InvalidArgumentError("no")), "no"),
        (raising(ValueError("odd")), "Error checking the certificates: ValueError: odd"),
        (
            raising(SystemExit(3)),
            "Error checking the certificates: it ended without a verdict",
        ),
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            "Error checking the certificates: it ended without a verdict",
        ),
        (lambda: "x" * 10_000, "x" * 4096),
    ],
)
def test_verdicts_are_one_line(judge: Callable[[], str], said: str) -> None:
    assert said_by(judge) == said


def test_who_ignores_its_children_hears_the_verdict_all_the_same() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert said_by(lambda: OK) == OK
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_one_that_does_not_come_to_an_end_is_killed() -> None:
    def judge() -> str:
        signal.pause()
        return OK

    check = checker._start(judge, ())
    assert check.verdict() is None
    assert check.wait(0.0) == "Error checking the certificates: it took longer than 30 s"
    _, status = os.waitpid(check.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_it_keeps_no_descriptor_that_it_may_not_have() -> None:
    reader, writer = os.pipe()

    def judge() -> str:
        try:
            os.fstat(writer)
        except OSError:
            return OK
        return "it is there"

    assert checker._start(judge, ()).wait(scaled(30.0)) == "it is there"
    assert checker._start(judge, (writer,)).wait(scaled(30.0)) == OK
    os.close(reader)
    os.close(writer)


def test_without_the_library(files: CertificateFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pymc.tls.check", None)
    check: Check = start_check(files.settings, Material(files.settings), None)
    assert check.wait(scaled(30.0)).startswith("TLS needs pyOpenSSL: pip install pyopenssl (")
