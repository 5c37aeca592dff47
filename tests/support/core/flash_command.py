"""What a command does on a key that is on flash, step by step."""

from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_cache import FlashCache
from tests.support.deadline import wait_until

KEY = b"k"
# More than struct link_view has; only C knows its fields.
VIEW_BYTES = 512


class Command:
    """What a command on a key that is on flash does, step by step."""

    def __init__(self, tier: FlashCache) -> None:
        self.tier = tier
        self.store = tier.worker.store
        self.hash = int(lib.hash_of(KEY, len(KEY), tier.cache.shape.hash_seed))
        self._memory = ffi.new("char[]", VIEW_BYTES)
        self.view = ffi.cast("struct link_view *", self._memory)
        self.read: Any = ffi.NULL

    def read_record(self) -> None:
        entry = lib.link_flash_entry(self.store, self.hash)
        assert entry
        self.read = lib.flash_reader_begin(self.tier.reads.pointer, entry)

        def is_done() -> bool:
            self.tier.reads.wait()
            return bool(self.read.state == lib.FLASH_READ_DONE)

        wait_until(is_done, "the record is read", pause_seconds=0)

    def look(self) -> int:
        return int(lib.tier_view(self.store, self.read, KEY, len(KEY), self.hash, self.view))

    def bring_back(self) -> int:
        return int(lib.tier_bring_back(self.store, self.read, self.view, KEY, self.hash))

    def delete(self) -> int:
        return int(lib.tier_delete(self.store, self.read, self.view, KEY, self.hash))

    def close(self) -> None:
        lib.flash_reader_release(self.tier.reads.pointer, self.read)
