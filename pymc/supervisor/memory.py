"""Makes the arena: how large it has to be, and what stands in it before the first worker."""

import os

from pymc.config import EXIT_OS_ERROR, Settings, StartupError
from pymc.core.arena import Arena
from pymc.core.engine import format_server, server_reserve_bytes
from pymc.core.errors import CoreError
from pymc.core.flash import (
    BUCKET_OF_LABEL,
    Flash,
    FlashGeometry,
    FlashPathError,
    flash_reserve_bytes,
)
from pymc.core.store import Geometry, format_store, store_reserve_bytes
from pymc.live_settings import write_live_settings
from pymc.policy.compaction import index_bytes_max, index_entries_max
from pymc.server_context import VISITOR_SLOTS
from pymc.slab_sizes import ladder

# Up to here references to items count units of 8 bytes, and chunks waste nothing by it.
_FINE_UNITS_BYTES = 31 << 30
_DEFAULT_HASH_POWER = 16
_PLACES_PER_BUCKET_POWER = 3
_ITEM_BYTES_HINT_MIN = 64


def geometry_of(settings: Settings, memory_bytes: int) -> Geometry:
    """The store's sizes on a machine with `memory_bytes` of RAM.

    `cache_memlimit` may raise the limit to what the machine has, which costs address space only;
    with large pages, which are taken at the start, it may not raise it at all.
    """
    limit = settings.memory_limit_bytes
    limit_max = limit
    if not settings.large_pages:
        limit_max = max(limit, min(memory_bytes, _FINE_UNITS_BYTES))
    power = settings.hash_power_start or _DEFAULT_HASH_POWER
    return Geometry(
        limit_bytes=limit,
        limit_bytes_max=limit_max,
        chunk_bytes=tuple(ladder(settings)),
        bucket_start=1 << (power - _PLACES_PER_BUCKET_POWER),
    )


def create_arena(settings: Settings) -> Arena:
    """The server's shared memory, formatted, with all live settings. Raises StartupError."""
    geometry = geometry_of(settings, _machine_memory_bytes())
    slots = settings.workers + 1 + VISITOR_SLOTS
    reserve = store_reserve_bytes(geometry, slots)
    reserve += server_reserve_bytes(settings.workers, settings.connections_max)
    if settings.ext_paths:
        reserve += flash_reserve_bytes(flash_geometry_of(settings, geometry), slots)
    try:
        arena = Arena.create(reserve, slots, huge_pages=settings.large_pages)
        format_store(arena, geometry)
        format_server(arena, settings.workers, settings.connections_max)
    except CoreError as error:
        raise StartupError(f"failed to allocate memory: {error}", EXIT_OS_ERROR) from None
    write_live_settings(arena, settings)
    if settings.large_pages:
        arena.prefault(settings.memory_limit_bytes)
    return arena


def flash_geometry_of(settings: Settings, memory: Geometry) -> FlashGeometry:
    """The flash tier's sizes. Its index may take most of the memory, as far as the limit can rise;
    that is address space, and the keeper holds it to what the limit is now. It begins at a part
    of the size it will have, which must not be more than memory is there for.
    """
    flash_bytes = sum(path.size_bytes for path in settings.ext_paths)
    least = flash_bytes // max(index_entries_max(memory.limit_bytes), 1)
    return FlashGeometry(
        paths=tuple(
            (path.path, path.size_bytes, BUCKET_OF_LABEL[path.bucket])
            for path in settings.ext_paths
        ),
        page_bytes=settings.ext_page_bytes,
        wbuf_bytes=settings.ext_wbuf_bytes,
        item_bytes_hint=max(settings.ext_item_bytes, least, _ITEM_BYTES_HINT_MIN),
        index_bytes_max=index_bytes_max(memory.limit_bytes_max),
    )


def open_flash(settings: Settings, arena: Arena) -> Flash | None:
    """The flash tier with its files open and empty; None without any. Raises StartupError."""
    if not settings.ext_paths:
        return None
    geometry = flash_geometry_of(settings, geometry_of(settings, _machine_memory_bytes()))
    failed = "Failed to initialize external storage:"
    try:
        return Flash(arena, geometry)
    except FlashPathError as error:
        path = settings.ext_paths[error.path].path
        reason = os.strerror(error.errno) if error.errno else "another server uses it"
        raise StartupError(f"{failed} failed to open file: {path}: {reason}") from None
    except CoreError as error:
        raise StartupError(f"{failed} {error}") from None


def _machine_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
