"""Values that tell key and version at every place, so that an old, foreign or damaged one shows."""

import random
import re
import zlib
from typing import NamedTuple

NOISE = random.Random(1).randbytes(1 << 20)
_HEAD = re.compile(rb"([^=]+)=(\d+);(\d+);([nr]);")
_TAIL = re.compile(rb"(\+\d+)*")
NEVER = float("inf")


class Value(NamedTuple):
    """What a key holds: a number where `size_bytes` is 0, else a text of a version."""

    version: int
    size_bytes: int
    is_noisy: bool
    tail: bytes = b""
    until_seconds: float = NEVER

    @property
    def flags(self) -> int:
        return 0 if self.size_bytes == 0 else self.version & 0xFFFF


def text_of(key: bytes, value: Value) -> bytes:
    """The bytes that a client stores. Noisy ones do not compress."""
    if value.size_bytes == 0:
        return b"%d" % value.version
    kind = b"n" if value.is_noisy else b"r"
    head = b"%s=%d;%d;%s;" % (key, value.version, value.size_bytes, kind)
    want = value.size_bytes - len(head)
    if want <= 0:
        return head + value.tail
    if value.is_noisy:
        start = zlib.crc32(head) % (len(NOISE) - want)
        return head + NOISE[start : start + want] + value.tail
    repeated = head * (value.size_bytes // len(head) + 1)
    return repeated[: value.size_bytes] + value.tail


def is_whole(key: bytes, text: bytes) -> bool:
    """Whether somebody stored these bytes under this key; of a number, that it is one."""
    if text.isdigit():
        return True
    found = _HEAD.match(text)
    if not found or found[1] != key:
        return False
    value = Value(int(found[2]), int(found[3]), found[4] == b"n")
    base = text_of(key, value)
    return text.startswith(base) and _TAIL.fullmatch(text[len(base) :]) is not None
