"""The event engine of one worker: sockets to replies in C, administrative commands to Python."""

from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum, IntFlag
from functools import partial
from typing import TYPE_CHECKING

from pymc.core.arena import Arena
from pymc.core.errors import check
from pymc.core.ffi import ffi, lib, text
from pymc.core.store import Store
from pymc.record import Record

if TYPE_CHECKING:
    # Most servers do without it.
    from pymc.core.tls import TlsContext

WORKERS_MAX = int(lib.ENGINE_WORKERS_MAX)


class ListenerKind(IntEnum):
    """What a listening socket is."""

    TCP = lib.ENGINE_TCP
    UNIX = lib.ENGINE_UNIX
    UDP = lib.ENGINE_UDP


class ListenerTls(IntEnum):
    """Whether a listener's clients speak TLS, and whether it asks for their certificates."""

    NONE = lib.ENGINE_TLS_NONE
    # As `ssl_verify_mode` says.
    SERVER = lib.ENGINE_TLS_SERVER
    MUTUAL = lib.ENGINE_TLS_MUTUAL
    BASIC = lib.ENGINE_TLS_BASIC


class Protocol(IntEnum):
    """Which protocols a listener's clients may speak."""

    AUTO = lib.SESSION_NEGOTIATES
    ASCII = lib.SESSION_ASCII
    BINARY = lib.SESSION_BINARY


class ListenerOptions(Record):
    """What a listening socket is for."""

    kind: ListenerKind
    tls: ListenerTls = ListenerTls.NONE
    protocol: Protocol = Protocol.AUTO


class Wants(IntFlag):
    """What Engine.turn() asks of Python, as bits."""

    REQUESTS = lib.ENGINE_REQUESTS
    STREAMS = lib.ENGINE_STREAMS
    AGAIN = lib.ENGINE_AGAIN
    WATCHED = lib.ENGINE_WATCHED


class FlashReaderKind(IntEnum):
    """How a worker reads from flash; AUTO takes io_uring where it is allowed."""

    AUTO = lib.FLASH_READER_AUTO
    URING = lib.FLASH_READER_URING
    THREADS = lib.FLASH_READER_THREADS


class ReplyKind(IntEnum):
    """How an answer goes on: it is complete, more follows, or the connection closes."""

    DONE = lib.CONN_ANSWER_DONE
    MORE = lib.CONN_ANSWER_MORE
    CLOSE = lib.CONN_ANSWER_CLOSE


class LogClass(IntFlag):
    """What a client of `watch` can be told of, as bits."""

    FETCHERS = lib.WATCH_FETCHERS
    MUTATIONS = lib.WATCH_MUTATIONS
    EVICTIONS = lib.WATCH_EVICTIONS
    CONNEVENTS = lib.WATCH_CONNEVENTS
    DELETIONS = lib.WATCH_DELETIONS
    SYSEVENTS = lib.WATCH_SYSEVENTS
    ERRORS = lib.WATCH_ERRORS


class WatchRefusal(IntEnum):
    """Why a client may not watch."""

    TOO_MANY = 1
    FAILED = 2


class FlashReads(Record):
    """How an engine reads from flash; 0 means the default."""

    kind: FlashReaderKind = FlashReaderKind.AUTO
    # Reads under way on each path at most.
    depth: int = 0
    # Of each path, for FlashReaderKind.THREADS.
    threads: int = 0
    # For what is read and not used up yet; a soft bound.
    memory_bytes: int = 0


class FlashReaderState(Record):
    """What an engine's reader has to do now."""

    reads_under_way: int
    reads_queued: int
    reads_given_up: int
    memory_bytes: int


class Request(Record):
    """An administrative command line; its connection waits until it is answered."""

    connection: int
    line: bytes
    is_pipelined: bool
    # Of a binary client, whose line is what follows `stats `: the answer must be packets with it.
    opaque: bytes | None = None


DEFAULT_FLASH_READS = FlashReads()


def server_reserve_bytes(workers: int, connections_max: int) -> int:
    """Address space an arena needs for what engines share."""
    return int(lib.server_reserve_bytes(workers, connections_max))


def format_server(arena: Arena, workers: int, connections_max: int) -> None:
    """Makes what engines share in a fresh arena, before the first fork."""
    check(lib.server_create(arena.pointer, workers, connections_max), "server_create")


# Names of several commands, where commands are disabled.
COMMAND_GROUPS = {"debug": ("me", "debugtime")}


def command_words() -> tuple[str, ...]:
    """Lists the words of all commands, as clients write them."""
    return tuple(text(lib.commands_word(number)) for number in range(lib.commands_count()))


def give_connection(inbox_fd: int, client_fd: int, listener: int) -> bool:
    """Hands a connection to the worker with this inbox; False when the inbox is full.

    `listener` is the number of the address it came to. The descriptor stays the caller's.
    """
    return bool(lib.engine_give_connection(inbox_fd, client_fd, listener))


class Engine:
    """All connections of one worker. Borrows the store and all descriptors it is given."""

    def __init__(
        self,
        store: Store,
        *,
        worker: int,
        workers: int,
        inbox_fd: int,
        peer_fds: Sequence[int],
        version: str,
        disabled_commands: Sequence[str] = (),
        flash_reads: FlashReads = DEFAULT_FLASH_READS,
        log_fd: int = 0,
        log_is_stamped: bool = False,
        tls_output_bytes: int = 0,
    ) -> None:
        """Opens the engine. Raises SystemCallError or CoreMemoryError.

        `flash_reads` counts when the store has a flash tier. Lines for the operator go to `log_fd`,
        0 for standard error, with time and worker in front if `log_is_stamped`.
        """
        peers = ffi.new("int[]", list(peer_fds))
        options = ffi.new("struct engine_options *")
        options.worker = worker
        options.workers = workers
        options.inbox_fd = inbox_fd
        options.peer_fds = peers
        disabled = " ".join(
            word for name in disabled_commands for word in COMMAND_GROUPS.get(name, (name,))
        )
        disabled_text = ffi.new("char[]", disabled.encode())
        options.disabled_commands = disabled_text
        version_text = ffi.new("char[]", version.encode())
        options.version = version_text
        options.flash_kind = flash_reads.kind
        options.flash_depth = flash_reads.depth
        options.flash_threads = flash_reads.threads
        options.flash_memory_bytes = flash_reads.memory_bytes
        options.log_fd = log_fd
        options.log_is_stamped = log_is_stamped
        options.tls_output_bytes = tls_output_bytes
        out = ffi.new("struct engine **")
        check(lib.engine_open(store.pointer, options, out), "engine_open")
        self._pointer = out[0]
        # No Python frame in between.
        self.turn: Callable[[], int] = partial(lib.engine_turn, self._pointer)
        """Serves all that is ready, up to a bound; returns Wants bits."""
        self.stay: Callable[[int, int], int] = partial(lib.engine_stay, self._pointer)
        """Serves and waits: until so many quiet milliseconds, at most so many in all, or for Wants.

        A signal ends it too.
        """

    def close(self) -> None:
        """Closes all connections; close() again does nothing."""
        pointer, self._pointer = self._pointer, ffi.NULL
        lib.engine_close(pointer)

    @property
    def fd(self) -> int:
        """The descriptor that is readable when turn() and stay() have work."""
        return int(lib.engine_fd(self._pointer))

    def watch(self, fd: int) -> None:
        """Lets stay() end as long as this descriptor is readable."""
        check(lib.engine_watch(self._pointer, fd), "engine_watch")

    @property
    def flash_kind(self) -> FlashReaderKind | None:
        """How it reads from flash; None without a flash tier."""
        kind = int(lib.engine_flash_kind(self._pointer))
        return None if kind < 0 else FlashReaderKind(kind)

    def flash_state(self) -> FlashReaderState:
        """What its reader has to do now."""
        out = ffi.new("struct flash_reader_state *")
        lib.engine_flash_state(self._pointer, out)
        return FlashReaderState(
            out.reads_under_way, out.reads_queued, out.reads_given_up, out.memory_bytes
        )

    def listen(self, fd: int, options: ListenerOptions) -> None:
        """Accepts from a listening, non-blocking socket, or receives from one of UDP."""
        given = ffi.new("struct engine_listener_options *")
        given.kind, given.tls, given.protocol = options.kind, options.tls, options.protocol
        check(lib.engine_listen(self._pointer, fd, given), "engine_listen")

    def stop_listening(self) -> None:
        """Accepts nothing more; connections go on."""
        lib.engine_stop_listening(self._pointer)

    def tick(self) -> None:
        """Does what is due once a second: the clock, idle connections, scheduled work."""
        lib.engine_tick(self._pointer)

    def requests(self) -> Iterator[Request]:
        """Takes the commands that wait for an answer."""
        out = ffi.new("struct conn_request *")
        while lib.engine_next_request(self._pointer, out):
            line = bytes(ffi.buffer(out.line, out.line_bytes)) if out.line_bytes else b""
            opaque = bytes(ffi.buffer(out.opaque)) if out.is_binary else None
            yield Request(out.connection, line, bool(out.is_pipelined), opaque)

    def reply(self, connection: int, answer: bytes, kind: ReplyKind = ReplyKind.DONE) -> bool:
        """Sends (part of) an answer; False when the connection has closed meanwhile."""
        return bool(lib.engine_reply(self._pointer, connection, answer, len(answer), kind))

    def begin_watch(self, connection: int, classes: LogClass) -> WatchRefusal | None:
        """Answers OK and sends log lines from here on; or says why not, and answers nothing."""
        status = int(lib.engine_begin_watch(self._pointer, connection, classes))
        if status == lib.PYMC_OK:
            return None
        return WatchRefusal.TOO_MANY if status == lib.PYMC_BUSY else WatchRefusal.FAILED

    def lend(self, connection: int, verdict_fd: int) -> int | None:
        """The descriptor of a connection that another process shall answer on; None: it cannot.

        streams() names the connection when `verdict_fd` is readable, or when it closes.
        """
        fd = int(lib.engine_lend(self._pointer, connection, verdict_fd))
        return None if fd < 0 else fd

    def streams(self) -> Iterator[tuple[int, bool]]:
        """Takes connections that may be answered on (True), or that closed (False)."""
        connection = ffi.new("uint64_t *")
        more = ffi.new("bool *")
        while lib.engine_next_stream(self._pointer, connection, more):
            yield connection[0], bool(more[0])

    def set_tls(self, context: "TlsContext") -> None:
        """Encrypts the connections that come from now on with this context, which it keeps."""
        check(lib.engine_set_tls(self._pointer, context.pointer), "engine_set_tls")

    def set_auth(self, lines: bytes) -> None:
        """Asks text clients for one of these users: `user:password` lines."""
        check(lib.engine_set_auth(self._pointer, lines, len(lines)), "engine_set_auth")

    def set_sasl(self, lines: bytes) -> None:
        """The users that binary clients may log in as, in the same form."""
        check(lib.engine_set_sasl(self._pointer, lines, len(lines)), "engine_set_sasl")
