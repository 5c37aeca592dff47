"""Commands about the server itself: verbosity, shutdown, flash settings and the debug clock."""

import os

from pymc.config import DEFAULTS, ROWS
from pymc.config.c_numbers import whole_float, whole_signed, whole_unsigned
from pymc.config.readers import Choice
from pymc.control.answers import (
    BAD_FORMAT,
    ERROR,
    NOREPLY,
    OK,
    SILENCE,
    Answer,
    Command,
    Parts,
    Watching,
    decimal,
    line,
    quiet_if_asked,
)
from pymc.control.flash_fault import set_fault
from pymc.core import HAS_DEBUG
from pymc.core.engine import LogClass, ReplyKind
from pymc.core.flash import Flash, Wanted
from pymc.core.snapshots import read_slab
from pymc.live_settings import change
from pymc.messages.signals import SHUT_DOWN, SHUT_DOWN_GRACEFULLY

# What `watch` can be asked for. In the streams of memcached's proxy, and in that of raw commands,
# nothing ever comes, as in memcached.
_NOTHING = LogClass(0)
_STREAMS = {
    b"fetchers": LogClass.FETCHERS,
    b"mutations": LogClass.MUTATIONS,
    b"evictions": LogClass.EVICTIONS,
    b"connevents": LogClass.CONNEVENTS,
    b"deletions": LogClass.DELETIONS,
    b"sysevents": LogClass.SYSEVENTS,
    b"errors": LogClass.ERRORS,
    b"rawcmds": _NOTHING,
    b"proxyreqs": _NOTHING,
    b"proxyevents": _NOTHING,
    b"proxyuser": _NOTHING,
}
_EXTSTORE = "extstore "
# The word behind `extstore`, and the setting that it changes.
_FLASH_SETTINGS = {
    row.live.command.removeprefix(_EXTSTORE).encode(): name
    for name, row in ROWS.items()
    if row.live and row.live.command.startswith(_EXTSTORE)
}
_PATH_WORDS = {b"in": Wanted.IN, b"out": Wanted.OUT}


def verbosity(command: Command) -> Answer | Parts:
    """`verbosity <level> [noreply]`."""
    if len(command.arguments) not in (1, 2):
        return ERROR
    return quiet_if_asked(_verbosity)(command)


def _verbosity(command: Command) -> Answer:
    level = decimal(command.words[1])
    if level is None:
        return BAD_FORMAT
    change(command.server.arena, "verbosity", min(level, ROWS["verbosity"].live_bounds[1]))
    return OK


def shutdown(command: Command) -> Answer | Parts:
    """`shutdown [graceful]`: the supervisor ends all processes; the connection just closes."""
    if not command.server.settings.shutdown_command:
        return line("ERROR: shutdown not enabled")
    match command.arguments:
        case []:
            message = SHUT_DOWN
        case [b"graceful"]:
            message = SHUT_DOWN_GRACEFULLY
        case _:
            return line("CLIENT_ERROR invalid shutdown mode")
    os.kill(command.server.supervisor_pid, message.number)
    return Answer(b"", ReplyKind.CLOSE)


def watch(command: Command) -> Answer | Parts | Watching:
    """`watch [<stream>...]`: from here on the connection gets log lines; alone it is fetchers."""
    return _watch(command) if command.words[-1] != NOREPLY else SILENCE


def _watch(command: Command) -> Answer | Watching:
    if not command.server.settings.watch_enabled:
        return line("CLIENT_ERROR watch commands not allowed")
    if command.is_pipelined:
        return line("ERROR cannot pipeline other commands before watch")
    if any(word not in _STREAMS for word in command.arguments):
        return ERROR
    classes = _NOTHING
    for word in command.arguments or [b"fetchers"]:
        classes |= _STREAMS[word]
    return Watching(classes)


def extstore(command: Command) -> Answer | Parts:
    """`extstore <what> <value> [noreply]`, taken with and without flash."""
    return quiet_if_asked(_extstore)(command)


def _extstore(command: Command) -> Answer:
    flash = command.server.flash
    match command.arguments:
        case [b"fault", *words] if HAS_DEBUG and flash:
            return set_fault(flash, words)
        case [b"path", number, word, *_] if flash:
            return _want_path(flash, number, word)
        case [b"free_memchunks", class_word, count, *_]:
            class_id = decimal(class_word)
            classes = read_slab(command.store).classes
            is_good = class_id is not None and class_id <= classes and decimal(count) is not None
            return OK if is_good else ERROR
        case [what, word, *_] if what in _FLASH_SETTINGS:
            name = _FLASH_SETTINGS[what]
            value = _read(name, word.decode("latin-1"))
            is_good = value is not None and change(command.server.arena, name, value)
            return OK if is_good else ERROR
        case _:
            return ERROR


def _read(name: str, text: str) -> bool | int | float | str | None:
    """The value that a word means for a setting; None when it means none."""
    reader = ROWS[name].reader
    if isinstance(reader, Choice):
        return reader.values.get(text)
    if isinstance(DEFAULTS[name], float):
        return whole_float(text)
    number = whole_unsigned(text)
    return number if number is None else type(DEFAULTS[name])(number)


def _want_path(flash: Flash, number_word: bytes, word: bytes) -> Answer:
    """`extstore path <number> in|out`: the keeper does it within a second."""
    number = decimal(number_word)
    if number is None or number >= flash.path_count or word not in _PATH_WORDS:
        return ERROR
    flash.want(number, _PATH_WORDS[word])
    return OK


def debugtime(command: Command) -> Answer | Parts:
    """`debugtime p|r|<seconds>`: stop, release or move the cache's clock (debug builds)."""
    if not HAS_DEBUG or len(command.arguments) != 1:
        return ERROR
    arena = command.server.arena
    word = command.arguments[0]
    if word == b"p":
        arena.freeze_clock(arena.seconds())
    elif word == b"r":
        arena.freeze_clock(0)
    else:
        seconds = whole_signed(word.decode("latin-1"))
        if seconds is None:
            return ERROR
        arena.shift_clock(seconds)
    return OK


def misbehave(command: Command) -> Answer | Parts:
    """`misbehave`: memcached's debug builds try forbidden system calls; here there is nothing."""
    return ERROR
