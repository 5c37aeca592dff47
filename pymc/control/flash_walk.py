"""The part of `lru_crawler metadump` and `mgdump` that is on flash only, page by page."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from pymc.control.answers import WAITING
from pymc.core.flash import Flash, PageState
from pymc.core.maintain import DumpKind
from pymc.core.store import Store
from pymc.core.writeout import FlashDump, Loaded, Scan

_READABLE = (PageState.OPEN, PageState.FULL)


def flash_dump_parts(store: Store, flash: Flash, kind: DumpKind) -> Iterator[bytes | None]:
    """Yields lines for items that are on flash and not in memory; WAITING while a page is read.

    The device is waited for in a thread, so that this process does other things meanwhile.
    """
    reading = _Reading(store, flash)
    try:
        dump = FlashDump(store, reading.scan, kind)
        for number in range(flash.page_count):
            page = flash.page(number)
            if page.state in _READABLE and page.objects and reading.scan.begin(number):
                yield from _page_parts(reading, dump)
            else:
                yield b""
    finally:
        reading.end()


class _Reading:
    """A scan that is loaded in a thread of its own."""

    def __init__(self, store: Store, flash: Flash) -> None:
        self.scan = Scan(store, flash)
        self._thread = ThreadPoolExecutor(1, "flash dump")
        self._loading: Future[Loaded] | None = None

    def load(self) -> Future[Loaded]:
        """Begins to read the next piece."""
        self._loading = self._thread.submit(self.scan.load)
        return self._loading

    def end(self) -> None:
        """Gives all back without waiting: the scan's memory goes when no read is under way."""
        self._thread.shutdown(wait=False)
        if self._loading:
            self._loading.add_done_callback(lambda _: self.scan.close())
        else:
            self.scan.close()


def _page_parts(reading: _Reading, dump: FlashDump) -> Iterator[bytes | None]:
    while True:
        loading = reading.load()
        while not loading.done():
            yield WAITING
        if loading.result().is_end:
            return
        has_more = loading.result().is_good
        while has_more:
            lines, has_more = dump.step()
            yield lines
