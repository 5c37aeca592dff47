"""Looks after the children: who does not go on gets no new work and, in the end, is killed."""

import socket
import time

from pymc.core.arena import SlotPulse
from pymc.core.engine import give_connection
from pymc.core.snapshots import read_loads
from pymc.logs import say
from pymc.policy.watchdog import CLOSE_PAUSE_SECONDS, Kill, Pulse, Watchdog
from pymc.server_context import ServerContext
from pymc.supervisor.children import Child, Children
from pymc.supervisor.process_state import read_state

# Connections taken from one late worker's queue at one look.
_RESCUES_MAX = 64


class Guard:
    """The watchdog's eyes and hands. Holds no lock; all it writes are marks and counters."""

    def __init__(self, context: ServerContext, children: Children) -> None:
        """Looks for the first time as soon as it is asked to."""
        self._context = context
        self._children = children
        settings = context.settings
        self._watchdog = Watchdog(settings.watchdog_seconds, spares_dumps=settings.core_dumps)
        # When to look again, on the monotonic clock.
        self.due = 0.0

    def look(self) -> None:
        """Marks, kills and helps; call when it is due, and earlier when a child changed."""
        now = time.monotonic()
        arena = self._context.arena
        children = {child.slot: child for child in self._children.living}
        pulses = {slot: _pulse(child, arena.pulse(slot)) for slot, child in children.items()}
        verdict = self._watchdog.look(now, pulses, read_state)
        absent = {child.slot for child in self._children.absent}
        late = verdict.late | absent
        for slot in (*children, *absent):
            arena.set_late(slot, slot in late)
        for kill in verdict.kills:
            arena.count_for(kill.slot, "watchdog_kills")
            say(_told(children[kill.slot], kill))
            self._children.kill(children[kill.slot])
        workers = range(self._context.settings.workers)
        healthy = [slot for slot in workers if slot not in late]
        for slot in workers if healthy else ():
            if slot in late:
                self._rescue(slot, healthy)
        self.due = now + (CLOSE_PAUSE_SECONDS if absent else verdict.pause_seconds)

    def _rescue(self, late: int, healthy: list[int]) -> None:
        """Accepts what the kernel dealt to a worker that does not, for those that do."""
        for listener, address in enumerate(self._context.addresses):
            # Of a shared socket the others accept anyway.
            if len(address.sockets) == 1:
                continue
            for _ in range(_RESCUES_MAX):
                if not self._rescue_one(address.socket_for(late), late, listener, healthy):
                    break

    def _rescue_one(
        self, queue: socket.socket, late: int, listener: int, healthy: list[int]
    ) -> bool:
        context = self._context
        loads = read_loads(context.arena, context.settings.workers)
        # Above the limit they wait here; the next life of this worker refuses them.
        if sum(loads) >= context.settings.connections_max:
            return False
        try:
            client, _ = queue.accept()
        except OSError:
            return False
        with client:
            receiver = min(healthy, key=loads.__getitem__)
            inbox = context.worker_inboxes[receiver].writer.fileno()
            if not give_connection(inbox, client.fileno(), listener):
                return False
        context.arena.count_for(late, "connections_rescued")
        return True


def _pulse(child: Child, seen: SlotPulse) -> Pulse:
    if seen.pid != child.pid:
        return Pulse(child.pid, is_starting=True, is_stopped=child.is_stopped)
    return Pulse(
        child.pid,
        beats=seen.beats,
        is_stopped=child.is_stopped,
        waits_for=seen.waits_for,
        naps=seen.naps,
        waited_us=seen.waited_us,
    )


def _told(child: Child, kill: Kill) -> str:
    where = f" in {kill.state.where}" if kill.state.where else ""
    state = f"state {kill.state.letter}{where}"
    silent = f"no beat for {kill.silent_seconds:.2f} s"
    why = "" if kill.reason == "no beat" else f", {kill.reason}"
    return f"pymc: watchdog kills {child.role} (pid {child.pid}): {silent}, {state}{why}"
