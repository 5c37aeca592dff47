"""What a program of fuzz_binary.c means: the bytes that each conversation says."""

import struct
from collections.abc import Iterator

# A segment, and the seconds that pass after it; None lets the other side go on.
Segment = tuple[bytes, int | None]

# As fuzz_binary.c has them.
ASKS_LOGIN = 64
_RAW_FIRST, _SWITCH, _TIME = 0x40, 0x80, 0x81
_HAS_CAS, _HAS_EXPIRY, _HAS_VALUE, _WRONG_EXTRAS = 1, 2, 4, 8
_WRONG_FIELD, _LONG_VALUE, _NO_KEY, _LONG_KEY = 16, 32, 64, 128
_VALUE_UNIT_BYTES = 157
_WORDS = (b"a", b"b", b"key", b"c d", b"reset", b"PLAIN", b"items")
_EXTRAS = (
    dict.fromkeys((1, 2, 3, 0x11, 0x12, 0x13), 8)
    | dict.fromkeys((5, 6, 0x15, 0x16), 20)
    | dict.fromkeys((0x1C, 0x1D, 0x1E, 0x23, 0x24), 4)
)
_LOGINS = (0x21, 0x22)


def binary_segments(program: bytes) -> Iterator[Segment]:
    """Each segment of the program."""
    codes = iter(program)
    segment = b""
    for code in codes:
        if code < _RAW_FIRST:
            segment += _request(code, codes)
        elif code < _SWITCH:
            segment += bytes(next(codes, 0) for _ in range(code - _RAW_FIRST))
        elif code in (_SWITCH, _TIME):
            yield segment, (next(codes, 0) or 256) if code == _TIME else None
            segment = b""
    yield segment, None


def _request(opcode: int, codes: Iterator[int]) -> bytes:
    wishes, key_choice, choice = (next(codes, 0) for _ in range(3))
    key = b"" if wishes & _NO_KEY else _WORDS[key_choice % len(_WORDS)]
    if wishes & _LONG_KEY and key:
        key = b"k" * (230 + key_choice % 26)
    value = _value(opcode, wishes, choice)
    size = next(codes, 0) if wishes & _WRONG_EXTRAS else _EXTRAS.get(opcode, 0)
    extras = _extras(wishes, size, codes)
    cas = next(codes, 0) if wishes & _HAS_CAS else 0
    body_bytes = size + len(key) + len(value)
    header = bytearray(struct.pack(">BBHBBHI", 0x80, opcode, len(key), size, 0, 0, body_bytes))
    header += bytes([choice]) * 4 + cas.to_bytes(8, "big")
    if wishes & _WRONG_FIELD:
        header[next(codes, 0) % len(header)] = next(codes, 0)
    return bytes(header) + extras + key + value


def _extras(wishes: int, size: int, codes: Iterator[int]) -> bytes:
    extras = bytearray(size)
    if size == 20:
        extras[7], extras[15] = 3, 9
    if wishes & _HAS_EXPIRY and size >= 4:
        expiry = next(codes, 0)
        extras[-4:] = bytes([expiry]) * 4 if expiry == 0xFF else bytes([0, 0, 0, expiry])
    return bytes(extras)


def _value(opcode: int, wishes: int, choice: int) -> bytes:
    if wishes & _LONG_VALUE:
        value = (b"vwx" * (choice * _VALUE_UNIT_BYTES // 3 + 1))[: choice * _VALUE_UNIT_BYTES]
    else:
        value = b"%d" % (choice % 10) * (choice % 8 if wishes & _HAS_VALUE else 0)
    is_login = opcode in _LOGINS and len(value) < 8
    return b"\0u\0pxxxx"[: len(value)] if is_login else value
