"""The checksum of the flash tier: known answers, and the fast way against the plain one."""

import random

import pytest

from pymc.core.ffi import ffi, lib


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_known_answers(text: bytes, expected: int) -> None:
    assert lib.crc32c(0, text, len(text)) == expected
    assert lib.crc32c_portable(0, text, len(text)) == expected


def test_fast_and_portable_agree_at_every_length_and_alignment() -> None:
    noise = random.Random(5).randbytes(6000)
    place = ffi.from_buffer("char[]", noise)
    for count in [*range(70), *range(700, 800), 1535, 1536, 1537, 2304, 5000]:
        start = count % 9
        fast = lib.crc32c(count, place + start, count)
        assert fast == lib.crc32c_portable(count, place + start, count), count


def test_a_checksum_goes_on_where_another_ended() -> None:
    noise = random.Random(6).randbytes(3000)
    whole = lib.crc32c(0, noise, len(noise))
    for cut in (0, 1, 767, 768, 2999, 3000):
        head = lib.crc32c(0, noise[:cut], cut)
        assert lib.crc32c(head, noise[cut:], len(noise) - cut) == whole
