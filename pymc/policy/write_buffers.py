"""Which streams of records get write buffers to fill, and how many buffers may be in use at all."""

from collections.abc import Mapping

# Of memory, for records that wait for the device; but some buffers there must be.
MEMORY_SHARE = 8
BUFFERS_MIN = 6
# Free buffers for who comes next.
SPARE = 1
# Of a small log, for what is not written yet.
FLASH_SHARE = 16
OPEN_MIN = 2
PATHS_AT_ONCE = 4


def buffers_most(limit_bytes: int, buffer_bytes: int, paths: int, buffers: int) -> int:
    """How many of the `buffers` may be in use: what memory allows, and for each path two."""
    by_memory = limit_bytes // MEMORY_SHARE // buffer_bytes
    return min(max(by_memory, BUFFERS_MIN, min(2 * paths, 2 * PATHS_AT_ONCE) + 1), buffers)


def open_most(flash_bytes: int, buffer_bytes: int) -> int:
    """How many buffers may be open: each keeps its place in the log."""
    return max(flash_bytes // FLASH_SHARE // buffer_bytes, OPEN_MIN)


def streams_to_begin(
    open_buffers: Mapping[int, int],
    wanted: frozenset[int],
    busy: frozenset[int],
    free: int,
    most_open: int,
) -> list[int]:
    """The streams for which to begin a buffer each, in this order, as far as `free` allows.

    A stream that asked and got none gets one. Those that fill buffers get all others but one, up
    to `most_open`, so that nobody waits until the keeper comes by.
    """
    begins = sorted(stream for stream in wanted if not open_buffers.get(stream, 0))[: max(free, 0)]
    room = most_open - sum(open_buffers.values()) - len(begins)
    for _ in range(min(free - SPARE - len(begins), room) if busy else 0):
        has = {stream: open_buffers.get(stream, 0) + begins.count(stream) for stream in busy}
        begins.append(min(sorted(busy), key=lambda stream: has[stream]))
    return begins
