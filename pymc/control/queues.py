"""`lru` and `lru_crawler`: how items age, the search for expired ones, and dumps of keys."""

from collections.abc import Iterator

from pymc.config.c_numbers import whole_float, whole_signed
from pymc.config.settings_memory import QUEUES_PERCENT_MAX
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
from pymc.control.flash_walk import flash_dump_parts
from pymc.core.arena import Note
from pymc.core.maintain import Dump, DumpKind
from pymc.core.snapshots import read_slab
from pymc.live_settings import change, may_be
from pymc.messages import CrawlerState, CrawlMessage, send
from pymc.stats.walks import CHUNKS_PER_STEP

_DISABLED = line("CLIENT_ERROR lru crawler disabled")
_BAD_CLASS = line("BADCLASS invalid class id")


def lru(command: Command) -> Answer | Parts:
    """`lru tune|mode|temp_ttl ... [noreply]`."""
    return quiet_if_asked(_lru)(command)


def _lru(command: Command) -> Answer:
    has_maintainer = command.server.settings.lru_maintainer
    match command.arguments:
        case [b"tune", hot, warm, hot_factor, warm_factor, *_]:
            return _tune(command, (hot, warm), (hot_factor, warm_factor))
        case [b"mode", mode, *_] if has_maintainer and mode in (b"flat", b"segmented"):
            change(command.server.arena, "lru_segmented", mode == b"segmented")
            return OK
        case [b"temp_ttl", seconds, *_] if has_maintainer:
            return _temporary_ttl(command, seconds)
        case _:
            return ERROR


def _tune(
    command: Command, percents: tuple[bytes, bytes], factor_words: tuple[bytes, bytes]
) -> Answer:
    hot, warm = map(decimal, percents)
    hot_factor, warm_factor = (whole_float(word.decode("latin-1")) for word in factor_words)
    if hot is None or warm is None or hot_factor is None or warm_factor is None:
        return ERROR
    if hot + warm > QUEUES_PERCENT_MAX:
        return line(f"ERROR hot and warm pcts must not exceed {QUEUES_PERCENT_MAX}")
    factors = {"hot_max_factor": hot_factor, "warm_max_factor": warm_factor}
    if not all(may_be(name, factor) for name, factor in factors.items()):
        return line("ERROR hot/warm age factors must be greater than 0")
    arena = command.server.arena
    for name, value in {"hot_lru_percent": hot, "warm_lru_percent": warm, **factors}.items():
        change(arena, name, value)
    return OK


def _temporary_ttl(command: Command, word: bytes) -> Answer:
    seconds = whole_signed(word.decode("latin-1"))
    if seconds is None:
        return ERROR
    arena = command.server.arena
    # What is out of bounds, below 0, switches the queue off.
    change(arena, "temp_lru", change(arena, "temporary_ttl_seconds", seconds))
    return OK


def lru_crawler(command: Command) -> Answer | Parts:
    """`lru_crawler enable|disable|crawl|sleep|tocrawl|metadump|mgdump`; knows no `noreply`."""
    match command.arguments:
        case [b"enable"]:
            return _enable(command)
        case [b"disable"]:
            change(command.server.arena, "lru_crawler", False)
            return OK
        case [b"crawl", classes]:
            return _crawl(command, classes)
        case [b"sleep", microseconds]:
            return _sleep(command, microseconds)
        case [b"tocrawl", items]:
            count = decimal(items)
            if count is None:
                return BAD_FORMAT
            change(command.server.arena, "lru_crawler_to_crawl", count)
            return OK
        case [b"metadump", classes]:
            return _dump(command, classes, DumpKind.META)
        case [b"mgdump", classes]:
            return _dump(command, classes, DumpKind.MG)
        case _:
            return ERROR


def _enable(command: Command) -> Answer:
    arena = command.server.arena
    if arena.live("lru_crawler"):
        return line("ERROR failed to start lru crawler thread")
    change(arena, "lru_crawler", True)
    return OK


def _sleep(command: Command, word: bytes) -> Answer:
    microseconds = decimal(word)
    if microseconds is None:
        return BAD_FORMAT
    if not change(command.server.arena, "lru_crawler_sleep_us", microseconds):
        return line("CLIENT_ERROR sleep must be one second or less")
    return OK


def _crawl(command: Command, word: bytes) -> Answer:
    arena = command.server.arena
    if not arena.live("lru_crawler"):
        return _DISABLED
    if word == b"hash":
        return line("ERROR an unknown error happened")
    classes = parse_classes(word, read_slab(command.store).classes)
    if classes == ():
        return _BAD_CLASS
    # A search that the keeper began by itself gives way to one that was asked for.
    if arena.note(Note.CRAWLER) == CrawlerState.ASKED:
        return line("BUSY currently processing crawler request")
    # Set here, not by the keeper, so that the next request already finds it.
    arena.set_note(Note.CRAWLER, CrawlerState.ASKED)
    if not send(command.server.keeper_inbox.writer, CrawlMessage(classes)):
        arena.set_note(Note.CRAWLER, CrawlerState.IDLE)
        return line("BUSY currently processing crawler request")
    return OK


def parse_classes(word: bytes, class_count: int) -> tuple[int, ...] | None:
    """Reads classes as `1,2,3`; None for `all`, () when one is not a class."""
    if word == b"all":
        return None
    classes = []
    for part in word.split(b","):
        class_id = decimal(part)
        if class_id is None or not 1 <= class_id <= class_count:
            return ()
        classes.append(class_id)
    return tuple(classes)


def _dump(command: Command, word: bytes, kind: DumpKind) -> Answer | Parts:
    name, refusal = {
        DumpKind.META: ("metadump", "ERROR metadump not allowed"),
        DumpKind.MG: ("mgdump", "ERROR key dump not allowed"),
    }[kind]
    arena = command.server.arena
    if not arena.live("dump_enabled"):
        return line(refusal)
    if not arena.live("lru_crawler"):
        return _DISABLED
    if command.is_pipelined:
        return line(f"ERROR cannot pipeline other commands before {name}")
    class_count = read_slab(command.store).classes
    classes = None if word == b"hash" else parse_classes(word, class_count)
    if classes == ():
        return _BAD_CLASS
    end = b"END\r\n" if kind is DumpKind.META else b"EN\r\n"
    return Parts(_dump_parts(command, kind, classes, end), is_walk=True)


def _dump_parts(
    command: Command, kind: DumpKind, classes: tuple[int, ...] | None, end: bytes
) -> Iterator[bytes | None]:
    dump = Dump(command.store, kind, classes)
    while not dump.is_complete:
        yield dump.step(CHUNKS_PER_STEP)
    # What is on flash only has no slab class.
    if command.server.flash and classes is None:
        yield from flash_dump_parts(command.store, command.server.flash, kind)
    yield end
