"""Checks the load generator itself: lies told by a small server must be found out."""

import io
import socket
import ssl
import struct
import subprocess
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress

from bench.harness import loadgen

KEYS = 20
TIMEOUT_SECONDS = 10
# Magic, opcode, key length, length of extras, type, status, length of the body, opaque, CAS.
BINARY_HEADER = struct.Struct("!BBHBBHIIQ")
BINARY_REQUEST, BINARY_REPLY = b"\x80", 0x81
BINARY_SET, BINARY_GETQ, BINARY_NOOP = 0x01, 0x09, 0x0A
NOT_FOUND = 1
NO_FLAGS = bytes(4)

Store = dict[bytes, bytes]
Answer = Callable[[Store, bytes], tuple[bytes, bytes] | None]
"""What a get is answered with: a key, which the binary protocol does not say, and a value; None for
a miss."""


def _honest(store: Store, key: bytes) -> tuple[bytes, bytes]:
    return key, store[key]


def _flips_a_bit(store: Store, key: bytes) -> tuple[bytes, bytes]:
    value = bytearray(store[key])
    value[len(value) // 2] ^= 1
    return key, bytes(value)


def _other(store: Store, key: bytes) -> bytes:
    return max(store) if key == min(store) else min(store)


def _gives_anothers_value(store: Store, key: bytes) -> tuple[bytes, bytes]:
    return key, store[_other(store, key)]


def _answers_another_key(store: Store, key: bytes) -> tuple[bytes, bytes]:
    other = _other(store, key)
    return other, store[other]


def _cuts_short(store: Store, key: bytes) -> tuple[bytes, bytes]:
    return key, store[key][:-1]


def _mixes_two_generations(store: Store, key: bytes) -> tuple[bytes, bytes]:
    # The generation stands in the first 8 bytes: a torn value has it from one write only.
    return key, b"\x01" * 8 + store[key][8:]


def _ends_with_anothers(store: Store, key: bytes) -> tuple[bytes, bytes]:
    half = len(store[key]) // 2
    return key, store[key][:half] + store[_other(store, key)][half:]


# What a server may do, and the exit code that the load generator must end with.
CASES: tuple[tuple[Answer, int], ...] = (
    (_honest, 0),
    (_flips_a_bit, 1),
    (_gives_anothers_value, 1),
    (_answers_another_key, 1),
    (_cuts_short, 1),
    (_mixes_two_generations, 1),
    (_ends_with_anothers, 1),
)
# Values of every make must be told from wrong ones, in both protocols.
DATA: tuple[loadgen.Arguments, ...] = (
    {},
    {"compressible": 60},
    {"binary": True},
    {"binary-quiet": True, "pipeline": 4},
)
# What a packer leaves of a value, least and most, by percent of text.
PACKED_SHARE = {0: (1.0, 1.1), 60: (0.4, 0.6)}
PACKED_VALUE_BYTES = 900


class TinyServer:
    """Answers set and get on one connection at a time, gets the way `answer` does.

    With a context it speaks TLS. What it cannot answer because the client left or was refused does
    not end it.
    """

    def __init__(self, store: Store, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self.store = store
        self.answer = answer
        self.context = context
        self.opaque_error = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        # shutdown wakes the thread out of accept(); close alone would not.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(TIMEOUT_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            # An ssl.SSLError is an OSError as well.
            with suppress(OSError), connection:
                if self.context:
                    connection = self.context.wrap_socket(connection, server_side=True)
                with connection, connection.makefile("rwb") as stream:
                    self._talk(stream)

    def _talk(self, stream: io.BufferedRWPair) -> None:
        while first := stream.read(1):
            reply = self._binary if first == BINARY_REQUEST else self._text
            stream.write(reply(first, stream))
            stream.flush()

    def _text(self, first: bytes, stream: io.BufferedRWPair) -> bytes:
        words = (first + stream.readline()).split()
        if words[0] == b"set":
            self.store[words[1]] = stream.read(int(words[4]) + 2)[:-2]
            return b"STORED\r\n"
        answer = self.answer(self.store, words[1])
        if answer is None:
            return b"END\r\n"
        key, value = answer
        return b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)

    def _binary(self, first: bytes, stream: io.BufferedRWPair) -> bytes:
        header = BINARY_HEADER.unpack(first + stream.read(BINARY_HEADER.size - 1))
        _, opcode, key_bytes, extras_bytes, _, _, body_bytes, opaque, _ = header
        body = stream.read(body_bytes)
        key = body[extras_bytes : extras_bytes + key_bytes]
        extras, value, status = b"", b"", 0
        if opcode == BINARY_SET:
            self.store[key] = body[extras_bytes + key_bytes :]
        elif opcode != BINARY_NOOP:
            answer = self.answer(self.store, key)
            if answer is None and opcode == BINARY_GETQ:
                return b""
            extras, value, status = (NO_FLAGS, answer[1], 0) if answer else (b"", b"", NOT_FOUND)
        total_bytes = len(extras) + len(value)
        opaque = (opaque + self.opaque_error) % (1 << 32)
        shape = (BINARY_REPLY, opcode, 0, len(extras), 0, status, total_bytes, opaque, 0)
        return BINARY_HEADER.pack(*shape) + extras + value


def _exit_code(port: int, arguments: loadgen.Arguments) -> int:
    words = loadgen.command(port, {"keys": KEYS, "connections": 1, **arguments})
    return subprocess.run(words, capture_output=True, timeout=TIMEOUT_SECONDS).returncode


def _check_case(answer: Answer, expected: int, data: loadgen.Arguments) -> None:
    server = TinyServer({}, answer)
    try:
        if _exit_code(server.port, {**data, "load": True}) != 0:
            raise loadgen.LoadError("self-check: the keys could not be set")
        code = _exit_code(server.port, {**data, "requests": 3 * KEYS})
    finally:
        server.close()
    if code != expected:
        case = f"{answer.__name__.lstrip('_')} {dict(data) or ''}"
        raise loadgen.LoadError(f"self-check: {case}: exit code {code}, want {expected}")


def _check_packing(percent: int, least: float, most: float) -> None:
    server = TinyServer({}, _honest)
    data = {"compressible": percent, "value-bytes": PACKED_VALUE_BYTES, "load": True}
    try:
        _exit_code(server.port, data)
    finally:
        server.close()
    # zlib's fastest level finds what lz4 finds in values like these.
    shares = [len(zlib.compress(value, 1)) / len(value) for value in server.store.values()]
    if len(shares) != KEYS or not least <= min(shares) <= max(shares) <= most:
        raise loadgen.LoadError(f"self-check: compressible {percent}: packed to {shares}")


def check() -> None:
    """Raises LoadError when the load generator believes a lie or refuses the truth.

    Also when its values do not pack the way they should.
    """
    for data in DATA:
        for answer, expected in CASES:
            _check_case(answer, expected, data)
    for percent, (least, most) in PACKED_SHARE.items():
        _check_packing(percent, least, most)
