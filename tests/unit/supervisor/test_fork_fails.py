"""A machine without room for one more process is asked again, after longer and longer pauses."""

import errno
import os
from types import SimpleNamespace
from typing import NoReturn

import pytest

from pymc.core.arena import Role
from pymc.supervisor import children as children_module
from pymc.supervisor.children import Children


def test_a_child_that_cannot_be_forked_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    tries = 0

    def refuse(kind: Role, slot: int) -> NoReturn:
        nonlocal tries
        tries += 1
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(children_module, "time", SimpleNamespace(monotonic=lambda: now))
    children = Children(refuse)
    children.add(Role.WORKER, (0,))
    pauses = []
    for _ in range(6):
        children.start_due()
        due = children.next_due()
        assert due is not None and not children.living
        pauses.append(due - now)
        # Not before its time.
        children.start_due()
        now = due
    assert pauses == pytest.approx([0.05, 0.05, 0.25, 0.5, 1.0, 2.0])
    assert tries == 6
    line = "pymc: cannot start worker 0: Resource temporarily unavailable\n"
    assert capfd.readouterr().err == line * 6
