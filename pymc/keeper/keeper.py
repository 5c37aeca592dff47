"""The keeper's main loop: messages, one look at the cache a second, steps of work in between."""

import gc
import os
import selectors
import signal
import socket
import time
from dataclasses import replace
from types import FrameType

from pymc.core.arena import Role
from pymc.core.maintain import (
    fit_probation_step,
    frontiers_step,
    limbo_step,
    release_pool_step,
    shrink_step,
)
from pymc.core.store import Store
from pymc.keeper.answers import Answers
from pymc.keeper.crawler import Crawler
from pymc.keeper.flash_tier import FlashTier, Job
from pymc.keeper.mover import Mover
from pymc.keeper.observe import Quiet, read_state
from pymc.logs import say, say_exception
from pymc.messages import AnswerMessage, CrawlMessage, MoveMessage, UnreadableError, receive
from pymc.policy.pace import rest_seconds
from pymc.policy.shrink import Move, choose_release, choose_trim, choose_unwanted
from pymc.server_context import ServerContext

_LOOK_SECONDS = 1.0
_TICK_MARGIN_SECONDS = 0.01
# Large items whose readers are not done are looked at again so soon.
_LIMBO_ITEMS = 256
_TRIM_PAGES = 16
_FIT_SECONDS = 0.02
# A step keeps the index from growing for a millisecond or two.
_SHRINK_BUCKETS = 2048
_SHRINK_SHARE = 0.2
_GONE = 1


def run(context: ServerContext, slot: int) -> int:
    """Lives the life of the keeper process; returns its exit code."""
    # It may outlive the server while a device does not answer, and is not to hold its port then.
    for address in context.addresses:
        address.close()
    with Store(context.arena, slot, Role.KEEPER, context.flash) as store:
        return Keeper(context, store).run()


class Keeper:
    """Background work for one server."""

    def __init__(self, context: ServerContext, store: Store) -> None:
        """Has nothing to do yet but to look."""
        self._context = context
        self._arena = context.arena
        self._store = store
        self._mover = Mover(context, store)
        self._crawler = Crawler(context, store)
        self._quiet = Quiet()
        self._is_stopping = False
        self._selector = selectors.DefaultSelector()
        self._answers = Answers(context, store, self._selector)
        # When each job is due next; a job that is missing has nothing to do.
        self._due: dict[str, float] = {"look": 0.0}
        self._tier = FlashTier(context, store, context.flash) if context.flash else None
        self._jobs: dict[str, Job] = {
            "look": self._look,
            "fit": self._fit_into_limit,
            "move": self._mover.step,
            "crawl": self._crawler.step,
            "limbo": self._clear_limbo,
            "shrink": self._shrink_indexes,
            "answers": self._answers.step,
        }
        if self._tier:
            self._jobs |= self._tier.jobs
            self._due |= dict.fromkeys(self._tier.jobs, 0.0)

    def run(self) -> int:
        """Works until SIGTERM and returns the exit code, or ends when the supervisor is gone."""
        store = self._store
        waker, wakened = socket.socketpair()
        waker.setblocking(False)
        wakened.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGTERM, self._stop)
        gc.freeze()
        with waker, wakened, self._selector as selector:
            selector.register(wakened, selectors.EVENT_READ)
            selector.register(self._context.keeper_inbox.reader, selectors.EVENT_READ)
            selector.register(self._context.lifeline_fd, selectors.EVENT_READ)
            if self._tier:
                selector.register(self._tier.wake_fd, selectors.EVENT_READ)
                selector.register(self._tier.buffers_fd, selectors.EVENT_READ)
            while not self._is_stopping:
                store.rest()
                ready = selector.select(self._wait_seconds())
                store.wake()
                store.beat()
                for key, _ in ready:
                    if key.fd == self._context.lifeline_fd:
                        os._exit(_GONE)
                    if key.data:
                        key.data()
                        self._schedule_if_idle("answers")
                    elif key.fileobj is wakened:
                        wakened.recv(64)
                    elif self._tier and key.fd == self._tier.wake_fd:
                        self._finish_io(self._tier)
                    elif self._tier and key.fd == self._tier.buffers_fd:
                        for name in self._tier.wanted():
                            self._schedule(name, 0.0)
                    else:
                        self._read_messages()
                self._run_due_jobs()
            # A second signal must not find a closed descriptor.
            signal.set_wakeup_fd(-1)
        self._mover.cancel()
        return 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def _wait_seconds(self) -> float:
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _run_due_jobs(self) -> None:
        """Runs each job that is due, once; a job that fails must not take the others with it."""
        for name, job in self._jobs.items():
            due = self._due.get(name)
            if due is None or due > time.monotonic():
                continue
            self._store.set_now(self._arena.seconds())
            self._store.beat()
            try:
                pause = job()
            except Exception:
                say_exception(f"keeper: {name}")
                pause = _LOOK_SECONDS
            self._schedule(name, pause)
        # Who waits for a page is not to wait for the next look at them.
        for name in self._tier.urgent() if self._tier else ():
            self._due[name] = 0.0

    def _finish_io(self, tier: FlashTier) -> None:
        self._store.set_now(self._arena.seconds())
        for name in tier.finish_io():
            self._schedule(name, 0.0)

    def _schedule(self, name: str, pause_seconds: float | None) -> None:
        if pause_seconds is None:
            self._due.pop(name, None)
        else:
            self._due[name] = time.monotonic() + pause_seconds

    def _read_messages(self) -> None:
        while True:
            try:
                message, descriptors = receive(self._context.keeper_inbox.reader)
            except (BlockingIOError, EOFError):
                return
            except UnreadableError as error:
                # From a program of another version perhaps.
                say(f"pymc: keeper: {error}")
                continue
            if isinstance(message, CrawlMessage):
                self._crawler.ask(message.classes)
                self._schedule("crawl", 0.0)
            elif isinstance(message, MoveMessage):
                self._mover.add(Move(message.from_class, message.to_class))
                self._schedule("move", 0.0)
            elif isinstance(message, AnswerMessage):
                self._store.set_now(self._arena.seconds())
                self._answers.take(message.line, *descriptors)
                self._schedule("answers", 0.0)
            else:
                self._schedule("look", 0.0)

    def _look(self) -> float:
        """Looks at the cache, from which all else follows; returns the seconds to the next look."""
        self._store.turn()
        for slot in self._context.slots:
            self._store.repair_if_dead(slot)
        frontiers_step(self._store)
        if self._context.settings.lru_maintainer:
            self._store.count("lru_maintainer_juggles")
            self._crawler.consider()
            self._schedule_if_idle("crawl")
        for name in ("fit", "move", "limbo", "shrink"):
            self._schedule_if_idle(name)
        # Right after the cache's clock moves, when items expire.
        return self._arena.seconds_until_tick() + _TICK_MARGIN_SECONDS

    def _schedule_if_idle(self, name: str) -> None:
        if name not in self._due:
            self._schedule(name, 0.0)

    def _fit_into_limit(self) -> float | None:
        """Takes memory from queues and free pages, and pages from classes, down to the limit.

        Returns the seconds to rest, None when all fits.
        """
        is_fitting = fit_probation_step(self._store)
        state = read_state(self._store, self._arena.seconds(), self._quiet)
        if self._arena.large_pages.asked_bytes:
            # They were got once, at the start: memory that goes back splits them.
            state = replace(state, quiet_seconds=0)
        released = 0
        if pages := choose_trim(state):
            # None are left to release when all of the pool has been.
            released = release_pool_step(self._store, min(pages, _TRIM_PAGES))
        move = choose_release(state) or choose_unwanted(state)
        if move and not self._mover.is_busy:
            self._mover.add(move)
            self._schedule_if_idle("move")
        # Pages above the limit go one after the other, without a second between them.
        return _FIT_SECONDS if move or released or is_fitting else None

    def _clear_limbo(self) -> None:
        """Frees what the last reader did not free, since it died."""
        limbo_step(self._store, _LIMBO_ITEMS)

    def _shrink_indexes(self) -> float | None:
        """Takes memory back from indexes that have room for far more than they hold.

        Returns the seconds to rest, None when there is none to take.
        """
        started = time.monotonic()
        is_sweeping = self._tier is not None and self._tier.is_sweeping
        if not shrink_step(self._store, _SHRINK_BUCKETS, flash_too=not is_sweeping):
            return None
        return rest_seconds(time.monotonic() - started, _SHRINK_SHARE)
