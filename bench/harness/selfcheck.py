"""Checks the load generator itself: lies told by a small server must be found out."""

import socket
import subprocess
import threading
import zlib
from collections.abc import Callable

from bench.harness import loadgen

KEYS = 20
TIMEOUT_SECONDS = 10

Store = dict[bytes, bytes]
Answer = Callable[[Store, bytes], bytes]


def _value_line(key: bytes, value: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)


def _honest(store: Store, key: bytes) -> bytes:
    return _value_line(key, store[key])


def _flips_a_bit(store: Store, key: bytes) -> bytes:
    value = bytearray(store[key])
    value[len(value) // 2] ^= 1
    return _value_line(key, bytes(value))


def _gives_anothers_value(store: Store, key: bytes) -> bytes:
    other = max(store) if key == min(store) else min(store)
    return _value_line(key, store[other])


def _answers_another_key(store: Store, key: bytes) -> bytes:
    other = max(store) if key == min(store) else min(store)
    return _value_line(other, store[other])


def _cuts_short(store: Store, key: bytes) -> bytes:
    return _value_line(key, store[key][:-1])


def _mixes_two_generations(store: Store, key: bytes) -> bytes:
    # The generation stands in the first 8 bytes: a torn value has it from one write only.
    return _value_line(key, b"\x01" * 8 + store[key][8:])


def _ends_with_anothers(store: Store, key: bytes) -> bytes:
    other = max(store) if key == min(store) else min(store)
    half = len(store[key]) // 2
    return _value_line(key, store[key][:half] + store[other][half:])


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
# Values of every make must be told from wrong ones.
DATA: tuple[loadgen.Arguments, ...] = ({}, {"compressible": 60})
# What a packer leaves of a value, least and most, by percent of text.
PACKED_SHARE = {0: (1.0, 1.1), 60: (0.4, 0.6)}
PACKED_VALUE_BYTES = 900


class TinyServer:
    """Answers set and get on one connection at a time, gets the way `answer` does."""

    def __init__(self, store: Store, answer: Answer) -> None:
        self.store = store
        self.answer = answer
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
            try:
                with connection, connection.makefile("rwb") as stream:
                    while line := stream.readline():
                        stream.write(self._reply(line.split(), stream.read))
                        stream.flush()
            except ConnectionError:
                continue

    def _reply(self, words: list[bytes], read: Callable[[int], bytes]) -> bytes:
        if words[0] == b"set":
            self.store[words[1]] = read(int(words[4]) + 2)[:-2]
            return b"STORED\r\n"
        return self.answer(self.store, words[1])


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
