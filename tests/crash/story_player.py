"""Plays a story's operations on a cache, as a worker, its clients and a keeper would."""

from collections.abc import Callable

from pymc.core.ffi import ffi, lib
from tests.crash.plan import BEGIN_SECONDS, Companion, Operation
from tests.crash.stories import FAR_SECONDS
from tests.support.core.driver import EPOCH_UNIX_SECONDS, Cache
from tests.support.core.lru_queues import Queues, fit_probation
from tests.support.core.shrinking import shrink_step
from tests.support.core.talk import Talk

TOOL_SLOT = 4
_SIZES = (10, 60, 150, 400, 900, 2000)


class StoryPlayer:
    """One worker with clients, of which one is slow to read and others leave early."""

    def __init__(self, cache: Cache, slot: int, now_seconds: int = BEGIN_SECONDS) -> None:
        self.cache = cache
        self.handle = cache.open(slot)
        self.now_seconds = now_seconds
        self.handle.set_now(now_seconds)
        self.companion: Companion | None = None
        self.talk = Talk(self.handle)
        # Its replies wait, and with them the memory of large values.
        self.reader = Talk(self.handle, values_max=64)
        self._play: dict[str, Callable[[Operation], None]] = {
            name.removeprefix("_do_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("_do_")
        }

    def play(self, one: Operation) -> None:
        self._play[one.name](one)

    def _ask(self, words: bytes, *rest: bytes) -> bytes:
        return self.talk.ask(b"\r\n".join((words, *rest, b"")))

    # Text commands.

    def _store(self, verb: bytes, one: Operation, more: bytes = b"") -> None:
        flags = len(one.value) % 3
        words = b"%s %s %d 0 %d%s" % (verb, one.key, flags, len(one.value), more)
        self._ask(words, one.value)

    def _do_set(self, one: Operation) -> None:
        self._store(b"set", one)

    def _do_add(self, one: Operation) -> None:
        self._store(b"add", one)

    def _do_replace(self, one: Operation) -> None:
        self._store(b"replace", one)

    def _do_append(self, one: Operation) -> None:
        self._store(b"append", one)

    def _do_prepend(self, one: Operation) -> None:
        self._store(b"prepend", one)

    def _do_set_dying(self, one: Operation) -> None:
        expiry = self.now_seconds + one.number
        self.handle.put(one.key, one.value, expiry_seconds=expiry)

    def _do_cas(self, one: Operation) -> None:
        head = self._ask(b"gets " + one.key).partition(b"\r\n")[0].split()
        if len(head) == 5:
            self._store(b"cas", one, b" " + head[4])

    def _do_get(self, one: Operation) -> None:
        self.reader.feed(b"get " + one.key + b"\r\n", drains=False)

    def _do_gets(self, one: Operation) -> None:
        self._ask(b"gets %s %s" % (one.key, one.key))

    def _do_gat(self, one: Operation) -> None:
        self._ask(b"gat %d %s" % (FAR_SECONDS + one.number, one.key))

    def _do_touch(self, one: Operation) -> None:
        self._ask(b"touch %s %d" % (one.key, FAR_SECONDS + one.number))

    def _do_delete(self, one: Operation) -> None:
        self._ask(b"delete " + one.key)

    def _do_incr(self, one: Operation) -> None:
        self._ask(b"incr %s %d" % (one.key, one.number))

    def _do_decr(self, one: Operation) -> None:
        self._ask(b"decr %s %d" % (one.key, one.number))

    def _do_odd(self, one: Operation) -> None:
        self._ask(b"verbosity 0")
        self._ask(b"nonsense")
        self._ask(b"incr %s x" % one.key)
        self._ask(b"incr %s 1" % one.key)
        self._ask(b"touch nobody 0")
        self._ask(b"gat 0 nobody")
        self._ask(b"cas nobody 0 0 1 5", b"x")
        client = Talk(self.handle)
        client.ask(b"set huge 0 0 99999999\r\n")
        client.close()

    # Meta commands.

    def _do_ms(self, one: Operation) -> None:
        flags = (b"T%d F7" % FAR_SECONDS, b"c E%d" % (one.number + 1000), b"F9 T0", b"I")
        self._ask(b"ms %s %d %s" % (one.key, len(one.value), flags[one.number % 4]), one.value)

    def _do_ms_append(self, one: Operation) -> None:
        self._ask(b"ms %s %d MA" % (one.key, len(one.value)), one.value)

    def _do_ms_stale(self, one: Operation) -> None:
        # No item has a CAS number as old as this.
        self._ask(b"ms %s %d I C1" % (one.key, len(one.value)), one.value)

    def _do_mg(self, one: Operation) -> None:
        self._ask(b"mg %s v k c t s f h l" % one.key)

    def _do_mg_touch(self, one: Operation) -> None:
        self._ask(b"mg %s v T%d" % (one.key, FAR_SECONDS + one.number))

    def _do_mg_recache(self, one: Operation) -> None:
        self._ask(b"mg %s v R%d" % (one.key, 2 * FAR_SECONDS))

    def _do_vivify(self, one: Operation) -> None:
        self._ask(b"mg %s v N%d t" % (one.key, FAR_SECONDS))

    def _do_md(self, one: Operation) -> None:
        self._ask(b"md %s q" % one.key)

    def _do_md_stale(self, one: Operation) -> None:
        own = b" E%d" % (one.number + 5000) if one.number % 2 else b""
        self._ask(b"md %s I T%d%s" % (one.key, FAR_SECONDS, own))

    def _do_md_clear(self, one: Operation) -> None:
        self._ask(b"md %s x" % one.key)

    def _do_ma(self, one: Operation) -> None:
        own = b" E%d" % (one.number + 5000) if one.number % 2 else b""
        self._ask(b"ma %s D%d T%d v%s" % (one.key, one.number, FAR_SECONDS, own))

    # The store's own calls.

    def _do_put(self, one: Operation) -> None:
        self.handle.put(one.key, one.value)

    def _do_read(self, one: Operation) -> None:
        self.handle.get(one.key)

    def _do_making(self, one: Operation) -> None:
        making = self.handle.begin(one.key, len(one.value), flags=one.number)
        if making.outcome == lib.STORE_ROOM_MADE:
            making.fill_all(one.value)
            making.commit()

    def _do_making_ends(self, one: Operation) -> None:
        making = self.handle.begin(b"never", len(one.value))
        if making.outcome == lib.STORE_ROOM_MADE:
            making.fill(one.value[:4000])
            if one.number % 2:
                making.abandon()
            else:
                lib.store_give_up(self.handle.store, making.write, making.making)

    def _do_half_sent(self, one: Operation) -> None:
        client = Talk(self.handle)
        client.feed(b"set %s 0 0 %d\r\n" % (b"never", len(one.value)), drains=False)
        client.feed_directly(one.value[:9000])
        client.close()

    def _do_pieces(self, one: Operation) -> None:
        for i in range(0, len(one.value), 7000):
            head = b"set %s 0 0 %d\r\n" % (one.key, len(one.value)) if i == 0 else b""
            self.talk.feed(head + one.value[i : i + 7000], drains=False)
        self.talk.feed(b"\r\n")

    def _do_settings(self, one: Operation) -> None:
        """What administrative commands change."""
        lib.arena_clock_shift(self.cache.arena, 1)
        lib.arena_clock_freeze(self.cache.arena, 1000)
        lib.arena_clock_shift(self.cache.arena, 1)
        lib.arena_clock_freeze(self.cache.arena, 0)
        lib.arena_clock_set_wall(self.cache.arena, 5 * 10**9, (EPOCH_UNIX_SECONDS + 999) * 10**9)
        lib.meter_add_for(self.cache.arena, TOOL_SLOT, 0, 1)
        lib.meter_add(self.handle.proc, 0, 1)
        self.cache.set_live("verbosity", 1)
        lib.proc_beat(self.handle.proc)
        lib.proc_set_late(self.cache.arena, self.handle.slot, True)
        lib.proc_set_late(self.cache.arena, self.handle.slot, False)
        lib.prefix_clear(self.handle.store)

    def _do_drain(self, one: Operation) -> None:
        self.reader.drain()

    def _do_pin(self, one: Operation) -> None:
        self._do_get(one)

    # What a keeper does.

    def _do_limbo(self, one: Operation) -> None:
        self.handle.limbo_step(5)

    def _do_crawl(self, one: Operation) -> None:
        self.handle.crawl(500)

    def _do_shrink(self, one: Operation) -> None:
        shrink_step(self.handle, one.number)

    def _do_dump(self, one: Operation) -> None:
        place, more = ffi.new("char[]", 8192), ffi.new("bool *", True)
        cursor = ffi.new("struct space_cursor *")
        arguments = (cursor, lib.STORE_DUMP_META, 500, ffi.NULL, place, 8192, more)
        while more[0]:
            lib.store_dump_step(self.handle.store, *arguments)

    def _do_clock(self, one: Operation) -> None:
        self.now_seconds += one.number
        self.handle.set_now(self.now_seconds)
        self.handle.frontiers_step()
        self.handle.turn()

    def _do_turn(self, one: Operation) -> None:
        self.handle.turn()

    def _do_flush(self, one: Operation) -> None:
        self.handle.flush_all(self.now_seconds + one.number if one.number else 0)

    def _do_limit(self, one: Operation) -> None:
        self.handle.set_limit(one.number)
        self.handle.turn()

    def _do_fit(self, one: Operation) -> None:
        fit_probation(self.handle)

    def _do_release(self, one: Operation) -> None:
        self.handle.release_pool(100)

    def _do_reset(self, one: Operation) -> None:
        lib.store_counters_reset(self.handle.store)

    def _do_ask_flush(self, one: Operation) -> None:
        lib.slab_ask_flush(ffi.cast("struct slab *", lib.store_slab(self.handle.store)))

    def _do_ghost(self, one: Operation) -> None:
        lru = lib.store_lru(self.handle.store)
        if one.number:
            lib.ghost_begin(lru, one.number)
        else:
            lib.ghost_empty(lru)

    def _do_push(self, one: Operation) -> None:
        queues = Queues(self.handle)
        queues.push(one.number, *[1] * min(600, queues.cap(one.number) or 600))

    def _do_empty(self, one: Operation) -> None:
        for _ in range(4):
            self._move(one.number, 0)
        Queues(self.handle).clear(one.number)

    def _do_move(self, one: Operation) -> None:
        classes = self.handle.slab().classes
        self._move(one.number % classes + 1, one.number % (classes + 1))

    def _move(self, from_class: int, to_class: int) -> None:
        move = self.handle.move_begin(from_class, to_class)
        if move is None:
            return
        for _ in range(6):
            if self.handle.move_step(move, 400):
                return
        self.handle.move_cancel(move)

    # Neighbours.

    def _do_accompany(self, one: Operation) -> None:
        """As a worker does that has nothing to do for a moment."""
        if self.companion is None:
            self.companion = Companion(self.cache)
        self.handle.rest()
        self.handle.wake()
        self.companion.visit(self.now_seconds)

    def _do_visit(self, one: Operation) -> None:
        """Somebody comes, works and goes."""
        visitor = self.cache.open(TOOL_SLOT)
        visitor.set_now(self.now_seconds)
        visitor.put(one.key, one.value)
        for size in _SIZES:
            visitor.put(b"visitor %d" % size, b"x" * size)
            visitor.delete(b"visitor %d" % size)
        if one.number % 2:
            visitor.rest()
        visitor.close()

    def _do_hold(self, one: Operation) -> None:
        """Begins to empty pages of others and goes away for a while."""
        holder = self.cache.open(TOOL_SLOT)
        for class_id in range(1, holder.slab().classes + 1):
            if (class_id + one.number) % 3 == 0:
                holder.move_begin(class_id, 0)
        holder.close()
