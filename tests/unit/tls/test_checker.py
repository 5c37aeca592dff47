"""The child that checks: what it says, and what becomes of one that says nothing."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from pymc.core.errors import InvalidArgumentError
from pymc.core.process import fork_child
from pymc.tls import checker
from pymc.tls.checker import SAME, Check, start_check, start_try
from pymc.tls.files import MaterialError
from pymc.tls.material import OK, Material
from tests.support.certificate_files import CertificateFiles
from tests.support.deadline import scaled


def said_by(judge: Callable[[], str], seconds: float = scaled(30.0)) -> str:
    return checker._start(judge).wait(seconds)


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

    check = checker._start(judge)
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

    assert said_by(judge) == OK
    os.close(reader)
    os.close(writer)


def test_nobody_else_keeps_its_pipe() -> None:
    def judge() -> str:
        signal.pause()
        return OK

    check = checker._start(judge)
    if (pid := fork_child()) == 0:
        try:
            os.fstat(check._fd)
        except OSError:
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    check.give_up()
    os.waitpid(check.pid, 0)
    assert check.is_gone()


@pytest.mark.parametrize("core_dumps", [False, True])
def test_its_memory_is_hidden_unless_core_files_are_wanted(
    files: CertificateFiles, monkeypatch: pytest.MonkeyPatch, core_dumps: bool
) -> None:
    def say(*_: object) -> str:
        return "hidden" if is_hidden else "not hidden"

    is_hidden = False

    def hide() -> None:
        nonlocal is_hidden
        is_hidden = True

    monkeypatch.setattr(checker, "hide_memory", hide)
    monkeypatch.setattr(checker, "_read_and_check", say)
    monkeypatch.setattr(Material, "try_context", lambda *_: raise_(MaterialError(say())))
    settings = files.with_settings(core_dumps=core_dumps)
    material = Material(settings)
    said = "not hidden" if core_dumps else "hidden"
    arena: Any = None
    assert start_check(settings, material, None).wait(scaled(30.0)) == said
    assert start_try(settings, material, arena).wait(scaled(30.0)) == said


def raise_(error: Exception) -> None:
    raise error


def test_files_that_are_known_are_not_checked(files: CertificateFiles) -> None:
    material = Material(files.settings)
    first = start_check(files.settings, material, None)
    assert first.wait(scaled(30.0)) == OK
    again = start_check(files.settings, material, None, first.seen)
    assert again.wait(scaled(30.0)) == SAME
    assert again.seen == first.seen
    files.renew()
    third = start_check(files.settings, material, None, first.seen)
    assert third.wait(scaled(30.0)) == OK
    assert third.seen != first.seen


def test_files_that_change_during_the_check_are_checked_again() -> None:
    looks = iter(["old", "new", "new"])
    verdicts = iter(["half", OK])
    judged = checker._look_and_judge(lambda: next(verdicts), lambda: next(looks), "")
    assert judged == ("new", OK)


def test_files_that_keep_changing_end_it() -> None:
    looks = iter("0123456789")
    judged = checker._look_and_judge(lambda: "changing", lambda: next(looks), "")
    # What they were before the last of five: the next look finds that they changed.
    assert judged == ("4", "changing")


def test_what_was_written_before_they_changed_is_erased(files: CertificateFiles) -> None:
    material = Material(files.settings)
    material.write_next({"chain": b"x" * 9, "key": b"secret" * 100_000})
    assert start_check(files.settings, material, None).wait(scaled(30.0)) == OK
    assert b"secret" * 2 not in bytes(material._bytes)


def test_without_the_library(files: CertificateFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pymc.tls.check", None)
    check: Check = start_check(files.settings, Material(files.settings), None)
    assert check.wait(scaled(30.0)).startswith("TLS needs pyOpenSSL: pip install pyopenssl (")
