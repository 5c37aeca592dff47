"""What `stats` says in lines, as packets for a binary client: whole, in parts, and what is no list."""

from collections.abc import Iterator

import pytest

from pymc.control.answers import WAITING, Answer, Parts
from pymc.control.packets import in_packets
from pymc.core.engine import ReplyKind
from tests.support.packets import Response, responses

OPAQUE = b"\0\0\1\7"
NUMBER = 263
END = Response(0x10, opaque=NUMBER)
NOT_FOUND = Response(0x10, 1, value=b"Not found", opaque=NUMBER)
FAILED = Response(0x10, 0x84, value=b"Internal error", opaque=NUMBER)


def stat(key: bytes, value: bytes) -> Response:
    return Response(0x10, key=key, value=value, opaque=NUMBER)


def packets(text: bytes, *, is_dump: bool = False) -> list[Response]:
    answer = in_packets(Answer(text), OPAQUE, is_dump=is_dump)
    assert isinstance(answer, Answer)
    return responses(answer.text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"STAT pid 1\r\nSTAT inter a b\r\nSTAT x \r\nEND\r\n", "pid=1 inter=a\\b x="),
        (b"RESET\r\n", ""),
        (b"OK\r\n", ""),
        (b"END\r\n", ""),
    ],
)
def test_lists_of_numbers(text: bytes, wanted: str) -> None:
    pairs = (word.replace("\\", " ").encode().partition(b"=") for word in wanted.split())
    assert packets(text) == [*(stat(key, value) for key, _, value in pairs), END]


@pytest.mark.parametrize(
    "text", [b"ERROR\r\n", b"CLIENT_ERROR usage\r\n", b"ITEM k [1 b; 0 s]\r\nEND\r\n"]
)
def test_what_is_no_list_is_not_there(text: bytes) -> None:
    assert packets(text) == [NOT_FOUND]


def test_a_failure_and_an_answer_without_an_end() -> None:
    assert packets(b"SERVER_ERROR internal error\r\n") == [FAILED]
    assert packets(b"STAT a 1\r\n") == [stat(b"a", b"1"), FAILED]


def test_prefixes_are_one_packet() -> None:
    lines = b"PREFIX a get 1 hit 1 set 1 del 0\r\nPREFIX b get 0 hit 0 set 2 del 0\r\nEND\r\n"
    assert packets(lines, is_dump=True) == [stat(b"detailed", lines), END]
    assert packets(b"END\r\n", is_dump=True) == [stat(b"detailed", b"END\r\n"), END]


def test_how_an_answer_ends_is_kept() -> None:
    answer = in_packets(Answer(b"END\r\n", ReplyKind.CLOSE), OPAQUE, is_dump=False)
    assert isinstance(answer, Answer) and answer.kind == ReplyKind.CLOSE


def test_parts_may_end_anywhere() -> None:
    text = b"STAT a 1\r\nSTAT b 22\r\nEND\r\n"

    def parts() -> Iterator[bytes | None]:
        for byte in text:
            yield bytes([byte])
            yield b""
            yield WAITING

    answer = in_packets(Parts(parts(), is_walk=True), OPAQUE, is_dump=False)
    assert isinstance(answer, Parts) and not answer.is_walk
    made = list(answer.parts)
    assert WAITING in made
    joined = b"".join(part for part in made if part)
    assert responses(joined) == [stat(b"a", b"1"), stat(b"b", b"22"), END]


def test_nothing_is_made_once_the_answer_has_failed() -> None:
    made = []

    def parts() -> Iterator[bytes | None]:
        for number in range(3):
            made.append(number)
            yield b"ITEM k [1 b; 0 s]\r\n"

    answer = in_packets(Parts(parts()), OPAQUE, is_dump=False)
    assert isinstance(answer, Parts)
    assert responses(b"".join(part for part in answer.parts if part)) == [NOT_FOUND]
    assert made == [0]
