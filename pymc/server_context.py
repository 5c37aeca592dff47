"""What all processes of one server share: made by the supervisor, inherited through fork."""

import os
import socket
from typing import TYPE_CHECKING

from pymc.auth_file import Users
from pymc.config import Settings
from pymc.core.arena import Arena, Role
from pymc.core.engine import ListenerKind, ListenerOptions
from pymc.core.flash import Flash
from pymc.messages import Inbox
from pymc.record import Record
from pymc.stats.cpu_times import RecentCpuTimes

if TYPE_CHECKING:
    # Most servers do without it.
    from pymc.tls.material import Material

# A keeper that was killed and does not go, since it waits for a device, keeps its slot.
KEEPER_SLOTS = 3
# Process slots beyond workers and keepers, for tools that look into a running server.
TOOL_SLOTS = 2


def slots_for(settings: Settings) -> int:
    """Process slots of a server."""
    return settings.workers + KEEPER_SLOTS + TOOL_SLOTS


class ListeningAddress(Record):
    """One address and its listening sockets: one per worker, or one that all share (unix)."""

    options: ListenerOptions
    # (host, port), or the path of a unix socket.
    name: tuple[str, int] | str
    family: int
    sockets: tuple[socket.socket, ...]
    # What `-l tag[name]:` calls it; "" for nothing.
    tag: str = ""

    @property
    def kind(self) -> ListenerKind:
        """TCP, UDP or unix."""
        return self.options.kind

    def socket_for(self, worker: int) -> socket.socket:
        """The socket that a worker accepts from."""
        return self.sockets[worker % len(self.sockets)]

    def close(self) -> None:
        """Closes this process's copies of the sockets; closed ones stay as they are."""
        for one in self.sockets:
            one.close()


class ServerContext(Record):
    """The server as each of its processes sees it."""

    settings: Settings
    arena: Arena
    supervisor_pid: int
    # Readable (at its end) once the supervisor is gone.
    lifeline_fd: int
    addresses: tuple[ListeningAddress, ...]
    worker_inboxes: tuple[Inbox, ...]
    keeper_inbox: Inbox
    # Each process keeps its own.
    cpu_times: RecentCpuTimes
    # None without ext_path.
    flash: Flash | None = None
    # None without -Y.
    users: Users | None = None
    # None without -Z.
    tls: "Material | None" = None
    # None without -S; with -Y they may be the same.
    sasl_users: Users | None = None
    # How this process reads from flash: io_uring or threads; a worker knows.
    read_engine: str = "none"

    @property
    def keeper_slots(self) -> range:
        """The slots of which the keeper has one; workers have those below."""
        return range(self.settings.workers, self.settings.workers + KEEPER_SLOTS)

    @property
    def keeper_slot(self) -> int:
        """The keeper's first slot."""
        return self.keeper_slots.start

    @property
    def slots(self) -> range:
        """All process slots."""
        return range(slots_for(self.settings))

    def are_workers_there(self) -> bool:
        """Tells whether every worker has taken its slot, now or in an earlier life."""
        return all(self.arena.slot_owner(slot).pid for slot in range(self.settings.workers))

    def keeper_pid(self) -> int:
        """The keeper at work; 0 while there is none."""
        pids = {slot: self.living_pid(slot) for slot in self.keeper_slots}
        # One that was given up is late for ever.
        at_work = [pid for slot, pid in pids.items() if pid and not self.arena.pulse(slot).is_late]
        return next(iter(at_work), max(pids.values()))

    def living_pid(self, slot: int) -> int:
        """The process that holds a worker's or the keeper's slot; 0 while there is none."""
        owner = self.arena.slot_owner(slot)
        # A slot names its last owner until somebody repairs it.
        is_there = owner.role in (Role.WORKER, Role.KEEPER) and os.path.exists(f"/proc/{owner.pid}")
        return owner.pid if is_there else 0

    def living_pids(self) -> list[int]:
        """The supervisor, the workers and the keeper."""
        pids = [self.living_pid(slot) for slot in range(self.keeper_slots.stop)]
        return [self.supervisor_pid, *(pid for pid in pids if pid)]
