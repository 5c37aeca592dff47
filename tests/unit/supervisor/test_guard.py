"""The supervisor's guard over real processes that stand still where no client can bring them."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from pymc.core.arena import Arena, Role, SlotPulse
from pymc.core.ffi import ffi, lib
from pymc.core.store import Store
from pymc.policy.watchdog import GONE_SECONDS, Pulse
from pymc.record import replace
from pymc.supervisor.children import Child
from pymc.supervisor.guard import Guard, _pulse
from pymc.supervisor.process_state import read_state
from tests.support.deadline import wait_until
from tests.support.inprocess import InProcess, in_process

# The test itself has slot 0.
HOLDER, WAITER = 1, 2


class Family:
    """Stands for the supervisor's children."""

    def __init__(self) -> None:
        self.living: list[Child] = []
        self.absent: list[Child] = []
        self.killed: list[Child] = []
        self.given_up: list[Child] = []

    def fork(self, slot: int, life: Callable[[], object]) -> Child:
        child = Child(Role.WORKER, slot)
        child.pid = os.fork()
        if child.pid == 0:
            try:
                life()
            finally:
                os._exit(1)
        self.living.append(child)
        return child

    def kill(self, child: Child) -> None:
        self.killed.append(child)
        os.kill(child.pid, signal.SIGKILL)

    def give_up(self, child: Child) -> None:
        self.given_up.append(child)
        self.living.remove(child)

    def end(self) -> None:
        for child in [*self.living, *self.given_up]:
            if child not in self.killed:
                os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)


@pytest.fixture
def family() -> Iterator[Family]:
    made = Family()
    yield made
    made.end()


@pytest.fixture
def server() -> Iterator[InProcess]:
    with in_process(["-o", "watchdog=60"]) as made:
        yield made


def hold(arena: Arena) -> None:
    """A worker that was stopped somewhere; what it holds is what its waiter says."""
    store = Store(arena, HOLDER, Role.WORKER)
    store.beat()
    os.kill(os.getpid(), signal.SIGSTOP)


def wait(arena: Arena) -> None:
    """A worker that waits for a lock of HOLDER, and for nobody else."""
    store = Store(arena, WAITER, Role.WORKER)
    store.beat()
    lib.lock_wait(lib.store_proc(store.pointer), ffi.new("uint64_t *", HOLDER + 1))


def test_who_is_stopped_within_a_lock_is_killed_early(server: InProcess, family: Family) -> None:
    arena = server.context.arena
    holder = family.fork(HOLDER, lambda: hold(arena))
    family.fork(WAITER, lambda: wait(arena))
    wait_until(lambda: read_state(holder.pid).letter == "T", "the holder is stopped")
    wait_until(lambda: arena.pulse(WAITER).waits_for == HOLDER, "the waiter waits")
    guard = Guard(server.context, family)  # type: ignore[arg-type]

    def killed() -> bool:
        guard.look()
        return bool(family.killed)

    wait_until(killed, "one of them is killed")
    assert family.killed == [holder]
    assert arena.counters(HOLDER)["watchdog_kills"] == 1


def test_without_a_waiter_it_is_late_and_lives(server: InProcess, family: Family) -> None:
    arena = server.context.arena
    holder = family.fork(HOLDER, lambda: hold(arena))
    wait_until(lambda: read_state(holder.pid).letter == "T", "the holder is stopped")
    holder.is_stopped = True
    Guard(server.context, family).look()  # type: ignore[arg-type]
    assert arena.pulse(HOLDER).is_late
    assert not family.killed
    # Its successor begins without the mark.
    family.kill(holder)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    with Store(arena, HOLDER, Role.WORKER):
        assert not arena.pulse(HOLDER).is_late


def test_who_was_killed_and_does_not_go_is_given_up(
    server: InProcess, family: Family, capfd: pytest.CaptureFixture[str]
) -> None:
    arena = server.context.arena
    holder = family.fork(HOLDER, lambda: hold(arena))
    wait_until(lambda: read_state(holder.pid).letter == "T", "the holder is stopped")
    guard = Guard(server.context, family)  # type: ignore[arg-type]
    holder.was_killed, holder.killed = True, time.monotonic() - GONE_SECONDS
    guard.look()
    # A worker's place is its own.
    assert family.living == [holder]
    holder.spare_slots = [WAITER]
    holder.killed += 60
    guard.look()
    assert family.living == [holder]
    holder.killed -= 60
    guard.look()
    assert family.given_up == [holder]
    assert arena.pulse(HOLDER).is_late
    said = (
        f"(pid {holder.pid}) was killed and is not gone yet, state T; another one takes its place"
    )
    assert said in capfd.readouterr().err
    family.killed.append(holder)
    os.kill(holder.pid, signal.SIGKILL)
    family.given_up.clear()
    guard.look()
    assert not arena.pulse(HOLDER).is_late
    os.waitpid(holder.pid, 0)


def test_the_absent_are_late(server: InProcess, family: Family) -> None:
    family.absent.append(Child(Role.WORKER, HOLDER))
    guard = Guard(server.context, family)  # type: ignore[arg-type]
    guard.look()
    assert server.context.arena.pulse(HOLDER).is_late


def test_what_a_slot_says_is_passed_to_the_policy() -> None:
    child = Child(Role.WORKER, 1, pid=77)
    child.is_stopped = True
    seen = SlotPulse(77, False, beats=5, waits_for=2, naps=9, waited_us=300)
    wanted = Pulse(77, beats=5, is_stopped=True, waits_for=2, naps=9, waited_us=300)
    assert _pulse(child, seen) == wanted
    # What a predecessor left there is not the child's.
    assert _pulse(child, replace(seen, pid=76)) == Pulse(77, is_starting=True, is_stopped=True)


def test_states_are_read(server: InProcess) -> None:
    state = read_state(os.getpid())
    assert state.letter == "R"
    assert state.cpu_seconds > 0
    assert not state.is_halted
    assert read_state(2**31 - 1).letter == "?"


def test_a_beat_and_a_mark_are_seen(server: InProcess) -> None:
    arena, slot = server.context.arena, server.store.slot
    before = arena.pulse(slot)
    server.store.beat()
    assert arena.pulse(slot) == replace(before, beats=before.beats + 1)
    arena.set_late(slot, True)
    assert arena.pulse(slot).is_late
    assert before.pid == os.getpid()
    assert before.waits_for is None


def test_who_is_not_there_is_looked_for_often(server: InProcess, family: Family) -> None:
    """Clients that the kernel deals to it wait until the guard comes by."""
    guard = Guard(server.context, family)  # type: ignore[arg-type]
    for absent, pause in (([Child(Role.WORKER, 1)], 0.02), ([], 0.5)):
        family.absent = absent
        before = time.monotonic()
        guard.look()
        assert before + pause <= guard.due <= time.monotonic() + pause
