"""The flash tier: its files, pages and index as one process sees them."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pymc.core.arena import Arena
from pymc.core.errors import check
from pymc.core.ffi import ffi, lib

PAGES_MAX = int(lib.FLASH_PAGES_MAX)


class Bucket(IntEnum):
    """What a page is for: the streams of records, and the labels of paths."""

    DEFAULT = lib.FLASH_DEFAULT
    COMPACT = lib.FLASH_COMPACT
    CHUNKED = lib.FLASH_CHUNKED
    LOW_TTL = lib.FLASH_LOW_TTL
    COLD_COMPACT = lib.FLASH_COLD_COMPACT
    OLD = lib.FLASH_OLD


@dataclass(frozen=True, slots=True)
class FlashGeometry:
    """The files of the tier and its sizes; they never change."""

    # (name, bytes, label) of each.
    paths: tuple[tuple[str, int, int], ...]
    page_bytes: int
    wbuf_bytes: int
    item_bytes_hint: int
    index_bytes_max: int
    avoid_direct: bool = False

    def c_struct(self) -> tuple[Any, Any]:
        """The C struct, and what it points to, which must outlive it."""
        names = [ffi.new("char[]", name.encode()) for name, _bytes, _label in self.paths]
        paths = ffi.new("struct flash_path[]", len(self.paths))
        for path, name, (_name, path_bytes, label) in zip(paths, names, self.paths, strict=True):
            path.name, path.bytes, path.label = name, path_bytes, label
        made = ffi.new("struct flash_geometry *")
        made.paths = paths
        made.path_count = len(self.paths)
        made.page_bytes = self.page_bytes
        made.wbuf_bytes = self.wbuf_bytes
        made.item_bytes_hint = self.item_bytes_hint
        made.index_bytes_max = self.index_bytes_max
        made.avoid_direct = self.avoid_direct
        return made, (paths, names)


def flash_reserve_bytes(geometry: FlashGeometry, slots: int) -> int:
    """Address space an arena needs for this tier."""
    made, _kept = geometry.c_struct()
    return int(lib.flash_reserve_bytes(made, slots))


class Flash:
    """The tier; made by the supervisor before the first fork, used by every process."""

    def __init__(self, arena: Arena, geometry: FlashGeometry) -> None:
        """Opens and empties the files. Raises SystemCallError, BusyError, InvalidArgumentError."""
        made, _kept = geometry.c_struct()
        out = ffi.new("struct flash **")
        self.failed_path = ffi.new("uint32_t *")
        check(lib.flash_create(arena.pointer, made, out, self.failed_path), "flash_create")
        self.arena = arena
        self.pointer = out[0]

    def close(self) -> None:
        """Closes the files; close() again does nothing."""
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.flash_close(pointer)
