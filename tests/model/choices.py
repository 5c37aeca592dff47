"""What the state machines choose from: keys, values, times, CAS numbers."""

import random
from functools import lru_cache

from hypothesis import strategies as st

from tests.support.core.driver import MIB, Mode

# Few, so that operations meet.
KEYS = [b"a", b"key-of-some-length", b"x" * 250]
CROWD = [b"crowd-%d" % number for number in range(200)]
ITEM_BYTES_MAX = 3 * MIB
LARGE_BYTES = [524_200, 524_288, 600_000, 1_048_576, 1_500_001, 2_000_000]
# Beside the borders of the narrow CAS field, numbers below and above what the store gives itself.
CAS_NUMBERS = [1, 3, 1000, (1 << 48) - 1, 1 << 48, 1 << 63, (1 << 64) - 1]


@lru_cache(maxsize=64)
def filler(seed: int, value_bytes: int) -> bytes:
    """Bytes that look alike nowhere."""
    return random.Random(seed).randbytes(value_bytes)


# Mostly those that leave an item behind, so that the other operations find one.
modes = st.sampled_from([Mode.SET, Mode.SET, Mode.SET, *Mode])
keys = st.sampled_from(KEYS)
# What is stored first when the key is missing; None leaves it so.
fillings = st.sampled_from([None, b"10", b"99", b"text"])
slots = st.integers(0, 1)
numbers = st.sampled_from([0, 1, 9, 10, 99, 12345, (1 << 64) - 1]).map(lambda n: b"%d" % n)
small = st.builds(filler, st.integers(0, 9), st.sampled_from([0, 1, 20, 30, 100, 300, 1000]))
middle = st.builds(filler, st.integers(0, 9), st.sampled_from([5000, 60_000, 70_000, 300_000]))
large = st.builds(filler, st.integers(0, 9), st.sampled_from(LARGE_BYTES))
texts = st.sampled_from([b" 7", b"12 a", b"+5", b"abc", b"18446744073709551616", b"5\0x"])
values = st.one_of(small, numbers, texts, small, middle)
pieces = st.one_of(small, numbers, small, middle, large)
# In seconds from now; None is never. A negative one is over at once.
lifetimes = st.sampled_from([None, None, None, None, 100, 100, 5, 2, 1, -1])
flags = st.sampled_from([0, 0, 1, (1 << 32) - 1])
# How a compare CAS stands to the item's; None is no compare.
compares = st.sampled_from([None, None, None, "same", "same", "older", "newer"])
cas_numbers = st.one_of(st.none(), st.none(), st.sampled_from(CAS_NUMBERS))
