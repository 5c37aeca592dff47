"""`stats sizes`, `stats cachedump` and `stats detail dump`: walks whose parts come one by one."""

from collections import deque
from collections.abc import Iterable, Iterator

from pymc.core.arena import Arena
from pymc.core.maintain import Dump, DumpKind, SizeCount
from pymc.core.snapshots import read_prefixes, read_slab
from pymc.core.store import Store
from pymc.stats.classes import has_items
from pymc.stats.lines import stat_reply

CHUNKS_PER_STEP = 1024
CACHEDUMP_BYTES_MAX = 2 << 20
MEMCACHED_CLASSES_MAX = 63
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
    """`stats cachedump`: `limit` items of a class at most (0: as many as fit into 2 MiB).

    One number also stands for the classes that memcached has no numbers for: see _classes_of().
    """
    left = limit
    for each in _classes_of(store, class_id):
        for part in _newest(store, each, left):
            left -= part.count(b"\r\n") if limit else 0
            yield part
        if limit and not left:
            break
    yield b"END\r\n"


def _classes_of(store: Store, class_id: int) -> Iterable[int]:
    """The classes whose items a number of `stats cachedump` lists.

    Tools such as memcdump ask for 1 to 63, all that memcached can have, and would see no item above
    some 560 bytes. So the highest of these numbers that `stats items` does not show stands for all
    classes from 64 on: who asks for what is shown there gets no key twice. Where all 63 are shown,
    63 stands for them beside its own.
    """
    last = read_slab(store).classes
    beyond = range(MEMCACHED_CLASSES_MAX + 1, last + 1)
    if class_id > MEMCACHED_CLASSES_MAX or not beyond:
        return [class_id]
    if has_items(store, class_id):
        others = range(1, MEMCACHED_CLASSES_MAX)
        stands_for_them = class_id == MEMCACHED_CLASSES_MAX
    else:
        others = range(class_id + 1, MEMCACHED_CLASSES_MAX + 1)
        stands_for_them = True
    stands_for_them = stands_for_them and all(has_items(store, other) for other in others)
    return [class_id, *beyond] if stands_for_them else [class_id]


def _newest(store: Store, class_id: int, limit: int) -> Iterator[bytes]:
    """`limit` lines of a class at most (0: 2 MiB of them), after empty parts while it walks.

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


def detail_parts(arena: Arena) -> Iterator[bytes]:
    """`stats detail dump`: what was counted per prefix."""
    for one in read_prefixes(arena):
        yield (
            b"PREFIX %s get %d hit %d set %d del %d\r\n"
            % (one.prefix, one.gets, one.hits, one.sets, one.deletes)
        )
    yield b"END\r\n"
