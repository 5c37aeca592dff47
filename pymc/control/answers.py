"""What a command is answered with: a text, or parts that are sent one after the other."""

from collections.abc import Callable, Iterator

from pymc.config.c_numbers import whole_unsigned
from pymc.core.engine import LogClass, ReplyKind
from pymc.core.store import Store
from pymc.record import Record
from pymc.server_context import ServerContext

NOREPLY = b"noreply"
WAITING = None


class Answer(Record):
    """A whole answer. An empty text says nothing at all, as `noreply` wants."""

    text: bytes
    kind: ReplyKind = ReplyKind.DONE


class Parts(Record):
    """An answer in parts, each made in some ten microseconds or with `is_walk` up to a millisecond.

    An empty part means that there is nothing yet, WAITING that a device is waited for.
    """

    parts: Iterator[bytes | None]
    # It goes through all of memory: the keeper makes it, so that no client waits for it.
    is_walk: bool = False


class Watching(Record):
    """No answer of its own: the connection gets the lines of these log streams from here on."""

    classes: LogClass


class Command(Record):
    """One command line: its words, and where it was asked."""

    words: list[bytes]
    is_pipelined: bool
    server: ServerContext
    store: Store

    @property
    def arguments(self) -> list[bytes]:
        """Returns the words behind the command's name."""
        return self.words[1:]


Answering = Callable[[Command], Answer | Parts]
Handler = Callable[[Command], Answer | Parts | Watching]


def line(text: str) -> Answer:
    """Makes an answer of one line."""
    return Answer(text.encode("ascii") + b"\r\n")


OK = line("OK")
ERROR = line("ERROR")
BAD_FORMAT = line("CLIENT_ERROR bad command line format")
SILENCE = Answer(b"")


def quiet_if_asked(handler: Answering) -> Answering:
    """Sends no answer, errors too, when the last word is `noreply`."""

    def quiet(command: Command) -> Answer | Parts:
        answer = handler(command)
        return SILENCE if command.words[-1] == NOREPLY else answer

    return quiet


def decimal(word: bytes) -> int | None:
    """Reads a whole number, cut to 32 bits as memcached does; None when it is not one."""
    return whole_unsigned(word.decode("latin-1"))
