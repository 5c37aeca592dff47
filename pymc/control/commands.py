"""Which function answers which administrative command."""

from pymc.control import certificates, memory, queues, server, statistics
from pymc.control.answers import Answer, Command, Handler, Parts, Watching
from pymc.core.store import Store
from pymc.server_context import ServerContext

HANDLERS: dict[bytes, Handler] = {
    b"stats": statistics.stats,
    b"verbosity": server.verbosity,
    b"cache_memlimit": memory.cache_memlimit,
    b"slabs": memory.slabs,
    b"lru": queues.lru,
    b"lru_crawler": queues.lru_crawler,
    b"watch": server.watch,
    b"refresh_certs": certificates.refresh_certs,
    b"extstore": server.extstore,
    b"shutdown": server.shutdown,
    b"debugtime": server.debugtime,
    b"misbehave": server.misbehave,
}


def answer_to(
    line: bytes, context: ServerContext, store: Store, *, is_pipelined: bool = False
) -> Answer | Parts | Watching:
    """Returns what a command line is answered with; a line that is no command like `misbehave`."""
    words = [word for word in line.split(b" ") if word]
    handler = HANDLERS.get(words[0], server.misbehave) if words else server.misbehave
    return handler(Command(words, is_pipelined, context, store))
