"""What policies know of the cache's pages: one frozen snapshot."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassState:
    """One slab class."""

    class_id: int
    chunks_per_page: int
    pages: int
    free_chunks: int
    # Seconds since the last use of items near the eviction hand.
    age_seconds: int = 0

    @property
    def is_free(self) -> bool:
        """True when none of its chunks is in use."""
        return self.free_chunks >= self.pages * self.chunks_per_page

    @property
    def free_pages(self) -> float:
        """Free chunks as pages."""
        return self.free_chunks / self.chunks_per_page if self.chunks_per_page else 0.0


@dataclass(frozen=True, slots=True)
class CacheState:
    """The whole cache; pages are counted in pages, the clock is the cache's own."""

    now_seconds: int
    pages_used: int
    pages_pool: int
    pages_limit: int
    classes: tuple[ClassState, ...]
    # Since when no class has got a page.
    quiet_seconds: int = 0

    @property
    def pages_spare(self) -> int:
        """Pages that classes may still take; negative when they have too many."""
        return self.pages_limit - self.pages_used
