"""The binary protocol as a client sees it: requests of named fields, and responses taken apart."""

import struct
from dataclasses import dataclass

HEADER = struct.Struct(">BBHBBHI4sQ")
REQUEST, RESPONSE = 0x80, 0x81
_PLAIN = [
    "get",
    "set",
    "add",
    "replace",
    "delete",
    "incr",
    "decr",
    "quit",
    "flush",
    "getq",
    "noop",
    "version",
    "getk",
    "getkq",
    "append",
    "prepend",
    "stat",
    "setq",
    "addq",
    "replaceq",
    "deleteq",
    "incrq",
    "decrq",
    "quitq",
    "flushq",
    "appendq",
    "prependq",
]
OPCODES = dict(zip(_PLAIN, range(0x1B), strict=True)) | {
    "touch": 0x1C,
    "gat": 0x1D,
    "gatq": 0x1E,
    "sasl_list": 0x20,
    "sasl_auth": 0x21,
    "sasl_step": 0x22,
    "gatk": 0x23,
    "gatkq": 0x24,
}
# What an error says, by the name that tests have for it.
ERRORS = {
    "not_found": (1, b"Not found"),
    "exists": (2, b"Data exists for key."),
    "too_large": (3, b"Too large."),
    "invalid": (4, b"Invalid arguments"),
    "not_stored": (5, b"Not stored."),
    "non_numeric": (6, b"Non-numeric server-side value for incr or decr"),
    "auth": (0x20, b"Auth failure."),
    "unknown": (0x81, b"Unknown command"),
    "no_memory": (0x82, b"Out of memory"),
    "busy": (0x85, b"Busy"),
}


@dataclass(frozen=True, slots=True)
class Response:
    """One packet from the server."""

    opcode: int
    status: int = 0
    extras: bytes = b""
    key: bytes = b""
    value: bytes = b""
    opaque: int = 0
    cas: int = 0


def opcode_of(name: str) -> int:
    """The number of an opcode: its name, or the number itself as in `0x1b`."""
    return OPCODES[name] if name in OPCODES else int(name, 16)


def request(
    name: str,
    key: bytes = b"",
    value: bytes = b"",
    *,
    extras: bytes = b"",
    cas: int = 0,
    opaque: int = 0,
    **wrong: int,
) -> bytes:
    """A request; `wrong` says what the header has in place of what is true.

    It knows magic, keylen, extlen, bodylen and vbucket.
    """
    header = HEADER.pack(
        wrong.get("magic", REQUEST),
        opcode_of(name),
        wrong.get("keylen", len(key)),
        wrong.get("extlen", len(extras)),
        0,
        wrong.get("vbucket", 0),
        wrong.get("bodylen", len(extras) + len(key) + len(value)),
        opaque.to_bytes(4, "big"),
        cas,
    )
    return header + extras + key + value


def storing(
    name: str, key: bytes, value: bytes, flags: int = 0, expiry: int = 0, **more: int
) -> bytes:
    """A set, add or replace, quiet or not."""
    return request(name, key, value, extras=struct.pack(">II", flags, expiry), **more)


def counting(
    name: str, key: bytes, delta: int = 1, initial: int = 0, expiry: int = 0, **more: int
) -> bytes:
    """An incr or decr, quiet or not."""
    return request(name, key, extras=struct.pack(">QQI", delta, initial, expiry), **more)


def touching(name: str, key: bytes, expiry: int, **more: int) -> bytes:
    """A touch, or one of the gat family."""
    return request(name, key, extras=struct.pack(">I", expiry), **more)


def body_bytes_of(header: bytes) -> int:
    """How much follows a response's header."""
    return int(HEADER.unpack(header)[6])


def response_of(header: bytes, body: bytes) -> Response:
    """Takes a response apart; raises AssertionError when its header is not one."""
    magic, opcode, keylen, extlen, datatype, status, bodylen, opaque, cas = HEADER.unpack(header)
    assert magic == RESPONSE and datatype == 0, header
    assert bodylen == len(body) and keylen + extlen <= bodylen, header
    key_end = extlen + keylen
    return Response(
        opcode,
        status,
        body[:extlen],
        body[extlen:key_end],
        body[key_end:],
        int.from_bytes(opaque, "big"),
        cas,
    )


def responses(data: bytes) -> list[Response]:
    """All packets of what a server said; raises AssertionError unless the last one is whole."""
    found = []
    while data:
        header, data = data[: HEADER.size], data[HEADER.size :]
        size = body_bytes_of(header)
        found.append(response_of(header, data[:size]))
        data = data[size:]
    return found


def error(name: str, what: str, opaque: int = 0) -> Response:
    """The response to `name` that says what failed."""
    status, text = ERRORS[what]
    return Response(opcode_of(name), status, value=text, opaque=opaque)
