"""The part of `lru_crawler metadump` and `mgdump` that is on flash only, page by page."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pymc.core.flash import Flash, PageState
from pymc.core.maintain import DumpKind
from pymc.core.store import Store
from pymc.core.writeout import FlashDump, Scan

_READABLE = (PageState.OPEN, PageState.FULL)


def flash_dump_parts(store: Store, flash: Flash, kind: DumpKind) -> Iterator[bytes]:
    """Lines for items that are on flash and not in memory; empty parts while a page is read.

    The device is waited for in a thread, so that the worker serves others meanwhile.
    """
    scan = Scan(store, flash)
    thread = ThreadPoolExecutor(1, "flash dump")
    try:
        dump = FlashDump(store, scan, kind)
        for number, page in enumerate(flash.pages()):
            if page.state in _READABLE and page.objects and scan.begin(number):
                yield from _page_parts(scan, dump, thread)
    finally:
        # The scan's memory must not go while a read is under way.
        thread.shutdown()
        scan.close()


def _page_parts(scan: Scan, dump: FlashDump, thread: ThreadPoolExecutor) -> Iterator[bytes]:
    while True:
        loading = thread.submit(scan.load)
        while not loading.done():
            yield b""
        if loading.result().is_end:
            return
        has_more = loading.result().is_good
        while has_more:
            lines, has_more = dump.step()
            yield lines
