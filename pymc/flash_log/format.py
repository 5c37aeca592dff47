"""Reads the flash log's files as csrc/flash/FORMAT.md describes them, checking everything."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import lz4.block

from pymc.core.checksum import crc32c

BLOCK_BYTES = 4096
MAGIC = b"PYMCLOG\n"
FORMAT = 2
_HEADER = struct.Struct("<8sII16sQQQqIIIII4x")
_RECORD = struct.Struct("<III")
_ITEM = struct.Struct("<IIIHH")
_COMPRESSED = 0x80000000
_EXPIRES, _CLIENT_FLAGS, _OWN_CAS = 4, 8, 16
_RECORD_BYTES_MAX = 4 << 20
# Page sizes that the options allow are multiples of this; a smaller one is looked for nearby.
_PAGE_STEP_BYTES = 2 << 20
_CLOSE_LOOK_BYTES = 64 << 20
# Where in a record the version of its page stands.
_VERSION_AT = 8
BUCKETS = ("default", "compact", "chunked", "lowttl", "coldcompact", "old")


@dataclass(frozen=True, slots=True)
class PageHeader:
    """The first block of a page."""

    log_id: bytes
    page_version: int
    page_bytes: int
    file_offset: int
    epoch_unix_seconds: int
    page: int
    path: int
    bucket: int
    label: int
    unit_bytes: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record with the item in it; seconds are those of the cache's own clock."""

    offset: int
    record_bytes: int
    key: bytes
    value: bytes
    state: int
    time_seconds: int
    expiry_seconds: int
    client_flags: int
    cas: int
    stored_value_bytes: int
    is_compressed: bool


@dataclass(frozen=True, slots=True)
class Damage:
    """A range of a page that is not what was written there."""

    offset: int
    range_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A range that was set aside and never written or filled: who meant to died before."""

    offset: int
    range_bytes: int


def read_page_header(block: bytes) -> PageHeader | None:
    """Reads the header in a page's first block; None when it is not one, or damaged."""
    magic, crc, version, *fields = _HEADER.unpack_from(block)
    if magic != MAGIC or version != FORMAT or crc32c(memoryview(block)[12:BLOCK_BYTES]) != crc:
        return None
    header = PageHeader(*fields)
    unit = header.unit_bytes
    if unit not in (1 << shift for shift in range(4, 13)):
        return None
    is_whole = header.page_bytes > 0 and header.page_bytes % BLOCK_BYTES == 0
    return header if is_whole else None


def find_pages(file: BinaryIO, file_bytes: int) -> list[PageHeader]:
    """Reads the headers of the newest log in the file, in the order of their pages.

    A device may hold pages of earlier logs; the newest one is the one with the latest epoch.
    """
    first = next(_pages_at(file, file_bytes, _PAGE_STEP_BYTES), None)
    if first is None:
        first = next(_pages_at(file, min(file_bytes, _CLOSE_LOOK_BYTES), BLOCK_BYTES), None)
    if first is None:
        return []
    found = list(_pages_at(file, file_bytes, first.page_bytes))
    newest = max(found, key=lambda header: (header.epoch_unix_seconds, header.page_version))
    return [header for header in found if header.log_id == newest.log_id]


def _pages_at(file: BinaryIO, file_bytes: int, step: int) -> Iterator[PageHeader]:
    for offset in range(0, file_bytes - BLOCK_BYTES + 1, step):
        file.seek(offset)
        header = read_page_header(file.read(BLOCK_BYTES))
        if header is not None and header.file_offset == offset:
            yield header


class _Page:
    """The walk over one page's bytes."""

    def __init__(self, header: PageHeader, data: bytes) -> None:
        self.data = data
        self.unit = header.unit_bytes
        self.version = (header.page_version & 0xFFFFFFFF).to_bytes(4, "little")

    def is_here(self, at: int) -> bool:
        """Tells whether something that claims to be a record of this page begins at `at`."""
        return self.data.startswith(self.version, at + _VERSION_AT)

    def record(self, at: int) -> Record | str:
        """Reads the record at `at`, or says what is wrong with it."""
        crc, sizes, _version = _RECORD.unpack_from(self.data, at)
        record_bytes = sizes & ~_COMPRESSED
        if not _RECORD.size < record_bytes <= min(_RECORD_BYTES_MAX, len(self.data) - at):
            return f"a record cannot have {record_bytes} bytes"
        body = memoryview(self.data)[at + 4 : at + record_bytes]
        if crc32c(body) != crc:
            return "the checksum is wrong"
        return _read_item(bytes(body[8:]), at, record_bytes, bool(sizes & _COMPRESSED))

    def next_record(self, at: int) -> tuple[int, bool]:
        """Finds the next place from `at` on where a valid record begins, else the page's end.

        Also tells whether something before it claimed to be a record and was none.
        """
        was_claimed = False
        while (found := self.data.find(self.version, at + _VERSION_AT)) >= 0:
            place = found - _VERSION_AT
            if place % self.unit == 0:
                if isinstance(self.record(place), Record):
                    return place, was_claimed
                was_claimed = True
            at = place + 1
        return len(self.data), was_claimed


def read_records(header: PageHeader, data: bytes) -> Iterator[Record | Damage | Gap]:
    """Yields all records of a page whose bytes are `data`, and what is damaged or missing between.

    What follows the last record and does not claim to be one was not written since the page was
    opened: there is no end mark.
    """
    page = _Page(header, data)
    at = BLOCK_BYTES
    while at < len(data):
        is_block = at % BLOCK_BYTES == 0
        if not is_block and data.startswith(b"\0\0\0\0", at + 4):
            at += page.unit
            continue
        what = page.record(at) if page.is_here(at) else "no record begins here"
        if isinstance(what, Record):
            yield what
            at += -(-what.record_bytes // page.unit) * page.unit
            continue
        place, was_claimed = page.next_record(at)
        is_empty = is_block and place < len(data) and not any(data[at:place])
        if was_claimed or ((not is_block or place % BLOCK_BYTES) and not is_empty):
            yield Damage(at, place - at, what)
        elif place < len(data):
            yield Gap(at, place - at)
        at = place


def _read_item(image: bytes, offset: int, record_bytes: int, is_compressed: bool) -> Record | str:
    if len(image) < _ITEM.size:
        return "the item has no header"
    time_seconds, sizes, order_low, order_high, state = _ITEM.unpack_from(image)
    cas, expiry_seconds, client_flags, at = order_high << 32 | order_low, 0, 0, _ITEM.size
    key_bytes, value_bytes = sizes & 0xFF, sizes >> 8
    optional = 4 * bool(state & _EXPIRES) + 4 * bool(state & _CLIENT_FLAGS)
    optional += 8 * bool(state & _OWN_CAS)
    if len(image) < at + optional + key_bytes:
        return "the item is longer than its record"
    if state & _EXPIRES:
        (expiry_seconds,) = struct.unpack_from("<I", image, at)
        at += 4
    if state & _CLIENT_FLAGS:
        (client_flags,) = struct.unpack_from("<I", image, at)
        at += 4
    if state & _OWN_CAS:
        (cas,) = struct.unpack_from("<Q", image, at)
        at += 8
    key, stored = image[at : at + key_bytes], image[at + key_bytes :]
    value = _uncompress(stored, value_bytes) if is_compressed else stored
    if value is None or len(value) != value_bytes:
        return "the value does not have its size"
    return Record(
        offset,
        record_bytes,
        key,
        value,
        state,
        time_seconds,
        expiry_seconds,
        client_flags,
        cas,
        len(stored),
        is_compressed,
    )


def _uncompress(block: bytes, value_bytes: int) -> bytes | None:
    try:
        return bytes(lz4.block.decompress(block, uncompressed_size=value_bytes))
    except (lz4.block.LZ4BlockError, ValueError):
        return None
