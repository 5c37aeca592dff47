"""When a worker waits in the engine, and when its loop has other work."""

import gc
import os
from pathlib import Path
from typing import Any, cast

import pytest

from pymc.auth_file import Users
from pymc.core.engine import Engine, Wants
from pymc.record import replace
from pymc.worker import Worker
from tests.support.inprocess import in_process


class Asked:
    """Stands where the engine does: says what is wanted, and keeps how it was asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.wants = 0

    def turn(self) -> int:
        self.calls.append("turn")
        wants, self.wants = self.wants, 0
        return wants

    def stay(self, quiet_milliseconds: int, milliseconds: int) -> int:
        assert 0 < quiet_milliseconds <= milliseconds <= 100
        self.calls.append("stay")
        wants, self.wants = self.wants, 0
        return wants


def test_nobody_waits_for_clients_while_python_has_work() -> None:
    with in_process() as server:
        engine = Asked()
        ran: list[str] = []
        worker = Worker(server.context, server.store, cast(Engine, cast(Any, engine)), 0)
        loop = worker._loop

        def run_once() -> None:
            loop.call_soon(loop.stop)
            loop.run_forever()

        worker._on_ready()
        assert engine.calls == ["stay"]

        def first() -> None:
            ran.append("first")
            worker._later(lambda: ran.append("second"))
            worker._on_ready()

        worker._later(first)
        worker._on_ready()
        for _ in range(3):
            run_once()
        assert ran == ["first", "second"]
        assert "stay" not in engine.calls[1:]
        engine.calls.clear()
        worker._on_ready()
        assert engine.calls == ["stay"]
        loop.close()


def test_the_engine_is_asked_again_for_what_no_descriptor_tells_of() -> None:
    """It knows whether that is input that was left over, or a bucket to be waited for."""
    with in_process() as server:
        engine = Asked()
        worker = Worker(server.context, server.store, cast(Engine, cast(Any, engine)), 0)
        engine.wants = int(Wants.AGAIN)
        worker._on_ready()
        worker._loop.call_soon(worker._loop.stop)
        worker._loop.run_forever()
        assert engine.calls == ["stay", "stay"]
        worker._loop.close()


def test_users_that_change_while_it_starts_are_its_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its loop does not hear yet that they were read again."""
    path = tmp_path / "users"
    path.write_bytes(b"old:p\n")
    users = Users(str(path))
    known: list[bytes] = []
    nothing, writer = os.pipe()

    class Started(Asked):
        fd = nothing

        def set_auth(self, lines: bytes) -> None:
            known.append(lines)

        def watch(self, descriptor: int) -> None:
            pass

        def tick(self) -> None:
            worker._loop.stop()

    def read_again(self: Worker) -> None:
        path.write_bytes(b"new:p\n")
        users.reload()

    monkeypatch.setattr(Worker, "_wait_for_others", read_again)
    with in_process() as server:
        context = replace(server.context, users=users)
        worker = Worker(context, server.store, cast(Engine, cast(Any, Started())), 0)
        try:
            worker.run()
        finally:
            gc.enable()
            gc.unfreeze()
    os.close(nothing)
    os.close(writer)
    assert known == [b"old:p\n", b"new:p\n"]
