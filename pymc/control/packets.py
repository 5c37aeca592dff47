"""The answer to a binary client's `stat`: the lines that `stats` says, as packets."""

from collections.abc import Iterator

from pymc.control.answers import Answer, Parts

_RESPONSE_TO_STAT = b"\x81\x10"
_CAS = bytes(8)
_OK, _NOT_FOUND, _INTERNAL_ERROR = 0, 1, 0x84
_ENDS = (b"END", b"OK", b"RESET")


def in_packets(answer: Answer | Parts, opaque: bytes, *, is_dump: bool) -> Answer | Parts:
    """The same answer for a binary client; `opaque` is the number of its request, 4 bytes.

    With `is_dump` the lines are one packet together, as prefixes are.

    What is no list of numbers, an error or lines of keys, has no packets: the client is told that
    there is nothing of that name, as memcached does.
    """
    packets = _Packets(opaque, is_dump=is_dump)
    if isinstance(answer, Answer):
        return Answer(packets.take(answer.text) + packets.end(), answer.kind)
    return Parts(_parts(packets, answer.parts))


def _parts(packets: "_Packets", parts: Iterator[bytes | None]) -> Iterator[bytes | None]:
    for part in parts:
        yield packets.take(part) if part else part
        if packets.is_done:
            return
    yield packets.end()


class _Packets:
    """Makes packets of lines as they come, also of half a line."""

    def __init__(self, opaque: bytes, *, is_dump: bool) -> None:
        self.is_done = False
        self._opaque = opaque
        self._rest = b""
        self._dump = b""
        self._is_dump = is_dump

    def take(self, text: bytes) -> bytes:
        """The packets of all lines that are whole."""
        *lines, self._rest = (self._rest + text).split(b"\r\n")
        return b"".join(self._packet_of(line) for line in lines if not self.is_done)

    def end(self) -> bytes:
        """What is missing when no more comes: an answer that stops half way has no end either."""
        return b"" if self.is_done else self._last(_INTERNAL_ERROR, b"Internal error")

    def _packet_of(self, line: bytes) -> bytes:
        word, _, rest = line.partition(b" ")
        if word == b"STAT":
            name, _, value = rest.partition(b" ")
            return self._packet(_OK, name, value)
        if word == b"PREFIX":
            self._dump += line + b"\r\n"
            return b""
        if line in _ENDS:
            shown = b""
            if self._is_dump:
                shown = self._packet(_OK, b"detailed", self._dump + b"END\r\n")
            return shown + self._last(_OK, b"")
        if word == b"SERVER_ERROR":
            return self._last(_INTERNAL_ERROR, b"Internal error")
        return self._last(_NOT_FOUND, b"Not found")

    def _last(self, status: int, value: bytes) -> bytes:
        self.is_done = True
        return self._packet(status, b"", value)

    def _packet(self, status: int, key: bytes, value: bytes) -> bytes:
        body = key + value
        # Without the module struct, for which every start would wait. Between the length of the key
        # and the status stand that of the extras and the type of the data, which are 0.
        numbers = (
            *(len(key).to_bytes(2, "big"), b"\0\0"),
            *(status.to_bytes(2, "big"), len(body).to_bytes(4, "big")),
        )
        return _RESPONSE_TO_STAT + b"".join(numbers) + self._opaque + _CAS + body
