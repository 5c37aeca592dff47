"""The ladder of chunk sizes: which pieces a page of item memory is cut into."""

import math
from collections.abc import Iterator

from pymc.config import SLAB_PAGE_BYTES, Settings

ALIGN_BYTES = 8
CLASSES_MAX = 255
CHUNK_MIN_BYTES = 32
# The item header without its optional fields (lifetime and client flags, 4 bytes each).
ITEM_HEADER_BYTES = 16

# Up to here each multiple of the alignment has a class.
_EXACT_UP_TO_BYTES = 256
# Above, so many steps for each doubling, up to the size named. memcached's factor 1.25 is three of
# them and wastes 10 % of an average chunk; 32 steps waste about 1 %.
_STEPS_PER_DOUBLING = ((2048, 32), (8192, 16), (SLAB_PAGE_BYTES, 8))
# From here the end of a page that is too short for a chunk is shared out among the chunks.
_FIT_PAGES_FROM_BYTES = 8192
_WIDEN_BY = 1.005


def ladder(settings: Settings) -> list[int]:
    """Chunk sizes in bytes: multiples of 8, ascending, at most 255; the last is slab_chunk_max.

    `slab_sizes` is taken as it is. A growth factor is used only if it was given, and widened if it
    would need more classes than there are. A given slab_min_bytes makes the smallest chunk hold
    that much besides the item header.
    """
    largest = settings.slab_chunk_max_bytes
    if settings.slab_sizes:
        sizes = {max(CHUNK_MIN_BYTES, _aligned(size)) for size in settings.slab_sizes}
        return sorted({size for size in sizes if size < largest} | {largest})
    smallest = CHUNK_MIN_BYTES
    if "slab_min_bytes" in settings.given:
        smallest = max(smallest, _aligned(ITEM_HEADER_BYTES + settings.slab_min_bytes))
    if "slab_growth_factor" not in settings.given:
        return _page_fitting([smallest, *_fine_sizes()], smallest, largest)
    return _by_factor(settings.slab_growth_factor, smallest, largest)


def growth_factor(settings: Settings) -> float:
    """What each chunk size is of the one before, on an average over the whole ladder.

    A factor that was given and is in force is shown as it was given.
    """
    sizes = ladder(settings)
    factor = settings.slab_growth_factor
    if "slab_growth_factor" in settings.given and not settings.slab_sizes:
        grown = _sizes_by_factor(sizes[0], settings.slab_chunk_max_bytes, factor)
        if len(_page_fitting(grown, sizes[0], settings.slab_chunk_max_bytes)) <= CLASSES_MAX:
            return factor
    return float((sizes[-1] / sizes[0]) ** (1 / (len(sizes) - 1))) if len(sizes) > 1 else 1.0


def _by_factor(factor: float, smallest: int, largest: int) -> list[int]:
    """The sizes that a factor makes, widened until there are not too many."""
    sizes = _page_fitting(_sizes_by_factor(smallest, largest, factor), smallest, largest)
    while len(sizes) > CLASSES_MAX:
        factor *= _WIDEN_BY
        sizes = _page_fitting(_sizes_by_factor(smallest, largest, factor), smallest, largest)
    return sizes


def _aligned(size_bytes: float) -> int:
    return math.ceil(size_bytes / ALIGN_BYTES) * ALIGN_BYTES


def _fine_sizes() -> Iterator[int]:
    """pymc's own ladder up to a whole page, without regard to the largest chunk."""
    yield from range(CHUNK_MIN_BYTES, _EXACT_UP_TO_BYTES, ALIGN_BYTES)
    low = _EXACT_UP_TO_BYTES
    for high, steps in _STEPS_PER_DOUBLING:
        for step in range(round(math.log2(high / low)) * steps):
            yield _aligned(low * 2 ** (step / steps))
        low = high
    yield SLAB_PAGE_BYTES


def _sizes_by_factor(smallest: int, largest: int, factor: float) -> list[int]:
    sizes = [smallest]
    while sizes[-1] < largest / factor:
        # Rounding up makes each at least one alignment larger than the last.
        sizes.append(_aligned(sizes[-1] * factor))
    return sizes


def _page_fitting(sizes: list[int], smallest: int, largest: int) -> list[int]:
    """The sizes from `smallest` to below `largest`, large ones fitted to pages, and `largest`.

    Below 8 KiB a page loses less than a hundredth at its end, and a size is left alone. Above, the
    rest grows with the chunk (three chunks of 270 KiB leave a fifth of the page): the largest size
    that leaves as many chunks in a page costs nothing and holds more items. Sizes that give the
    same number of chunks thereby become one class.
    """
    fitted = {_fitted(size) for size in sizes if smallest <= size < largest}
    return sorted({size for size in fitted if size < largest} | {largest})


def _fitted(size: int) -> int:
    if size <= _FIT_PAGES_FROM_BYTES:
        return size
    chunk_count = SLAB_PAGE_BYTES // size
    return SLAB_PAGE_BYTES // chunk_count // ALIGN_BYTES * ALIGN_BYTES
