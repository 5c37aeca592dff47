"""Makes the arena: how large it has to be, and what stands in it before the first worker."""

import errno
import os
import stat

from pymc.config import EXIT_OS_ERROR, EXIT_USAGE, MEMORY_AUTO, Settings, StartupError
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
from pymc.core.ledger import HUGE_PAGE_BYTES
from pymc.core.store import Geometry, format_store, store_reserve_bytes
from pymc.core.watch import format_watch, watch_reserve_bytes
from pymc.launch.large_pages import shortage, take_large_pages
from pymc.launch.limits import read_limits, shape_of
from pymc.live_settings import write_live_settings
from pymc.logs import say
from pymc.policy import footprint
from pymc.policy.flash_index import index_bytes_max, index_entries_max
from pymc.policy.reservation import (
    MEGABYTE,
    MemoryLimits,
    ReservationError,
    bucket_power,
    limit_bytes_max,
    memory_warnings,
)
from pymc.policy.slab_sizes import ladder
from pymc.record import Record, replace
from pymc.server_context import slots_for

# Up to here references to items count units of 8 bytes, and chunks waste nothing by it.
_FINE_UNITS_BYTES = 31 << 30
_DEFAULT_HASH_POWER = 16
_PLACES_PER_BUCKET_POWER = 3
_BUCKET_BYTES = 64
# The flash tier's index begins as if items took so much, until somebody says otherwise: what it
# begins with is never given back, and for smaller items it grows.
_ITEM_BYTES_HINT = 512
_ITEM_BYTES_HINT_MIN = 64


class MemoryPlan(Record):
    """All sizes of a server's shared memory, and what the user should know of them."""

    geometry: Geometry
    # None without a flash tier.
    flash: FlashGeometry | None
    reserve_bytes: int
    slots: int
    notes: tuple[str, ...] = ()


def settle_memory(settings: Settings, limits: MemoryLimits | None = None) -> Settings:
    """Returns the settings with a number for `-m auto`, which is said. Raises StartupError."""
    if settings.memory_limit_bytes != MEMORY_AUTO:
        return settings
    limits = limits or read_limits(_threads(settings))
    room = footprint.room_bytes(limits.machine_bytes, limits.cgroup_bytes)
    limit = footprint.limit_that_fits(room, shape_of(settings))
    whose = "this machine" if room < (limits.cgroup_bytes or room + 1) else "its memory cgroup"
    if limit < 2 * settings.item_bytes_max:
        needed = footprint.footprint(2 * settings.item_bytes_max, shape_of(settings))
        raise StartupError(
            f"-m auto: {whose} leaves {room // MEGABYTE} megabytes, the server takes at least"
            f" {needed}",
            EXIT_USAGE,
        )
    say(f"-m auto: {limit // MEGABYTE} of the {room // MEGABYTE} megabytes that {whose} leaves")
    return replace(settings, memory_limit_bytes=limit)


def plan_memory(settings: Settings, limits: MemoryLimits) -> MemoryPlan:
    """Chooses the sizes for these settings within these limits. Raises StartupError if none fit."""
    limit = settings.memory_limit_bytes
    notes = memory_warnings(limit, limits.machine_bytes)
    if line := footprint.shortage(limit, shape_of(settings), limits.cgroup_bytes):
        notes.append(line)
    geometry = geometry_of(settings, limits)
    if settings.hash_power_start and geometry.bucket_start < _buckets(settings.hash_power_start):
        power = (geometry.bucket_start - 1).bit_length() + _PLACES_PER_BUCKET_POWER
        notes.append(
            f"warning: hashpower={settings.hash_power_start} would take more than an eighth of -m;"
            f" the index begins with hashpower={power} and grows"
        )
    flash = flash_geometry_of(settings, geometry) if settings.ext_paths else None
    slots = slots_for(settings)
    return MemoryPlan(geometry, flash, _reserve_bytes(settings, geometry), slots, tuple(notes))


def geometry_of(settings: Settings, limits: MemoryLimits) -> Geometry:
    """Chooses the store's sizes. Raises StartupError when a limit leaves no room for -m.

    `cache_memlimit` may raise the limit to what the machine has, which costs address space only;
    with large pages, which are taken at the start, it may not raise it at all.
    """
    limit = settings.memory_limit_bytes
    power = (settings.hash_power_start or _DEFAULT_HASH_POWER) - _PLACES_PER_BUCKET_POWER
    least = Geometry(
        limit_bytes=limit,
        limit_bytes_max=limit,
        chunk_bytes=tuple(ladder(settings)),
        bucket_start=1 << bucket_power(power, limit, _BUCKET_BYTES),
        connections_max=settings.connections_max,
    )

    def reserve_of(most: int) -> int:
        # The mapping is aligned, for which the room is taken first.
        return _reserve_bytes(settings, replace(least, limit_bytes_max=most)) + 2 * HUGE_PAGE_BYTES

    wanted = limit if settings.large_pages else _FINE_UNITS_BYTES
    try:
        most = limit_bytes_max(limit, wanted, limits, reserve_of)
    except ReservationError as error:
        raise StartupError(f"failed to allocate memory: {error}", EXIT_OS_ERROR) from None
    return replace(least, limit_bytes_max=most)


def create_arena(settings: Settings) -> tuple[Arena, MemoryPlan]:
    """Makes the shared memory, formatted, with all live settings. Raises StartupError."""
    plan = plan_memory(settings, read_limits(_threads(settings)))
    for note in plan.notes:
        say(note)
    try:
        arena = Arena.create(
            plan.reserve_bytes,
            plan.slots,
            huge_pages=settings.large_pages,
            hash_seed=int.from_bytes(os.urandom(8)),
        )
        format_store(arena, plan.geometry)
        format_server(arena, settings.workers, settings.connections_max)
        if settings.tls_enabled:
            # Most servers do without it.
            from pymc.core.tls import format_tls

            format_tls(arena)
        format_watch(arena, settings.worker_logbuf_bytes)
        write_live_settings(arena, settings)
        if settings.large_pages:
            arena.large_pages = take_large_pages(arena, settings.memory_limit_bytes)
            if line := shortage(arena.large_pages):
                say(line)
    except CoreError as error:
        raise StartupError(f"failed to allocate memory: {error}", EXIT_OS_ERROR) from None
    return arena, plan


def _reserve_bytes(settings: Settings, geometry: Geometry) -> int:
    """Returns the bytes of address space that everything in the arena takes."""
    slots = slots_for(settings)
    reserve = store_reserve_bytes(geometry, slots)
    reserve += server_reserve_bytes(settings.workers, settings.connections_max)
    if settings.tls_enabled:
        from pymc.core.tls import tls_reserve_bytes

        reserve += tls_reserve_bytes()
    reserve += watch_reserve_bytes(slots, settings.worker_logbuf_bytes)
    if settings.ext_paths:
        reserve += flash_reserve_bytes(flash_geometry_of(settings, geometry), slots)
    return reserve


def _buckets(hash_power: int) -> int:
    return 1 << (hash_power - _PLACES_PER_BUCKET_POWER)


def _threads(settings: Settings) -> int:
    """Counts the threads that one process may start besides its own."""
    return 1 + settings.ext_threads * len(settings.ext_paths)


def flash_geometry_of(settings: Settings, memory: Geometry) -> FlashGeometry:
    """Chooses the flash tier's sizes.

    Its index may take most of the memory, as far as the limit can rise; that is address space, and
    the keeper holds it to what the limit is now. It begins at a part of the size it will have,
    which must not be more than memory is there for.
    """
    flash_bytes = sum(path.size_bytes for path in settings.ext_paths)
    least = flash_bytes // max(index_entries_max(memory.limit_bytes), 1)
    is_given = "ext_item_size_bytes" in settings.given
    typical = settings.ext_item_size_bytes if is_given else _ITEM_BYTES_HINT
    return FlashGeometry(
        paths=tuple(
            (path.path, path.size_bytes, BUCKET_OF_LABEL[path.bucket])
            for path in settings.ext_paths
        ),
        page_bytes=settings.ext_page_bytes,
        wbuf_bytes=settings.ext_wbuf_bytes,
        item_bytes_hint=max(typical, least, _ITEM_BYTES_HINT_MIN),
        index_bytes_max=index_bytes_max(memory.limit_bytes_max),
    )


def open_flash(settings: Settings, arena: Arena, plan: MemoryPlan) -> Flash | None:
    """Opens and empties the files of the flash tier; None without any. Raises StartupError."""
    if not plan.flash:
        return None
    failed = "Failed to initialize external storage:"
    try:
        flash = Flash(arena, plan.flash)
    except FlashPathError as error:
        name = settings.ext_paths[error.path].path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = no_room(name, _path_bytes(settings, error.path))
        else:
            reason = os.strerror(error.errno) if error.errno else "another server uses it"
        raise StartupError(f"{failed} failed to open file: {name}: {reason}") from None
    except CoreError as error:
        raise StartupError(f"{failed} {error}") from None
    for number, path in enumerate(settings.ext_paths):
        if not flash.path(number).is_allocated:
            say(
                f"warning: {path.path}: its file system cannot set space aside; make sure that"
                f" {_path_bytes(settings, number) >> 20} MiB stay free there"
            )
    return flash


def _path_bytes(settings: Settings, number: int) -> int:
    return settings.ext_paths[number].page_count * settings.ext_page_bytes


def no_room(path: str, wanted_bytes: int) -> str:
    """Says what is wanted and what there is, of a file's file system or of a device."""
    wanted = f"no room for it: {wanted_bytes >> 20} MiB wanted"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return f"{wanted}, the device is smaller"
        room = os.statvfs(path)
    except OSError:
        return wanted
    # A quota may leave less than the file system has.
    return f"{wanted}, {room.f_bavail * room.f_frsize >> 20} MiB free on its file system"
