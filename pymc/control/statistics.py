"""`stats` and its sub-commands."""

import time

from pymc.config.c_numbers import whole_unsigned
from pymc.control.answers import BAD_FORMAT, ERROR, OK, Answer, Command, Parts, line
from pymc.core.snapshots import clear_prefixes, read_slab
from pymc.live_settings import change
from pymc.stats.classes import items_parts, slabs_parts
from pymc.stats.connections import connection_parts
from pymc.stats.flash import extstore_parts
from pymc.stats.general import general_reply
from pymc.stats.lines import Pairs, stat_reply
from pymc.stats.own import own_reply
from pymc.stats.settings import settings_pairs
from pymc.stats.walks import cachedump_parts, detail_parts, sizes_parts

_END = Answer(b"END\r\n")


def stats(command: Command) -> Answer | Parts:
    """`stats [sub ...]`; words behind what a sub-command needs do not matter."""
    server, store = command.server, command.store
    match command.arguments:
        case []:
            return Answer(general_reply(server, store))
        case [b"reset", *_]:
            store.reset_counters()
            clear_prefixes(store)
            return line("RESET")
        case [b"settings", *_]:
            return _reply(settings_pairs(server))
        case [b"items", *_]:
            arena = server.arena
            has_queues, has_temp = server.settings.lru_maintainer, bool(arena.live("temp_lru"))
            return Parts(items_parts(store, has_queues=has_queues, has_temp=has_temp))
        case [b"slabs", *_]:
            return Parts(slabs_parts(store))
        case [b"sizes", *_]:
            if not server.settings.track_sizes:
                return _reply([("sizes_status", "disabled")])
            return Parts(sizes_parts(store), is_walk=True)
        case [b"conns", *_]:
            return Parts(connection_parts(server))
        case [b"detail", *rest]:
            return _detail(command, rest)
        case [b"cachedump", *rest]:
            return _cachedump(command, rest)
        case [b"extstore", *rest]:
            flash, wants_pages = server.flash, rest[:1] == [b"pages"]
            if flash is None:
                return _END
            return Parts(extstore_parts(server, store, flash, wants_pages=wants_pages))
        case [b"tls", *_]:
            return _tls(command)
        case [b"pymc", *_]:
            return Answer(own_reply(server, store))
        case _:
            return ERROR


def _tls(command: Command) -> Answer:
    if (material := command.server.tls) is None:
        return _END
    # Only a server with TLS needs it.
    from pymc.stats.tls import tls_reply

    return Answer(tls_reply(command.server, command.store, material, time.time()))


def _reply(pairs: Pairs) -> Answer:
    return Answer(stat_reply(pairs))


def _detail(command: Command, words: list[bytes]) -> Answer | Parts:
    arena = command.server.arena
    match words:
        case [b"on" | b"off" as switch, *_]:
            change(arena, "detail_enabled", switch == b"on")
            return OK
        case [b"dump", *_]:
            return Parts(detail_parts(arena))
        case _:
            return line("CLIENT_ERROR usage: stats detail on|off|dump")


def _cachedump(command: Command, words: list[bytes]) -> Answer | Parts:
    if not command.server.arena.live("dump_enabled"):
        return line("CLIENT_ERROR stats cachedump not allowed")
    if len(words) < 2:
        return line("CLIENT_ERROR bad command line")
    class_id, limit = (whole_unsigned(word.decode("latin-1")) for word in words[:2])
    if class_id is None or limit is None:
        return BAD_FORMAT
    if class_id > read_slab(command.store).classes:
        return line("CLIENT_ERROR Illegal slab id")
    if not class_id:
        return _END
    return Parts(cachedump_parts(command.store, class_id, limit), is_walk=True)
