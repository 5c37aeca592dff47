"""The checksum of the flash log, as fast as the core computes it."""

from pymc.core.ffi import ffi, lib


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """CRC32C of `data`."""
    return int(lib.crc32c(0, ffi.from_buffer(data), len(data)))
