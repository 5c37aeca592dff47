"""Paths of the flash tier as the keeper drives them: in and out of service, noted, probed."""

import time
from collections.abc import Callable

from pymc.core.ffi import ffi, lib
from pymc.core.flash import Flash, Full, PageState, Why
from pymc.core.store import Store
from pymc.record import Record


class Probed(Record):
    """How a try of a path ended: 0 or an errno, and how long it took."""

    error: int
    seconds: float


class FlashPaths:
    """What the keeper alone does to paths. Probes may run in any thread."""

    def __init__(self, store: Store, flash: Flash) -> None:
        """Borrows both."""
        self._arena = store.arena
        self._flash = flash.pointer
        self._slot = store.slot
        self._proc = lib.store_proc(store.pointer)

    def bring_in(self, path: int) -> None:
        """Takes a path into service again, with empty pages."""
        lib.flash_path_bring_in(self._flash, self._proc, path)

    def close_pages(self, path: int) -> None:
        """Open pages that can get no more now are closed."""
        lib.flash_path_close_pages(self._flash, self._proc, path)

    def set_full(self, path: int, full: Full) -> None:
        """What is believed of the path's file system."""
        lib.flash_path_set_full(self._flash, path, full)

    def want_judged(self, path: int) -> None:
        """What the operator wanted is done."""
        lib.flash_path_want(self._flash, path, lib.FLASH_WANTED_JUDGED)

    def note(self, path: int, why: Why) -> None:
        """Tells all processes since when, from now on, the path stands as it does, and why."""
        lib.flash_path_note(self._flash, path, why, self._arena.seconds())

    def find_page(self, path: int, state: PageState, *, without_blocks: bool = False) -> int | None:
        """A page of the path in this state; None when there is none."""
        page = lib.flash_path_find_page(self._flash, path, state, without_blocks)
        return None if page == lib.FLASH_PAGES_MAX else int(page)

    def note_writing(self, path: int, is_writing: bool) -> None:
        """Tells of a write that is, or is not any more, under way to the path."""
        lib.flash_writing_note(self._flash, self._proc, path, is_writing)

    def writing_elsewhere(self, path: int) -> bool:
        """Whether another process, killed perhaps, has a write under way to the path."""
        return bool(lib.flash_writing_elsewhere(self._flash, self._slot) >> path & 1)

    def probe_read(self, path: int) -> Probed:
        """Reads a block."""
        return _probed(lambda: lib.flash_probe_read(self._flash, path))

    def probe_write(self, page: int) -> Probed:
        """Writes a block of a page that nobody uses, and reads it back."""
        return _probed(lambda: lib.flash_probe_write(self._flash, page))

    def probe_room(self, page: int) -> Probed:
        """Writes nothing all over a free page that has no blocks yet."""
        return _probed(lambda: lib.flash_probe_room(self._flash, page))


def _probed(probe: Callable[[], int]) -> Probed:
    begun = time.monotonic()
    status = probe()
    error = ffi.errno if status != lib.PYMC_OK else 0
    return Probed(error, time.monotonic() - begun)
