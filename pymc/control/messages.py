"""Messages to the keeper: what a worker was asked for and only the keeper does."""

from dataclasses import dataclass
from enum import IntEnum

from pymc.server_context import Inbox

MESSAGE_BYTES_MAX = 4096


class CrawlerState(IntEnum):
    """What the live row crawler_running says."""

    IDLE = 0
    ASKED = 1
    OWN = 2


@dataclass(frozen=True, slots=True)
class CrawlMessage:
    """Search these classes for expired items; None means all."""

    classes: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class MoveMessage:
    """Move a page from one class to another."""

    from_class: int
    to_class: int


@dataclass(frozen=True, slots=True)
class WakeMessage:
    """A setting changed that the keeper acts on: look now, not in a second."""


Message = CrawlMessage | MoveMessage | WakeMessage


def encode(message: Message) -> bytes:
    """The datagram for a message."""
    match message:
        case CrawlMessage(None):
            return b"crawl all"
        case CrawlMessage(classes) if classes is not None:
            return b"crawl " + ",".join(map(str, classes)).encode("ascii")
        case MoveMessage(from_class, to_class):
            return b"move %d %d" % (from_class, to_class)
        case _:
            return b"wake"


def decode(datagram: bytes) -> Message:
    """The message in a datagram. Raises ValueError for anything else."""
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
