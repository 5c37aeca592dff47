"""`cache_memlimit` and `slabs`: how much memory there is and which class has it."""

from pymc.config import ROWS
from pymc.config.c_numbers import whole_float, whole_signed
from pymc.control.answers import (
    BAD_FORMAT,
    ERROR,
    OK,
    Answer,
    Command,
    Parts,
    decimal,
    line,
    quiet_if_asked,
)
from pymc.core.arena import Note
from pymc.core.errors import InvalidArgumentError
from pymc.core.snapshots import read_class, read_slab
from pymc.core.store import Store
from pymc.live_settings import change
from pymc.logs import say
from pymc.messages import MoveMessage, WakeMessage, send

MEGABYTE = 1 << 20
_ANY_CLASS = -1


def cache_memlimit(command: Command) -> Answer | Parts:
    """`cache_memlimit <megabytes> [noreply]`."""
    if len(command.arguments) not in (1, 2):
        return ERROR
    return quiet_if_asked(_cache_memlimit)(command)


def _cache_memlimit(command: Command) -> Answer:
    megabytes = decimal(command.words[1])
    if megabytes is None:
        return ERROR
    low, high = ROWS["memory_limit_bytes"].live_bounds
    if megabytes < low:
        return line(f"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than {low}m")
    if megabytes > high:
        return line("MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes")
    refused = line("MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust")
    if command.server.settings.large_pages:
        return refused
    try:
        command.store.set_limit(megabytes * MEGABYTE)
    except InvalidArgumentError:
        return refused
    send(command.server.keeper_inbox.writer, WakeMessage())
    if command.server.arena.live("verbosity") > 0:
        say(f"maxbytes adjusted to {megabytes}m")
    return OK


def slabs(command: Command) -> Answer | Parts:
    """`slabs reassign <src> <dst>` and `slabs automove <what> [<value>] [noreply]`."""
    match command.arguments:
        case [b"reassign", source, target]:
            return _reassign(command, source, target)
        case [b"automove", _, *_]:
            return quiet_if_asked(_automove)(command)
        case _:
            return ERROR


def _automove(command: Command) -> Answer:
    arena = command.server.arena
    what, *values = command.arguments[1:]
    if what in (b"ratio", b"freeratio"):
        fraction = whole_float(values[0].decode("latin-1")) if values else None
        if fraction is None:
            return ERROR
        return _changed(change(arena, f"slab_automove_{what.decode()}", fraction))
    if what == b"window":
        seconds = decimal(values[0]) if values else None
        if seconds is None:
            return BAD_FORMAT if values else ERROR
        return _changed(change(arena, "slab_automove_window_seconds", seconds))
    level = decimal(what)
    if level is None:
        return BAD_FORMAT
    return _changed(change(arena, "slab_automove", level))


def _changed(is_changed: bool) -> Answer:
    return OK if is_changed else ERROR


def _reassign(command: Command, source: bytes, target: bytes) -> Answer:
    arena, store = command.server.arena, command.store
    if not arena.live("slab_reassign"):
        return line("CLIENT_ERROR slab reassignment disabled")
    from_class = whole_signed(source.decode("latin-1"))
    to_class = whole_signed(target.decode("latin-1"))
    if from_class is None or to_class is None:
        return BAD_FORMAT
    busy = line("BUSY currently processing reassign request")
    if arena.note(Note.SLAB_MOVE):
        return busy
    if from_class == to_class:
        return line("SAME src and dst class are identical")
    classes = read_slab(store).classes
    if not _ANY_CLASS <= from_class <= classes or not 0 <= to_class <= classes:
        return line("BADCLASS invalid src or dst class id")
    if from_class == _ANY_CLASS:
        from_class = _class_with_most_pages(store, classes, besides=to_class)
    # The pool has nothing to reassign: any class takes from it by itself.
    if from_class == 0 or read_class(store, from_class).pages < 2:
        return line("NOSPARE source class has no spare pages")
    # Set here, not by the keeper, so that the next request already finds it.
    arena.set_note(Note.SLAB_MOVE, 1)
    if not send(command.server.keeper_inbox.writer, MoveMessage(from_class, to_class)):
        arena.set_note(Note.SLAB_MOVE, 0)
        return busy
    return OK


def _class_with_most_pages(store: Store, classes: int, *, besides: int) -> int:
    others = [class_id for class_id in range(1, classes + 1) if class_id != besides]
    return max(others, key=lambda class_id: read_class(store, class_id).pages, default=0)
