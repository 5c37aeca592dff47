"""Starting one process, as the first of its slot or in another one's place."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pymc import logs
from pymc.core.arena import Role
from pymc.launch import Holdings, Launcher, launcher, name_of
from pymc.launch.holdings import socket_identity
from pymc.messages import Lifeline
from pymc.server_context import ServerContext
from tests.support.children import in_a_process
from tests.support.inprocess import in_process


@contextmanager
def held(args: list[str] | None = None, pidfile: str | None = None) -> Iterator[Holdings]:
    """What a start makes, with a unix socket's file that is the server's."""
    lifeline = Lifeline.create()
    with in_process(args or []) as server:
        path = server.context.settings.unix_socket_path
        yield Holdings(server.context, lifeline, pidfile, socket_identity(path))
    os.close(lifeline.reader_fd)
    os.close(lifeline.writer_fd)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A title is written over the start of a process's memory; here that is the test's own."""
    monkeypatch.setattr(launcher, "show_name", lambda name: None)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def with_life(made: Launcher, life: Callable[[ServerContext, int], int]) -> Launcher:
    made._lives[Role.WORKER] = life
    return made


def test_a_process_lives_in_its_slot_without_the_lifelines_writer() -> None:
    with held() as holdings:

        def life(context: ServerContext, slot: int) -> int:
            try:
                os.fstat(holdings.lifeline.writer_fd)
            except OSError:
                return 10 + slot if context is holdings.context else 1
            return 2

        start = with_life(Launcher(holdings), life).start
        assert [exit_code(start(Role.WORKER, slot)) for slot in (0, 5, 5)] == [10, 15, 15]
        # The supervisor's own is still there.
        os.fstat(holdings.lifeline.writer_fd)


def test_a_life_that_fails_is_logged_with_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    def life(context: ServerContext, slot: int) -> int:
        raise RuntimeError("on purpose")

    with held() as holdings:
        assert exit_code(with_life(Launcher(holdings), life).start(Role.WORKER, 3)) == 70
    said = capfd.readouterr().err
    assert said.startswith("pymc: worker 3:\n") and "on purpose" in said


def test_its_lines_of_the_log_bear_its_name() -> None:
    def life(context: ServerContext, slot: int) -> int:
        return 5 if logs._log.role == "worker 3" else 1

    with held() as holdings:
        assert exit_code(with_life(Launcher(holdings), life).start(Role.WORKER, 3)) == 5
    assert logs._log.role == "supervisor"


def test_a_keeper_needs_its_code_loaded_first(capfd: pytest.CaptureFixture[str]) -> None:
    def scene() -> None:
        with held() as holdings:
            made = Launcher(holdings)
            assert exit_code(made.start(Role.KEEPER, 2)) == 70
            made.load_keeper()
            pid = made.start(Role.KEEPER, holdings.context.keeper_slot)
            # It works until it is told to stop, or its supervisor ends.
            os.kill(pid, signal.SIGTERM)
            assert exit_code(pid) in (0, -signal.SIGTERM)

    in_a_process(scene)
    assert "KeyError" in capfd.readouterr().err


def test_names() -> None:
    assert name_of(Role.WORKER, 7) == "worker 7"
    assert name_of(Role.KEEPER, 7) == name_of(Role.KEEPER, 8) == "keeper"


def test_release_removes_the_servers_own_files(tmp_path: Path) -> None:
    pidfile, path = tmp_path / "pid", tmp_path / "socket"
    pidfile.write_text("1\n")
    path.write_text("")
    with held(["-s", str(path)], str(pidfile)) as holdings:
        holdings.release()
    assert not pidfile.exists()
    assert not path.exists()


def test_release_leaves_a_socket_that_another_server_made_since(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("")
    with held(["-s", str(path)], str(tmp_path / "gone")) as holdings:
        other = tmp_path / "other"
        other.write_text("")
        other.rename(path)
        holdings.release()
    assert path.exists()


def test_a_pid_file_that_cannot_be_removed_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with held(pidfile=str(tmp_path)) as holdings:
        holdings.release()
    assert f"Could not remove the pid file {tmp_path}." in capfd.readouterr().err
