"""A server without processes: arena, context and a store handle, all inside the test."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pymc import cli
from pymc.control.answers import Answer, Command, Parts, Watching
from pymc.control.commands import HANDLERS
from pymc.core.arena import Role
from pymc.core.store import Store
from pymc.launch.certificates import load_material, try_material
from pymc.launch.memory import create_arena, open_flash
from pymc.messages import Inbox
from pymc.server_context import ServerContext
from pymc.stats.cpu_times import RecentCpuTimes


@dataclass(frozen=True)
class InProcess:
    context: ServerContext
    store: Store

    def ask(self, line: str, *, is_pipelined: bool = False) -> bytes:
        """The whole answer to an administrative command line."""
        words = [word for word in line.encode("latin-1").split(b" ") if word]
        answer = HANDLERS[words[0]](Command(words, is_pipelined, self.context, self.store))
        assert not isinstance(answer, Watching)
        return (
            answer.text
            if isinstance(answer, Answer)
            else b"".join(part or b"" for part in answer.parts)
        )

    def parts(self, line: str) -> list[bytes | None]:
        """The parts of an answer that comes in parts."""
        words = line.encode("latin-1").split(b" ")
        answer = HANDLERS[words[0]](Command(words, False, self.context, self.store))
        assert isinstance(answer, Parts)
        return list(answer.parts)

    def fill(self, prefix: str, count: int, value_bytes: int, expiry_seconds: int = 0) -> None:
        """Stores `count` values under keys that begin with `prefix`."""
        value = b"x" * value_bytes
        for number in range(count):
            key = f"{prefix}{number}".encode()
            self.store.put(key, value, expiry_seconds=expiry_seconds)


@contextmanager
def in_process(args: Sequence[str] = ()) -> Iterator[InProcess]:
    """Everything but the processes of a server with these memcached flags."""
    settings = cli.parse(["-u", "root", "-p", "0", "-t", "2", *args], "pymc", {})
    arena, plan = create_arena(settings)
    flash = open_flash(settings, arena, plan)
    material = load_material(settings) if settings.tls_enabled else None
    if material:
        try_material(settings, material, arena)
    read_fd, write_fd = os.pipe()
    inboxes = [Inbox.create() for _ in range(3)]
    context = ServerContext(
        settings=settings,
        arena=arena,
        supervisor_pid=os.getpid(),
        lifeline_fd=read_fd,
        addresses=(),
        worker_inboxes=tuple(inboxes[:2]),
        keeper_inbox=inboxes[2],
        cpu_times=RecentCpuTimes(),
        flash=flash,
        tls=material,
    )
    try:
        with Store(arena, 0, Role.WORKER, flash) as store:
            yield InProcess(context, store)
    finally:
        if flash:
            flash.close()
        arena.close()
        os.close(read_fd)
        os.close(write_fd)
        for inbox in inboxes:
            inbox.reader.close()
            inbox.writer.close()
