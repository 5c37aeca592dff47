"""Keys that go to the same bucket of the index."""

from pymc.core.ffi import lib

BUCKET_BYTES = 64


def colliding_keys(count: int, bits: int = 6) -> list[bytes]:
    """Keys whose hashes agree in the low bits: all in one bucket as long as there are few."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        key = b"c%d" % number
        if lib.hash_of(key, len(key), 0) & ((1 << bits) - 1) == 5:
            found.append(key)
        number += 1
    return found
