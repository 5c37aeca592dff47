"""How certificates are loaded anew, with fake time and a check that says what it is told."""

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from pymc.supervisor import certificates
from pymc.supervisor.certificates import Certificates, RunningCheck
from pymc.tls import files as files_module
from pymc.tls.checker import SAME, start_check
from pymc.tls.facts import DAY_SECONDS, Facts, as_text
from pymc.tls.files import look_at
from pymc.tls.material import OK, Material
from tests.support.certificate_files import CertificateFiles

NOW = 2_000_000_000.0


@pytest.fixture
def files(tmp_path: Any) -> CertificateFiles:
    return CertificateFiles(tmp_path)


class World:
    """A supervisor's certificates, with everything around them at hand."""

    def __init__(
        self, files: CertificateFiles, monkeypatch: pytest.MonkeyPatch, seen_at_start: str = ""
    ) -> None:
        self.files = files
        self.now = 100.0
        self.lines: list[str] = []
        self.told = 0
        self.rotated = 0
        self.started = 0
        self.given_up = 0
        self.seen = ""
        self.is_same = False
        self.is_stuck = False
        self.said: str | None = None
        self.can_start = True
        self.material = Material(files.settings)
        self.material.seen_at_start = seen_at_start or look_at(self.material.parts)
        self.facts = Facts(subject="CN=s", not_after=int(NOW) + 90 * DAY_SECONDS)
        self._load()
        self.material.publish(0)
        self.wiped = 0
        monkeypatch.setattr(self.material, "wipe_other", self._wipe)
        monkeypatch.setattr(certificates, "say", self.lines.append)
        monkeypatch.setattr(certificates, "rotate_tickets", lambda arena: self._rotate())
        context: Any = SimpleNamespace(
            arena=SimpleNamespace(seconds=lambda: int(self.now)), settings=files.settings
        )
        self.care = Certificates(
            context,
            self.material,
            self._tell,
            start=self._start,
            clock=lambda: self.now,
            wall_clock=lambda: NOW,
        )

    def _tell(self) -> None:
        self.told += 1

    def _wipe(self) -> None:
        self.wiped += 1

    def _rotate(self) -> None:
        self.rotated += 1

    def _load(self) -> None:
        self.material.write_next({"chain": b"c", "key": b"k", "facts": as_text(self.facts)})

    def _start(self, known: str) -> RunningCheck:
        if not self.can_start:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.seen = look_at(self.material.parts)
        self.is_same = known == self.seen
        if self.is_same:
            return self
        self.started += 1
        self._load()
        return self

    def give_up(self) -> str:
        self.given_up += 1
        self.seen = ""
        return "too slow"

    def is_gone(self) -> bool:
        return not self.is_stuck

    def verdict(self) -> str | None:
        return SAME if self.is_same else self.said

    def says(self, verdict: str | None) -> None:
        self.said = verdict

    def look(self, later: float = 0.0) -> None:
        """Looks, and once more where a look at the files has found nothing new at once."""
        self.now += later
        self.care.look()
        if self.is_same:
            self.care.look()

    def confirm(self, *workers: int) -> None:
        for worker in workers:
            self.material.note_used(worker, self.material.generation)


@pytest.fixture
def world(files: CertificateFiles, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(files, monkeypatch)
    made.look()
    return made


def test_who_asks_is_told_when_all_workers_use_what_is_new(world: World) -> None:
    world.care.ask()
    assert (world.started, world.material.rounds_begun, world.material.rounds_done) == (1, 1, 0)
    world.look(0.1)
    assert world.told == 0
    world.says(OK)
    world.look(0.1)
    assert (world.told, world.material.generation, world.material.rounds_done) == (1, 2, 0)
    assert world.material.loaded_seconds == 100
    world.confirm(0)
    world.look(0.1)
    # Worker 1 may be reading the former copy.
    assert (world.material.rounds_done, world.wiped) == (0, 0)
    world.confirm(1)
    world.look(0.1)
    assert world.wiped == 1
    assert (world.material.rounds_done, world.material.result_of(1)) == (1, OK)
    assert world.lines[-1] == "pymc: certificates loaded: CN=s, valid for 90 days"


def test_what_is_bad_changes_nothing_and_is_said(world: World) -> None:
    world.care.ask()
    world.says("Error loading the key: /k : no")
    world.look(0.1)
    assert (world.told, world.material.generation, world.wiped) == (0, 1, 1)
    assert world.material.result_of(1) == "Error loading the key: /k : no"
    assert world.lines == [
        "pymc: Error loading the key: /k : no; what was loaded before stays in use"
    ]
    assert world.material.refusals == 1


def test_who_asks_meanwhile_gets_a_round_of_his_own(world: World) -> None:
    world.care.ask()
    world.care.ask()
    world.care.ask()
    assert world.material.rounds_begun == 1
    world.says("bad")
    world.look(0.1)
    assert (world.material.rounds_begun, world.material.rounds_done) == (1, 1)
    world.look(1.0)
    assert (world.material.rounds_begun, world.material.rounds_done) == (2, 1)
    world.look(0.1)
    assert (world.material.rounds_begun, world.material.rounds_done, world.started) == (2, 2, 2)


def test_who_asks_again_and_again_is_put_off_for_a_second(world: World) -> None:
    world.says("bad")
    world.care.ask()
    world.look(0.1)
    for _ in range(20):
        world.care.ask()
        assert world.care.is_at_work
        assert world.care.due == pytest.approx(101.1)
    world.look(0.9)
    assert world.started == 1
    world.look(0.2)
    assert world.started == 2


def test_a_look_that_finds_nothing_new_counts_for_nothing(world: World) -> None:
    world.says("bad")
    world.files.renew()
    world.look(61)
    world.look(0.1)
    assert world.material.refusals == 1
    world.look(5.1)
    assert (world.started, world.material.rounds_done, world.material.refusals) == (1, 2, 1)
    # It is the answer to somebody who asked just before the look began.
    assert world.material.result_of(2) == "bad"
    assert len(world.lines) == 1


def test_files_that_change_during_the_start_are_loaded_as_well(
    files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = look_at(Material(files.settings).parts)
    files.renew()
    world = World(files, monkeypatch, seen)
    world.look(61)
    assert world.started == 1


def test_files_that_change_are_loaded_within_a_minute(world: World) -> None:
    world.look(59)
    world.files.renew()
    assert world.started == 0
    world.look(2)
    assert world.started == 1
    world.says(OK)
    world.look(0.1)
    world.confirm(0, 1)
    world.look(0.1)
    assert world.material.rounds_done == 1
    world.look(61)
    assert world.started == 1


def test_half_of_a_pair_is_not_taken_and_the_other_half_is_soon_looked_for(world: World) -> None:
    pair = world.files.root.server()
    world.files.write("chain.pem", pair.chain_pem)
    world.look(61)
    world.says("the key does not belong to the certificate")
    world.look(0.1)
    assert world.material.generation == 1
    world.look(5.1)
    # Nothing changed since: what it came to is known.
    assert (world.started, len(world.lines)) == (1, 1)
    world.files.write("key.pem", pair.key_pem)
    world.look(5.1)
    assert world.started == 2
    world.says(OK)
    world.look(0.1)
    assert world.material.generation == 2


def test_links_that_are_swapped_are_changes(world: World) -> None:
    folder = world.files.folder
    (folder / "two").mkdir()
    (folder / "two" / "chain.pem").write_bytes(b"x")
    (folder / "chain.pem").unlink()
    (folder / "chain.pem").symlink_to("two/chain.pem")
    world.look(61)
    assert world.started == 1


def test_a_check_that_comes_to_no_end_is_given_up(world: World) -> None:
    world.care.ask()
    world.look(29)
    assert world.given_up == 0
    world.look(2)
    assert (world.given_up, world.material.result_of(1)) == (1, "too slow")


def test_one_that_was_given_up_and_hangs_stays_the_only_one(world: World) -> None:
    world.is_stuck = True
    world.look(61)
    world.files.renew()
    world.look(61)
    world.look(31)
    world.says(OK)
    assert (world.started, world.given_up) == (1, 1)
    for _ in range(3):
        world.care.ask()
        world.look(6)
    assert world.started == 1
    assert world.material.result_of(world.material.rounds_done) == (
        "Error checking the certificates: the last check still hangs"
    )
    world.is_stuck = False
    world.wiped = 0
    world.look(6)
    # What it wrote at its end is in no copy.
    assert (world.wiped, world.started) == (1, 2)


def test_a_file_system_that_hangs_does_not_hold_up_who_watches(
    files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(files, monkeypatch)
    supervisor = os.getpid()
    started: list[int] = []

    def hang(path: str) -> str:
        assert os.getpid() != supervisor, "the supervisor looks by itself"
        signal.pause()
        return ""

    def start(known: str) -> RunningCheck:
        check = start_check(files.settings, world.material, None, known)
        started.append(check.pid)
        return check

    monkeypatch.setattr(files_module, "_look_at", hang)
    world.care._start = start
    world.look(61)
    world.look(29)
    assert world.material.rounds_done == 0
    world.look(2)
    (pid,) = started
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert "took longer than 30 s" in world.material.result_of(1)


def test_without_a_process_the_round_ends(world: World) -> None:
    world.can_start = False
    world.care.ask()
    assert "no process: Resource temporarily unavailable" in world.material.result_of(1)


def test_a_worker_that_does_not_confirm_is_named_and_not_waited_for(world: World) -> None:
    world.care.ask()
    world.says(OK)
    world.look(0.1)
    world.confirm(1)
    world.look(4)
    assert world.material.rounds_done == 0
    world.look(2)
    assert world.material.result_of(1) == (
        "Error: 1 of 2 workers use the new certificates; worker 0 did not say so within 5 s"
    )
    # The new ones count all the same.
    assert world.lines[-1].endswith("did not say so within 5 s")


def test_the_same_reason_is_said_once_unless_somebody_asks(world: World) -> None:
    world.says("bad")
    for _ in range(3):
        world.files.renew()
        world.look(61)
        world.look(0.1)
    assert (world.started, len(world.lines)) == (3, 1)
    world.care.ask()
    world.look(1.0)
    world.look(0.1)
    assert len(world.lines) == 2


def test_ticket_keys_change_by_the_clock(world: World) -> None:
    world.look(3599)
    assert world.rotated == 0
    world.look(2)
    assert world.rotated == 1
    world.look(3600)
    assert world.rotated == 2


def test_it_is_due_when_there_is_something_to_do(world: World) -> None:
    assert world.care.due == 160
    world.care.ask()
    assert world.care.due < 101
    world.says("bad")
    world.look(0.1)
    assert world.care.due == pytest.approx(105.1)


def test_what_ends_soon_is_said_once_a_day(world: World) -> None:
    world.facts = Facts(subject="CN=s", not_after=int(NOW) + 13 * DAY_SECONDS + 1)
    world.care.ask()
    world.says(OK)
    world.look(0.1)
    world.confirm(0, 1)
    world.look(0.1)
    said = "warning: the certificate CN=s expires in 13 days"
    assert world.lines.count(said) == 1
    world.look(DAY_SECONDS - 10)
    assert world.lines.count(said) == 1
    world.look(20)
    assert world.lines.count(said) == 2
