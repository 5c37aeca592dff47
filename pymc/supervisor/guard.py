"""Looks after the children: who does not go on gets no new work and, in the end, is killed."""

import socket
import time

from pymc.core.arena import SlotPulse
from pymc.core.engine import ListenerKind, give_connection
from pymc.core.snapshots import read_loads
from pymc.logs import say
from pymc.messages import UnreadableError, receive_note, send_note
from pymc.messages.channel import close_all
from pymc.policy.watchdog import CLOSE_PAUSE_SECONDS, GONE_SECONDS, Kill, Pulse, Watchdog
from pymc.server_context import ServerContext
from pymc.supervisor.children import Child, Children
from pymc.supervisor.process_state import read_state

# Connections taken from one late worker's queue at one look.
_RESCUES_MAX = 64
# What is no connection, but calls a worker (server/inbox.c).
_CALL_BYTES = 1


class Guard:
    """The watchdog's looks and its kills. Holds no lock; all it writes are marks and counters."""

    def __init__(self, context: ServerContext, children: Children) -> None:
        """Looks for the first time as soon as it is asked to."""
        self._context = context
        self._children = children
        settings = context.settings
        self._watchdog = Watchdog(settings.watchdog_seconds, spares_dumps=settings.core_dumps)
        # Slots of those who were given up.
        self._kept: frozenset[int] = frozenset()
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
            say(_line_about(children[kill.slot], kill))
            self._children.kill(children[kill.slot])
        self._give_up(now)
        workers = range(self._context.settings.workers)
        healthy = [slot for slot in workers if slot not in late]
        for slot in workers if healthy else ():
            if slot in late:
                self._rescue(slot, healthy)
        self.due = now + (CLOSE_PAUSE_SECONDS if absent else verdict.pause_seconds)

    def _give_up(self, now: float) -> None:
        """Lets others take up the work of those who were killed and do not go, in another slot."""
        for child in self._children.living:
            if child.was_killed and child.spare_slots and now - child.killed >= GONE_SECONDS:
                say(
                    f"pymc: {child.name} (pid {child.pid}) was killed and is not gone yet, state"
                    f" {read_state(child.pid).letter}; another one takes its place"
                )
                self._children.give_up(child)
        kept = frozenset(child.slot for child in self._children.given_up)
        for slot in kept ^ self._kept:
            self._context.arena.set_late(slot, slot in kept)
        self._kept = kept

    def _rescue(self, late: int, healthy: list[int]) -> None:
        """Finds others for connections that this worker was dealt and does not take."""
        context = self._context
        loads = read_loads(context.arena, context.settings.workers)
        receivers = {slot: loads[slot] for slot in healthy}
        self._pass_on(context.worker_inboxes[late].reader, late, receivers)
        # Above the limit they wait here; the next life of this worker refuses them.
        room = min(context.settings.connections_max - sum(loads), _RESCUES_MAX)
        for listener, address in enumerate(context.addresses):
            if address.kind is ListenerKind.UDP:
                continue
            # Of a shared socket the others accept anyway.
            if len(address.sockets) > 1:
                queue = address.socket_for(late)
                while room > 0 and self._accept(queue, listener, late, receivers):
                    room -= 1

    def _pass_on(self, inbox: socket.socket, late: int, receivers: dict[int, int]) -> None:
        """Passes on what other workers handed to it. The note says where it was counted."""
        for _ in range(_RESCUES_MAX):
            try:
                note, descriptors = receive_note(inbox)
            except UnreadableError as error:
                say(f"pymc: a connection is lost on its way to worker {late}: {error}")
                continue
            except (OSError, EOFError):
                return
            if len(note) == _CALL_BYTES:
                continue  # It is late with its watchers too; there is nobody to be rescued.
            if send_note(self._next_inbox(receivers), note, descriptors):
                self._context.arena.count_for(late, "connections_rescued")
            close_all(descriptors)

    def _accept(
        self, queue: socket.socket, listener: int, late: int, receivers: dict[int, int]
    ) -> bool:
        """Gives one that the kernel dealt to it to another; False when there is none."""
        try:
            client, _ = queue.accept()
        except OSError:
            return False
        with client:
            if give_connection(self._next_inbox(receivers).fileno(), client.fileno(), listener):
                self._context.arena.count_for(late, "connections_rescued")
        return True

    def _next_inbox(self, receivers: dict[int, int]) -> socket.socket:
        """Chooses who gets the next connection: who has the fewest, with those on their way."""
        receiver = min(receivers, key=receivers.__getitem__)
        receivers[receiver] += 1
        return self._context.worker_inboxes[receiver].writer


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


def _line_about(child: Child, kill: Kill) -> str:
    where = f" in {kill.state.where}" if kill.state.where else ""
    state = f"state {kill.state.letter}{where}"
    silent = f"no beat for {kill.silent_seconds:.2f} s"
    why = "" if kill.reason == "no beat" else f", {kill.reason}"
    return f"pymc: watchdog kills {child.name} (pid {child.pid}): {silent}, {state}{why}"
