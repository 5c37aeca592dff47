"""The keeper's part of the flash tier: its jobs, and the threads that wait for devices."""

import os
from collections.abc import Callable

from pymc.core.flash import Flash
from pymc.core.flash_paths import FlashPaths
from pymc.core.store import Store
from pymc.core.writeout import Batch, FlashPages
from pymc.keeper.flash_health import Health
from pymc.keeper.io_thread import IoThread, IoThreads
from pymc.keeper.reclaim import Reclaim
from pymc.keeper.streams import Writer
from pymc.keeper.write_out import WriteOutJob
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
        self._writer = Writer(store, flash, IoThread(writers, _path_of_batch(flash)), self._health)
        self._write_out = WriteOutJob(store, flash, self._writer, self._health)
        self._reclaim = Reclaim(store, flash, pages, self._writer, readers)
        self.jobs: dict[str, Job] = {
            "write out": self._write_out.step,
            "reclaim": self._reclaim_step,
            "path health": self._health.look,
        }

    def finish_io(self) -> tuple[str, ...]:
        """Takes over what the threads have done; the jobs that may go on."""
        os.eventfd_read(self.wake_fd)
        for thread in self._threads:
            thread.finish()
        return "write out", "reclaim"

    def close(self) -> None:
        """Waits for what is under way; for who goes on without a keeper."""
        for thread in self._threads:
            thread.close()
        os.close(self.wake_fd)

    @property
    def is_sweeping(self) -> bool:
        """True while a walk over the index is under way that must not begin anew."""
        return self._reclaim.is_sweeping

    def urgent(self) -> tuple[str, ...]:
        """Jobs that have something to do since another one was done."""
        if self._writer.needs_page:
            return ("reclaim",)
        freed, self._reclaim.has_freed = self._reclaim.has_freed, False
        return ("write out",) if freed else ()

    def _reclaim_step(self) -> float:
        return self._reclaim.step(self._write_out)


def _path_of_batch(flash: Flash) -> Callable[[Callable[[], object]], int]:
    """Tells where the write of a batch goes: its job is a method of the batch."""

    def path_of(job: Callable[[], object]) -> int:
        batch: Batch = job.__self__  # type: ignore[attr-defined]
        return flash.page(batch.page).path

    return path_of
