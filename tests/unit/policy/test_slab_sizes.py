"""The ladder of chunk sizes: its invariants for any settings, and what the options do to it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymc.config import SLAB_PAGE_BYTES, Settings
from pymc.policy.slab_sizes import CHUNK_MIN_BYTES, CLASSES_MAX, growth_factor, ladder


def given_settings(**values: object) -> Settings:
    """Settings as if the command line had given `values`."""
    return Settings(**values, given=frozenset(values))  # type: ignore[arg-type]


def check_invariants(sizes: list[int], largest: int) -> None:
    assert 1 <= len(sizes) <= CLASSES_MAX
    assert sizes[-1] == largest
    assert all(size % 8 == 0 and size >= CHUNK_MIN_BYTES for size in sizes)
    assert all(low < high for low, high in pairwise(sizes))


@given(
    factor=st.one_of(st.none(), st.floats(1, 1e308, exclude_min=True)),
    smallest=st.one_of(st.none(), st.integers(1, 2**31 - 1)),
    largest_kilobytes=st.sampled_from([1 << power for power in range(11)]),
)
def test_invariants(factor: float | None, smallest: int | None, largest_kilobytes: int) -> None:
    chosen = {"slab_growth_factor": factor, "slab_min_bytes": smallest}
    values = {name: value for name, value in chosen.items() if value is not None}
    largest = largest_kilobytes * 1024
    check_invariants(ladder(given_settings(slab_chunk_max_bytes=largest, **values)), largest)


def test_default_is_finer_than_memcached() -> None:
    sizes = ladder(Settings())
    check_invariants(sizes, 512 * 1024)
    assert sizes[:29] == list(range(32, 257, 8))
    for up_to, ratio in [(2048, 1.05), (8192, 1.06), (65536, 1.15)]:
        steps = [high / low for low, high in pairwise(sizes) if 256 <= low < up_to]
        assert max(steps) < ratio


def test_defaults_that_were_not_given_change_nothing() -> None:
    assert ladder(Settings(slab_growth_factor=1.25, slab_min_bytes=48)) == ladder(Settings())


def test_large_chunks_leave_nothing_of_a_page() -> None:
    for size in ladder(Settings()):
        if size > 8192:
            count = SLAB_PAGE_BYTES // size
            assert SLAB_PAGE_BYTES - count * size < 8 * count


def test_growth_factor() -> None:
    sizes = ladder(given_settings(slab_growth_factor=2.0))
    assert sizes[:9] == [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
    assert sizes[-2:] == [262144, 524288]


def test_smallest_chunk_holds_header_and_minimum() -> None:
    assert ladder(given_settings(slab_min_bytes=100))[:2] == [120, 128]
    assert ladder(given_settings(slab_min_bytes=1))[0] == 32
    assert ladder(given_settings(slab_min_bytes=600_000)) == [524288]


def test_tiny_factor_is_widened_over_the_whole_range() -> None:
    sizes = ladder(given_settings(slab_growth_factor=1.0001))
    check_invariants(sizes, 512 * 1024)
    assert all(high < 2 * low for low, high in pairwise(sizes))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((100, 200), [104, 200, 524288]),
        ((96, 1000, 524288), [96, 1000, 524288]),
        ((8,), [32, 524288]),
    ],
)
def test_sizes_asked_for(asked: tuple[int, ...], expected: list[int]) -> None:
    assert ladder(given_settings(slab_sizes=asked, slab_growth_factor=2.0)) == expected


def test_the_factor_in_force() -> None:
    assert growth_factor(given_settings(slab_growth_factor=2.0)) == 2.0
    assert 1.0 < growth_factor(Settings()) < 1.1
    # Where it would make too many classes it is another one.
    assert growth_factor(given_settings(slab_growth_factor=1.0001)) > 1.01
    sizes = (64, 128, 256)
    asked = given_settings(slab_sizes=sizes, slab_growth_factor=1.1, slab_chunk_max_bytes=512)
    assert growth_factor(asked) == pytest.approx(2.0)
