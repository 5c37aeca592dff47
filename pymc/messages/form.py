"""What every message has: its declaration, and the bytes it is sent as.

A message is its word and its fields, each with its name and length:

    move\\nfrom_class 2\\n17\\nto_class 1\\n4\\n

So programs of two versions can talk, as they do during an upgrade: who does not know a field
passes over it, a field that is missing has its default, and a word that nobody knows is refused.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

from pymc.record import Record, defaults_of

_DIGITS_MAX = 18


class UnreadableError(ValueError):
    """A datagram is no message that this program knows."""


class FieldForm(Record):
    """How the values of one field stand in bytes. `read` raises ValueError for other bytes."""

    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


class Delivery(Record):
    """How a message goes its way, and what becomes of it when that fails."""

    # Its first line. It stays what it is: programs of other versions know it.
    word: bytes
    sender: str
    receiver: str
    # What comes back, and by when.
    answer: str
    when_dead: str
    when_stuck: str
    when_full: str
    # Copies of descriptors that come along.
    descriptors: int = 0
    # In the order in which the fields are declared.
    fields: tuple[FieldForm, ...] = ()


class Message(Record):
    """A message; its class has the declaration as `delivery`."""

    # Each class has its own.
    delivery = Delivery(
        word=b"", sender="", receiver="", answer="", when_dead="", when_stuck="", when_full=""
    )


def encode(message: Message) -> bytes:
    """Returns the datagram for a message."""
    kind = type(message)
    pieces = [kind.delivery.word, b"\n"]
    for name, form in zip(kind.__match_args__, kind.delivery.fields, strict=True):
        text = form.write(getattr(message, name))
        pieces += [b"%s %d\n" % (name.encode("ascii"), len(text)), text, b"\n"]
    return b"".join(pieces)


def decode(datagram: bytes, kinds: tuple[type[Message], ...]) -> Message:
    """Reads the message in a datagram, one of these kinds. Raises UnreadableError for all else."""
    word, end, rest = datagram.partition(b"\n")
    kind = next((kind for kind in kinds if kind.delivery.word == word), None)
    if kind is None or not end:
        raise UnreadableError(f"no message that is known here: {datagram[:64]!r}")
    given = dict(_fields_in(rest))
    forms = zip(kind.__match_args__, kind.delivery.fields, strict=True)
    values = {name: _value(form, given[name]) for name, form in forms if name in given}
    missing = set(kind.__match_args__) - values.keys() - defaults_of(kind).keys()
    if missing:
        raise UnreadableError(f"{word!r} lacks {', '.join(sorted(missing))}")
    return kind(**values)


def _fields_in(rest: bytes) -> list[tuple[str, bytes]]:
    found = []
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, _, length = head.partition(b" ")
        size = _read_number(length)
        if rest[size : size + 1] != b"\n":
            raise UnreadableError(f"a field is cut off: {head[:64]!r}")
        found.append((name.decode("latin-1"), rest[:size]))
        rest = rest[size + 1 :]
    return found


def _value(form: FieldForm, text: bytes) -> Any:
    try:
        return form.read(text)
    except ValueError as error:
        raise UnreadableError(f"a field cannot be read: {error}") from None


def _read_number(text: bytes) -> int:
    # int() would also take signs, blanks and underscores.
    if not text.isdigit() or len(text) > _DIGITS_MAX:
        raise UnreadableError(f"not a number: {text[:64]!r}")
    return int(text)


def _write_number(value: int) -> bytes:
    return b"%d" % value


def _write_numbers(values: tuple[int, ...] | None) -> bytes:
    return b"all" if values is None else b",".join(map(_write_number, values))


def _read_numbers(text: bytes) -> tuple[int, ...] | None:
    if text == b"all":
        return None
    return tuple(map(_read_number, text.split(b","))) if text else ()


# Whole numbers from 0.
NUMBER = FieldForm(_write_number, _read_number)
# Some of them; None is all.
NUMBERS = FieldForm(_write_numbers, _read_numbers)
# Any bytes.
BYTES = FieldForm(bytes, bytes)


def choice(kind: type[Enum]) -> FieldForm:
    """Makes the form of a field that is a member of an enumeration whose values are bytes."""
    return FieldForm(lambda member: bytes(member.value), kind)
