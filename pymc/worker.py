"""A worker process: it waits for clients in the C engine, and for all else in its uvloop."""

import gc
import os
import signal
import time
from collections.abc import Callable

from pymc import VERSION
from pymc.config import Settings
from pymc.control import Control
from pymc.core.arena import Role
from pymc.core.engine import Engine, FlashReaderKind, FlashReads, Wants
from pymc.core.errors import CoreError
from pymc.core.process import give_back_zeroes
from pymc.core.store import Store
from pymc.logs import log_fd, say
from pymc.record import replace
from pymc.server_context import ServerContext
from pymc.uvloop_import import uvloop

_READ_ENGINES = {FlashReaderKind.URING: "io_uring", FlashReaderKind.THREADS: "threads"}
_TICK_SECONDS = 1.0
_START_SECONDS = 0.5
_GONE = 1
# Between two looks for what another process or a device has to say.
_WHILE_SECONDS = 0.005
# The engine waits so long for the next client before the loop waits for it and for all else.
_QUIET_MILLISECONDS = 20
# So late may a timer, a descriptor or a rare signal be while clients come all the time: less
# would cost few clients, who pay for each way through the loop.
_STAY_MILLISECONDS = 100
_REQUESTS, _STREAMS, _AGAIN = int(Wants.REQUESTS), int(Wants.STREAMS), int(Wants.AGAIN)


def run(context: ServerContext, worker: int) -> int:
    """The life of worker number `worker`; returns its exit code."""
    with Store(context.arena, worker, Role.WORKER, context.flash) as store:
        engine = Engine(
            store,
            worker=worker,
            workers=context.settings.workers,
            inbox_fd=context.worker_inboxes[worker].reader.fileno(),
            peer_fds=[inbox.writer.fileno() for inbox in context.worker_inboxes],
            version=VERSION,
            disabled_commands=context.settings.disabled_commands,
            flash_reads=_flash_reads(context.settings),
            log_fd=log_fd(),
            log_is_stamped=context.settings.log_format == "full",
            tls_output_bytes=_tls_output_bytes(context.settings),
        )
        kind = engine.flash_kind
        if kind is not None:
            context = replace(context, read_engine=_READ_ENGINES[kind])
        try:
            Worker(context, store, engine, worker).run()
        finally:
            engine.close()
            # A device that hangs may hold up the end of this process: clients must not come to it.
            for address in context.addresses:
                address.close()
    return 0


def _tls_output_bytes(settings: Settings) -> int:
    """What ssl_wbuf_size says; the core's choice where it says nothing."""
    return settings.tls_wbuf_bytes if "tls_wbuf_bytes" in settings.given else 0


def _flash_reads(settings: Settings) -> FlashReads:
    kinds = {name: kind for kind, name in _READ_ENGINES.items()}
    return FlashReads(
        kind=kinds.get(settings.ext_engine, FlashReaderKind.AUTO),
        depth=settings.ext_io_depth,
        threads=settings.ext_threads,
    )


class Worker:
    """The loop, and what Python has to do on it."""

    def __init__(self, context: ServerContext, store: Store, engine: Engine, worker: int) -> None:
        """Borrows all of them."""
        self._context = context
        self._store = store
        self._engine = engine
        self._worker = worker
        self._loop = uvloop.new_event_loop()
        # A quarter of a megabyte for streams, which it has none of.
        give_back_zeroes(self._loop)
        self._control = Control(context, store, engine, self._later, self._after_a_while)
        self._on_ready = self._make_on_ready()
        # Which certificates the engine has.
        self._tls_generation = 0
        # Functions of _later() that have not run yet.
        self._later_count = 0

    def run(self) -> None:
        """Serves until SIGTERM, or until the supervisor is gone."""
        loop, engine = self._loop, self._engine
        self._load_auth()
        self._load_tls()
        self._wait_for_others()
        for address in self._context.addresses:
            engine.listen(address.socket_for(self._worker).fileno(), address.options)
        loop.add_signal_handler(signal.SIGTERM, loop.stop)
        loop.add_signal_handler(signal.SIGHUP, self._load_again)
        # The loop sees signals only from now on, and what they are about may have changed before.
        loop.call_soon(self._load_again)
        loop.add_reader(engine.fd, self._on_ready)
        # Nothing has to be given back in order: the arena goes with the last process.
        loop.add_reader(self._context.lifeline_fd, os._exit, _GONE)
        engine.watch(self._context.lifeline_fd)
        loop.call_soon(self._tick)
        # What there is now lives as long as the process; only what commands leave is looked at.
        gc.freeze()
        gc.disable()
        try:
            loop.run_forever()
        finally:
            loop.close()

    def _wait_for_others(self) -> None:
        """Until all workers are there, or half a second: early clients spread over all of them."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._context.are_workers_there():
            if time.monotonic() > deadline:
                return
            time.sleep(0.001)

    def _make_on_ready(self) -> Callable[[], None]:
        """Runs once per wake-up of the loop, and as long as clients come it does not come back."""
        stay, serve = self._engine.stay, self._serve

        def on_ready() -> None:
            if self._later_count:
                self._turn()
            elif wants := stay(_QUIET_MILLISECONDS, _STAY_MILLISECONDS):
                serve(wants)

        return on_ready

    def _turn(self) -> None:
        """Serves what is ready and waits for nobody: the loop has other work."""
        if wants := self._engine.turn():
            self._serve(wants)

    def _serve(self, wants: int) -> None:
        # Those there are now: who asks or reads fast would otherwise keep all others waiting.
        if wants & _REQUESTS:
            for request in list(self._engine.requests()):
                self._control.answer(request)
        if wants & _STREAMS:
            for connection, is_open in list(self._engine.streams()):
                self._control.resume(connection, is_open)
        # Connections that were answered may have more input, which no descriptor tells of.
        self._loop.call_soon(self._on_ready if wants == _AGAIN else self._turn)

    def _later(self, function: Callable[[], None]) -> None:
        """Runs a function that may answer somebody, after other work."""
        self._later_count += 1
        self._loop.call_soon(self._run_later, function)

    def _after_a_while(self, function: Callable[[], None]) -> None:
        """Runs a function that may answer somebody, when there may be something new to say."""
        self._loop.call_later(_WHILE_SECONDS, self._later, function)

    def _run_later(self, function: Callable[[], None]) -> None:
        self._later_count -= 1
        function()
        # As in _serve(): of what has been sent and answered no descriptor tells.
        self._loop.call_soon(self._turn)

    def _tick(self) -> None:
        self._loop.call_later(_TICK_SECONDS, self._tick)
        self._engine.tick()
        if self._context.flash:
            self._show_reads()
        gc.collect(0)
        self._turn()

    def _show_reads(self) -> None:
        """Lets `stats` of all workers see how many reads of this one are not done."""
        state = self._engine.flash_state()
        shown = self._context.arena.counters(self._worker)
        for name, now in (
            ("ext_reads_waiting", state.reads_under_way + state.reads_queued),
            ("ext_reads_given_up", state.reads_given_up),
        ):
            # A predecessor's reads count no longer either.
            self._store.count(name, (now - shown[name]) % 2**64)

    def _load_again(self) -> None:
        self._load_auth()
        try:
            self._load_tls()
        except CoreError as error:
            say(f"pymc: the certificates before these stay in use: {error}")

    def _load_tls(self) -> None:
        """Lets connections from now on use the certificates that count."""
        if (material := self._context.tls) and material.generation != self._tls_generation:
            context, generation = material.make_context(self._context.arena)
            try:
                self._engine.set_tls(context)
            finally:
                context.release()
            self._tls_generation = generation
            material.note_used(self._worker, generation)

    def _load_auth(self) -> None:
        if users := self._context.users:
            self._engine.set_auth(users.lines)
        if users := self._context.sasl_users:
            self._engine.set_sasl(users.lines)
