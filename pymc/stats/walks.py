"""`stats sizes`, `stats cachedump` and `stats detail dump`: walks whose parts come one by one."""

from collections import deque
from collections.abc import Iterator

from pymc.core.arena import Arena
from pymc.core.maintain import Dump, DumpKind, SizeCount
from pymc.core.snapshots import read_prefixes
from pymc.core.store import Store
from pymc.stats.lines import stat_reply

CHUNKS_PER_STEP = 1024
CACHEDUMP_BYTES_MAX = 2 << 20
_SIZE_STEP_BYTES = 32
# Items up to 1 MiB have a line of their own; what is larger shares the last one.
_SIZE_BUCKETS = (1 << 20) // _SIZE_STEP_BYTES + 1


def sizes_parts(store: Store) -> Iterator[bytes]:
    """`stats sizes`: items per size, in steps of 32 bytes. Empty parts while it is counting."""
    counting = SizeCount(store, _SIZE_BUCKETS)
    while counting.step(CHUNKS_PER_STEP):
        yield b""
    pairs = sorted(counting.counts.items())
    yield stat_reply((str(bucket * _SIZE_STEP_BYTES), count) for bucket, count in pairs)


def cachedump_parts(store: Store, class_id: int, limit: int) -> Iterator[bytes]:
    """`stats cachedump`: `limit` items of a class at most (0: as many as fit), 2 MiB in all.

    Newer items come first as far as chunks tell: they are handed out in rising order, so the last
    lines of the walk are kept and turned round.
    """
    kept: deque[bytes] = deque(maxlen=limit or None)
    kept_bytes = 0
    dump = Dump(store, DumpKind.CACHE, [class_id])
    while not dump.is_complete:
        for line in dump.step(CHUNKS_PER_STEP).split(b"\r\n")[:-1]:
            if len(kept) == kept.maxlen:
                kept_bytes -= len(kept.popleft())
            kept.append(line + b"\r\n")
            kept_bytes += len(kept[-1])
        while kept_bytes > CACHEDUMP_BYTES_MAX:
            kept_bytes -= len(kept.popleft())
        yield b""
    yield b"".join(reversed(kept))
    yield b"END\r\n"


def detail_parts(arena: Arena) -> Iterator[bytes]:
    """`stats detail dump`: what was counted per prefix."""
    for one in read_prefixes(arena):
        yield (
            b"PREFIX %s get %d hit %d set %d del %d\r\n"
            % (one.prefix, one.gets, one.hits, one.sets, one.deletes)
        )
    yield b"END\r\n"
