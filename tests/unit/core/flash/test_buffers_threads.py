"""Threads in place of processes that fill write buffers while another one writes and frees them."""

import random
import threading
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_log import HEADER_BYTES, WBUF, Buffer, Log

FILLERS = 3
# Few pages of small buffers, so that each is used again many times.
PAGES = 40
RECORDS = 4000
STREAMS = (int(lib.FLASH_DEFAULT), int(lib.FLASH_LOW_TTL))


class Filler(threading.Thread):
    """Puts records in, and looks at its own and others' at once."""

    def __init__(self, log: Log, slot: int, found: list[tuple[int, bytes]]) -> None:
        super().__init__(name=f"filler {slot}")
        self.log = log
        self.slot = slot
        self.dice = random.Random(slot)
        # Of all fillers: address and image. The interpreter's lock keeps it whole.
        self.found = found
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            # Opened here: the proof that a slot's owner lives belongs to the thread.
            proc = self.log.open_slot(self.slot)
            self.work(Buffer(self.log, 0, proc))
            self.log.close_slot(proc)
        except BaseException as error:
            self.error = error

    def work(self, buffer: Buffer) -> None:
        number = 0
        while number < RECORDS:
            buffer.bucket = self.dice.choice(STREAMS)
            image = b"%d.%d;" % (self.slot, number) * self.dice.randrange(1, 60)
            place = buffer.take(HEADER_BYTES + len(image))
            if place is None:
                continue  # Until the keeper has begun another one.
            number += 1
            buffer.fill(place, image)
            address = int(place.address)
            # It is not written before this process lets it go.
            assert self.look(address, image)
            self.found.append((address, image))
            lib.flash_place_give(self.log.flash, buffer.proc)
            # What somebody else put in not long ago may be written by now.
            self.look(*self.dice.choice(self.found[-50:]))

    def look(self, address: int, image: bytes) -> bool:
        """Whether a buffer has it; what it has must be the image."""
        page, offset = self.log.place(address)
        record_bytes = HEADER_BYTES + len(image)
        place = ffi.new("char[]", record_bytes)
        version = int(self.log.page(page).version)
        if not lib.flash_buffer_copy(self.log.flash, page, version, offset, record_bytes, place):
            return False
        assert bytes(ffi.buffer(place, record_bytes))[HEADER_BYTES:] == image
        return True


def has_gone_on(log: Log) -> bool:
    """Writes what is closed and begins a buffer for each stream without one."""
    has_worked = False
    open_streams = set()
    for number in range(lib.flash_buffer_count(log.flash)):
        buffer = Buffer(log, number)
        info = buffer.info()
        if info.state == lib.FLASH_BUFFER_FILLING and not info.is_closed:
            open_streams.add(int(info.bucket))
        elif info.state != lib.FLASH_BUFFER_FREE and lib.flash_buffer_seal(
            log.flash, log.proc, number
        ):
            buffer.finish(buffer.write())
            has_worked = True
    for bucket in set(STREAMS) - open_streams:
        assert log.free_buffer().begin(bucket) == 0
        has_worked = True
    return has_worked


@pytest.mark.slow
def test_no_record_is_lost_or_torn(tmp_path: Path) -> None:
    """Wherever many put records in at once, addresses do not overlap and each finds its own."""
    with Log(
        tmp_path, (PAGES,), page_bytes=WBUF, wbuf_bytes=WBUF // 4, slots=FILLERS + 1, buffers=5
    ) as log:
        put: list[tuple[int, bytes]] = []
        fillers = [Filler(log, slot, put) for slot in range(1, FILLERS + 1)]
        for filler in fillers:
            filler.start()
        turns = 0
        while any(filler.is_alive() for filler in fillers):
            turns += has_gone_on(log)
        for filler in fillers:
            filler.join()
            assert filler.error is None, filler.error
        found = dict(put)
        assert len(found) == len(put) == FILLERS * RECORDS
        # Each buffer was used several times.
        assert turns > 20
        end = 0
        for address in sorted(found):
            assert address * 16 >= end
            end = address * 16 + HEADER_BYTES + len(found[address])
        for number in range(lib.flash_buffer_count(log.flash)):
            buffer = Buffer(log, number)
            # The last one begun may have got nothing: it is free when it is sealed.
            if buffer.info().state != lib.FLASH_BUFFER_FREE and buffer.seal():
                buffer.finish(buffer.write())
            assert buffer.info().state == lib.FLASH_BUFFER_FREE
        scanned: dict[int, bytes] = {}
        for page in range(PAGES):
            scanned |= log.scan(page)
        assert scanned == found
