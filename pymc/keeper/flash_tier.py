"""The keeper's part of the flash tier: its jobs, and the threads that wait for devices."""

import os
from collections.abc import Callable
from contextlib import suppress

from pymc.core.flash import Flash
from pymc.core.flash_paths import FlashPaths
from pymc.core.store import Store
from pymc.core.writeout import FlashPages
from pymc.keeper.flash_health import Health
from pymc.keeper.flash_index_watch import IndexWatch
from pymc.keeper.io_thread import IoThreads
from pymc.keeper.leave import LeaveJob
from pymc.keeper.reclaim import Reclaim
from pymc.keeper.write_out import WriteOutJob
from pymc.keeper.writer import Writer
from pymc.server_context import ServerContext

Job = Callable[[], float | None]


class FlashTier:
    """What the keeper does for flash, job by job."""

    def __init__(self, context: ServerContext, store: Store, flash: Flash) -> None:
        """Starts the threads. Borrows all of them."""
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        pages, paths = FlashPages(store, flash), FlashPaths(store, flash)
        # Who had the slot before is gone.
        flash.forget_writes(store.slot)
        # Of each path one for writing and one for reading back: neither waits for the other.
        writers = IoThreads("flash writer", self.wake_fd, paths.note_writing)
        readers = IoThreads("flash reader", self.wake_fd)
        self._threads = (writers, readers)
        self._health = Health(context, flash, pages, paths, writers, readers)
        self._writer = Writer(store, flash, writers, self._health)
        self._write_out = WriteOutJob(store, flash, self._writer, self._health)
        self._reclaim = Reclaim(store, flash, pages, self._writer, readers)
        self.jobs: dict[str, Job] = {
            "write": self._writer.step,
            "write out": self._write_out.step,
            "reclaim": self._reclaim.step,
            "path health": self._health.look,
            "leave": LeaveJob(store).step,
            "index": IndexWatch(context.arena, flash).look,
        }

    def finish_io(self) -> tuple[str, ...]:
        """Takes over what the threads have done; returns the names of jobs that may go on."""
        os.eventfd_read(self.wake_fd)
        for thread in self._threads:
            thread.finish()
        return "write", "write out", "reclaim"

    def wanted(self) -> tuple[str, ...]:
        """Takes note that a write buffer was closed or is wanted; returns the jobs to do."""
        # All keepers have this descriptor, and there may be another one.
        with suppress(BlockingIOError):
            os.eventfd_read(self._writer.wake_fd)
        return ("write",)

    @property
    def buffers_fd(self) -> int:
        """Returns a descriptor that is readable when wanted() has something to say."""
        return self._writer.wake_fd

    def close(self) -> None:
        """Waits for what is under way; for who goes on without a keeper."""
        for thread in self._threads:
            thread.close()
        os.close(self.wake_fd)

    @property
    def is_sweeping(self) -> bool:
        """Tells whether a walk over the index is under way that must not begin anew."""
        return self._reclaim.is_sweeping

    def urgent(self) -> tuple[str, ...]:
        """Returns the names of jobs that have something to do since another one was done."""
        if self._writer.needs_page:
            return ("reclaim",)
        freed, self._reclaim.has_freed = self._reclaim.has_freed, False
        return ("write", "write out") if freed else ()
