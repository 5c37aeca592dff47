"""Answers the commands that the engine leaves to Python: at once, in slices, or by the keeper."""

import socket
import time
from collections.abc import Callable, Iterator

from pymc.control.answers import WAITING, Answer, Watching
from pymc.control.commands import answer_to
from pymc.control.packets import in_packets
from pymc.core.engine import Engine, LogClass, ReplyKind, Request, WatchRefusal
from pymc.core.store import Store
from pymc.logs import say, say_exception
from pymc.messages import AnswerEnded, AnswerMessage, End, Inbox, receive, send
from pymc.messages.declared import TO_ASKER
from pymc.server_context import ServerContext

# A slice ends when it is that long, and clients get their turn.
SLICE_SECONDS = 50e-6
SLICE_BYTES = 32768
_FAILED = b"SERVER_ERROR internal error\r\n"
_WATCH_REFUSALS = {
    WatchRefusal.TOO_MANY: b"WATCHER_TOO_MANY log watcher limit reached\r\n",
    WatchRefusal.FAILED: b"WATCHER_FAILED failed to add log watcher\r\n",
}


class Control:
    """The commands of one worker's connections.

    `later` runs a function after other work, `wait` after some milliseconds.
    """

    def __init__(
        self,
        context: ServerContext,
        store: Store,
        engine: Engine,
        later: Callable[[Callable[[], None]], object],
        wait: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Borrows all of them; `clock` counts seconds."""
        self._context = context
        self._store = store
        self._engine = engine
        self._later = later
        self._wait = wait
        self._clock = clock
        self._streams: dict[int, Iterator[bytes | None]] = {}
        # Connections on which the keeper answers, and where it says how that ended.
        self._lent: dict[int, socket.socket] = {}

    def answer(self, request: Request) -> None:
        """Answers one command, or begins to."""
        line = request.line if request.opaque is None else b"stats " + request.line
        try:
            answer = answer_to(line, self._context, self._store, is_pipelined=request.is_pipelined)
        except Exception:
            say_exception(f"answering {line!r}")
            answer = Answer(_FAILED)
        if isinstance(answer, Watching):
            # No binary request asks for that: each of theirs is a `stats`.
            self._watch(request.connection, answer.classes)
            return
        if request.opaque is not None:
            # A walk as well is answered here: the keeper knows no packets.
            is_dump = request.line.startswith(b"detail dump")
            answer = in_packets(answer, request.opaque, is_dump=is_dump)
        if isinstance(answer, Answer):
            self._engine.reply(request.connection, answer.text, answer.kind)
            return
        self._streams[request.connection] = answer.parts
        if not (answer.is_walk and self._lend(request)):
            self._send_slice(request.connection)

    def _watch(self, connection: int, classes: LogClass) -> None:
        refusal = self._engine.begin_watch(connection, classes)
        if refusal is not None:
            self._engine.reply(connection, _WATCH_REFUSALS[refusal])

    def resume(self, connection: int, is_open: bool) -> None:
        """Goes on with an answer whose last part was sent, or forgets it."""
        channel = self._lent.pop(connection, None)
        if channel is not None:
            end = _read_end(channel)
            channel.close()
            if is_open and end is not End.REFUSED:
                self._end_lent(connection, end)
                return
        if not is_open:
            self._streams.pop(connection, None)
        elif connection in self._streams:
            self._send_slice(connection)

    def _lend(self, request: Request) -> bool:
        """Lets the keeper answer; when it cannot be asked, this process does it in slices.

        Returns False when the first slice is due now; else resume() is called, by whoever answers.
        """
        try:
            channel = Inbox.create()
        except OSError:
            return False
        with channel.writer as writer:
            fd = self._engine.lend(request.connection, channel.reader.fileno())
            message = AnswerMessage(request.line)
            keeper = self._context.keeper_inbox.writer
            if fd is not None and send(keeper, message, [fd, writer.fileno()]):
                self._lent[request.connection] = channel.reader
                return True
        if fd is not None:
            # The engine lets go of the channel while it is open: soon its number may be a client's.
            self._engine.reply(request.connection, b"", ReplyKind.MORE)
        channel.reader.close()
        return fd is not None

    def _end_lent(self, connection: int, end: End | None) -> None:
        del self._streams[connection]
        if end is None:
            say("the keeper died in the middle of an answer; its client is cut off")
        kind = ReplyKind.DONE if end is End.DONE else ReplyKind.CLOSE
        self._engine.reply(connection, b"", kind)

    def _send_slice(self, connection: int) -> None:
        """Collects parts for a moment and sends them."""
        parts = self._streams.get(connection)
        if parts is None:
            return
        collected: list[bytes] = []
        collected_bytes = 0
        again = self._later
        end = self._clock() + SLICE_SECONDS
        try:
            for part in parts:
                if part:
                    collected.append(part)
                    collected_bytes += len(part)
                if part is WAITING:
                    again = self._wait
                    break
                if collected_bytes >= SLICE_BYTES or self._clock() >= end:
                    break
            else:
                self._finish(connection, b"".join(collected))
                return
        except Exception:
            # In the middle of an answer an error line would be taken for part of it.
            say_exception("sending an answer in parts")
            self._finish(connection, b"".join(collected), ReplyKind.CLOSE)
            return
        if not collected_bytes:
            again(lambda: self._send_slice(connection))
        elif not self._engine.reply(connection, b"".join(collected), ReplyKind.MORE):
            del self._streams[connection]

    def _finish(self, connection: int, rest: bytes, kind: ReplyKind = ReplyKind.DONE) -> None:
        del self._streams[connection]
        self._engine.reply(connection, rest, kind)


def _read_end(channel: socket.socket) -> End | None:
    """Reads how the keeper's answer ended; None when it said nothing, since it is gone."""
    try:
        message, _ = receive(channel, TO_ASKER)
    except (OSError, EOFError, ValueError):
        return None
    assert isinstance(message, AnswerEnded)
    return message.end
