"""A handle's reads from flash, waited for without an engine."""

import contextlib
import os
import select
import time
from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.deadline import WAIT_SECONDS


class Reads:
    """A flash reader; sessions of its handle's proto use it."""

    def __init__(
        self, flash: Any, proc: Any, *, kind: int, depth: int, threads: int, memory_bytes: int
    ) -> None:
        options = ffi.new("struct flash_reader_options *")
        options.kind, options.depth, options.threads = kind, depth, threads
        options.memory_bytes = memory_bytes
        out = ffi.new("struct flash_reader **")
        status = lib.flash_reader_open(flash, proc, options, out)
        assert status == 0, (status, ffi.errno)
        self.pointer: Any = out[0]

    def close(self) -> None:
        """Waits for what the kernel still writes to."""
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.flash_reader_close(pointer)

    def wait(self, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Hands over what was begun, and collects reads once some are done, if there are any."""
        if lib.flash_reader_submit(self.pointer) == 0:
            lib.flash_reader_reap(self.pointer, 0)
            return
        fd = lib.flash_reader_fd(self.pointer)
        end = time.monotonic() + timeout_seconds
        while not lib.flash_reader_has_done(self.pointer):
            left = end - time.monotonic()
            assert left > 0, "no read from flash was done in time"
            select.select([fd], [], [], left)
            # Who sleeps at the descriptor empties it, so that it wakes again.
            with contextlib.suppress(BlockingIOError):
                os.read(fd, 8)
        lib.flash_reader_reap(self.pointer, 0)

    def wait_for_all(self) -> None:
        """Waits until nothing is under way."""
        while self.under_way():
            self.wait()

    def under_way(self) -> int:
        """Reads that are begun and not done yet."""
        state = ffi.new("struct flash_reader_state *")
        lib.flash_reader_read_state(self.pointer, state)
        return int(state.reads_under_way + state.reads_queued)

    def memory_bytes(self) -> int:
        """What is held of reads that are not used up."""
        state = ffi.new("struct flash_reader_state *")
        lib.flash_reader_read_state(self.pointer, state)
        return int(state.memory_bytes)
