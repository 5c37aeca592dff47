"""lz4 blocks: there and back, no room, and bytes that were never a block."""

import random

import pytest

from pymc.core.ffi import ffi, lib


def squeeze(value: bytes, room: int) -> bytes:
    out = ffi.new("char[]", max(room, 1))
    made = lib.flash_compress(value, len(value), out, room)
    return bytes(ffi.buffer(out, made))


def unpack(block: bytes, value_bytes: int) -> bytes | None:
    # With a guard behind it that must stay as it is.
    out = ffi.new("char[]", b"\x55" * (value_bytes + 16))
    done = lib.flash_decompress(block, len(block), out, value_bytes)
    text = bytes(ffi.buffer(out, value_bytes + 16))
    assert text[value_bytes:] == b"\x55" * 16
    return text[:value_bytes] if done else None


@pytest.mark.parametrize("value_bytes", [1, 15, 64, 1000, 70_000, 3_000_000])
def test_there_and_back(value_bytes: int) -> None:
    value = (b"abcdefgh%d" % value_bytes * (value_bytes // 8 + 1))[:value_bytes]
    block = squeeze(value, value_bytes + 64)
    assert unpack(block, value_bytes) == value
    assert unpack(block, value_bytes + 1) is None
    assert value_bytes < 2 or unpack(block, value_bytes - 1) is None


def test_what_does_not_get_smaller_is_refused() -> None:
    noise = random.Random(1).randbytes(4000)
    assert squeeze(noise, 3999) == b""
    assert squeeze(b"", 100) == b""
    assert squeeze(b"a" * 100, 0) == b""


def test_damaged_blocks_touch_nothing_else() -> None:
    dice = random.Random(2)
    value = b"".join(b"%d " % dice.randrange(50) for _ in range(2000))
    block = bytearray(squeeze(value, len(value)))
    for _ in range(500):
        damaged = bytearray(block)
        for _ in range(dice.randrange(1, 8)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        unpack(bytes(damaged[: dice.randrange(1, len(damaged) + 1)]), len(value))
        unpack(dice.randbytes(dice.randrange(1, 300)), 500)
