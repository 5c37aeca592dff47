"""Answers the commands that the engine leaves to Python, some of them part by part."""

from collections.abc import Callable, Iterator

from pymc.control import memory, queues, server, statistics
from pymc.control.answers import Answer, Command, Handler
from pymc.core.engine import Engine, ReplyKind, Request
from pymc.core.store import Store
from pymc.logs import say_exception
from pymc.server_context import ServerContext

HANDLERS: dict[bytes, Handler] = {
    b"stats": statistics.stats,
    b"verbosity": server.verbosity,
    b"cache_memlimit": memory.cache_memlimit,
    b"slabs": memory.slabs,
    b"lru": queues.lru,
    b"lru_crawler": queues.lru_crawler,
    b"watch": server.watch,
    b"refresh_certs": server.refresh_certs,
    b"extstore": server.extstore,
    b"shutdown": server.shutdown,
    b"debugtime": server.debugtime,
    b"misbehave": server.misbehave,
}
# One part that is sent, at least this long if there is more.
_PART_BYTES = 32768
# How often an answer in parts may say "nothing yet" before others get their turn.
_EMPTY_PARTS_MAX = 8
_FAILED = b"SERVER_ERROR internal error\r\n"


class Control:
    """The commands of one worker's connections. `later` runs a function after other work."""

    def __init__(
        self,
        context: ServerContext,
        store: Store,
        engine: Engine,
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        """Borrows all of them."""
        self._context = context
        self._store = store
        self._engine = engine
        self._later = later
        self._streams: dict[int, Iterator[bytes]] = {}

    def answer(self, request: Request) -> None:
        """Answers one command, or begins to."""
        words = [word for word in request.line.split(b" ") if word]
        handler = HANDLERS.get(words[0]) if words else None
        try:
            if handler is None:
                answer = server.misbehave(Command(words, False, self._context, self._store))
            else:
                answer = handler(Command(words, request.is_pipelined, self._context, self._store))
        except Exception:
            say_exception(f"answering {request.line!r}")
            answer = Answer(_FAILED)
        if isinstance(answer, Answer):
            self._engine.reply(request.connection, answer.text, answer.kind)
        else:
            self._streams[request.connection] = answer.parts
            self._send_part(request.connection)

    def resume(self, connection: int, is_open: bool) -> None:
        """Goes on with an answer whose last part was sent, or forgets it."""
        if not is_open:
            self._streams.pop(connection, None)
        elif connection in self._streams:
            self._send_part(connection)

    def _send_part(self, connection: int) -> None:
        """Collects a part that is worth sending and sends it."""
        parts = self._streams.get(connection)
        if parts is None:
            return
        collected: list[bytes] = []
        collected_bytes = empty = 0
        try:
            while collected_bytes < _PART_BYTES and empty < _EMPTY_PARTS_MAX:
                part = next(parts, None)
                if part is None:
                    self._finish(connection, b"".join(collected))
                    return
                empty += not part
                collected_bytes += len(part)
                collected.append(part)
        except Exception:
            # In the middle of an answer an error line would be taken for part of it.
            say_exception("sending an answer in parts")
            self._finish(connection, b"".join(collected), ReplyKind.CLOSE)
            return
        if not collected_bytes:
            self._later(lambda: self._send_part(connection))
        elif not self._engine.reply(connection, b"".join(collected), ReplyKind.MORE):
            del self._streams[connection]

    def _finish(self, connection: int, rest: bytes, kind: ReplyKind = ReplyKind.DONE) -> None:
        del self._streams[connection]
        self._engine.reply(connection, rest, kind)
