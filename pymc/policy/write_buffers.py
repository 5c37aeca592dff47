"""Which streams of records get write buffers to fill, and how many buffers may be in use at all."""

from collections.abc import Mapping

# Of memory, for records that wait for the device; but some buffers there must be.
MEMORY_SHARE = 8
BUFFERS_MIN = 6
# Open buffers of a stream that fills them, beside one for each path.
SPARE = 1
PATHS_AT_ONCE = 4


def buffers_most(limit_bytes: int, buffer_bytes: int, paths: int, buffers: int) -> int:
    """How many of the `buffers` may be in use: what memory allows, and for each path two."""
    by_memory = limit_bytes // MEMORY_SHARE // buffer_bytes
    return min(max(by_memory, BUFFERS_MIN, min(2 * paths, 2 * PATHS_AT_ONCE) + 1), buffers)


def streams_to_begin(
    open_buffers: Mapping[int, int],
    wanted: frozenset[int],
    busy: frozenset[int],
    free: int,
    paths: int,
) -> list[int]:
    """The streams for which to begin a buffer each, in this order, as far as `free` allows.

    A stream that was asked for in vain gets one; one that fills buffers has some more open, so that
    nobody waits while the next one is begun.
    """
    begins = sorted(stream for stream in wanted if not open_buffers.get(stream, 0))
    ready = min(paths, PATHS_AT_ONCE) + SPARE
    for stream in sorted(busy):
        has = open_buffers.get(stream, 0) + begins.count(stream)
        begins += [stream] * max(ready - has, 0)
    return begins[: max(free, 0)]
