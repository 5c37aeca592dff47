"""Messages to the keeper: what a worker was asked for and only the keeper does."""

import os
import socket
from collections.abc import Sequence
from enum import Enum, IntEnum

from pymc.record import Record
from pymc.server_context import Inbox

MESSAGE_BYTES_MAX = 4096


class CrawlerState(IntEnum):
    """What the note about the crawler says."""

    IDLE = 0
    ASKED = 1
    OWN = 2


class CrawlMessage(Record):
    """Search these classes for expired items; None means all."""

    classes: tuple[int, ...] | None


class MoveMessage(Record):
    """Move a page from one class to another."""

    from_class: int
    to_class: int


class AnswerMessage(Record):
    """Answer this command line on the first descriptor that comes along; tell the second how."""

    line: bytes


class Told(Enum):
    """How an answer of the keeper ended."""

    DONE = b"d"
    # It broke off in the middle.
    BROKEN = b"b"
    # Nothing was sent; the worker answers by itself.
    REFUSED = b"r"


class WakeMessage(Record):
    """A setting changed that the keeper acts on: look now, not in a second."""


Message = CrawlMessage | MoveMessage | AnswerMessage | WakeMessage

_ANSWER = b"answer "


def encode(message: Message) -> bytes:
    """The datagram for a message."""
    match message:
        case CrawlMessage(None):
            return b"crawl all"
        case CrawlMessage(classes) if classes is not None:
            return b"crawl " + ",".join(map(str, classes)).encode("ascii")
        case MoveMessage(from_class, to_class):
            return b"move %d %d" % (from_class, to_class)
        case AnswerMessage(line):
            return _ANSWER + line
        case _:
            return b"wake"


def decode(datagram: bytes) -> Message:
    """The message in a datagram. Raises ValueError for anything else."""
    if datagram.startswith(_ANSWER):
        return AnswerMessage(datagram.removeprefix(_ANSWER))
    word, _, rest = datagram.decode("ascii").partition(" ")
    if word == "crawl":
        return CrawlMessage(None if rest == "all" else tuple(map(int, rest.split(","))))
    if word == "move":
        from_class, to_class = map(int, rest.split())
        return MoveMessage(from_class, to_class)
    if word == "wake":
        return WakeMessage()
    raise ValueError(f"unknown message {datagram!r}")


def send(inbox: Inbox, message: Message) -> bool:
    """Puts a message into the keeper's inbox; False when it is full."""
    try:
        inbox.writer.send(encode(message))
    except OSError:
        return False
    return True


def send_with(inbox: Inbox, message: Message, descriptors: Sequence[int]) -> bool:
    """The same with copies of descriptors; False when that is not possible now."""
    data = encode(message)
    if len(data) > MESSAGE_BYTES_MAX:
        return False
    try:
        socket.send_fds(inbox.writer, [data], descriptors)
    except OSError:
        return False
    return True


def receive(inbox: Inbox) -> tuple[Message, list[int]]:
    """The next message and the descriptors that came with it, which are the caller's now.

    Raises BlockingIOError when there is none, ValueError for what is no message.
    """
    datagram, descriptors, _, _ = socket.recv_fds(inbox.reader, MESSAGE_BYTES_MAX, 2)
    try:
        message = decode(datagram)
        if len(descriptors) != (2 if isinstance(message, AnswerMessage) else 0):
            raise ValueError(f"{len(descriptors)} descriptors came with {datagram!r}")
    except ValueError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return message, descriptors
