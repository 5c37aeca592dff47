"""Replies that nobody takes, until a process has no pin left."""

from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import MIB, Cache, Handle
from tests.support.core.talk import Talk

PINS_MAX = 8192
# Above the size up to which values are copied when pins are short, in chunks of their own size.
VALUE = b"v" * 16_400
CHUNK_BYTES = 16_640
_LADDER = (48, 96, 256, 1024, 4096, CHUNK_BYTES, 65_536, 524_288)


def roomy_cache(limit_bytes: int = 224 * MIB, **changes: Any) -> Cache:
    """One with room for more items than there are pins, each in few more bytes than it needs."""
    return Cache(limit_bytes=limit_bytes, chunk_bytes=_LADDER, **changes)


class PinHolder:
    """Keys of its own whose values it asks for, in one conversation, and never takes."""

    def __init__(self, store: Handle) -> None:
        self.store = store
        self.value = VALUE
        self.keys = 0
        self.key_without_pin = b""
        self._talk = Talk(store)
        self._first_reply = self._talk.reply
        self._replies: list[Any] = []
        store.on_close(self.close)

    def close(self) -> None:
        """Gives everything back."""
        self._talk.reply = self._first_reply
        for reply in self._replies:
            lib.reply_destroy(self.store.proto, reply)
        self._replies.clear()

    def ask(self, line: bytes) -> None:
        """Asks and leaves the answer where it is; what it does not hold is not asked for."""
        self._begin_anew()
        out = ffi.new("struct reply **")
        assert lib.reply_create(32_768, 512, out) == 0
        self._replies.append(out[0])
        self._talk.reply = out[0]
        self._talk.pending = line
        self._talk.feed_once()

    def _begin_anew(self) -> None:
        """A session of its own for each answer: the last one may stand within its line."""
        out = ffi.new("struct session **")
        lib.session_destroy(self._talk.session)
        assert lib.session_create(self._talk.proto, out) == 0
        self._talk.session = out[0]

    def hold(self, pins: int) -> None:
        """Takes pins one by one."""
        for _ in range(pins):
            key = b"pinned%d" % self.keys
            self.keys += 1
            self.store.put(key, VALUE)
            self.ask(b"get %s\r\n" % key)

    def hold_all(self) -> None:
        """Takes pins until a key finds none: key_without_pin."""
        self.hold(PINS_MAX * 3 // 4)
        copied = self.store.counters()["get_copied_for_claims"]
        for _ in range(PINS_MAX):
            self.hold(1)
            if self.store.counters()["get_copied_for_claims"] != copied:
                self.key_without_pin = b"pinned%d" % (self.keys - 1)
                lib.reply_destroy(self.store.proto, self._replies.pop())
                return
        raise AssertionError("there is always a pin")

    def hold_copies(self) -> None:
        """Asks for copies until there is no memory for one more."""
        line = b"get" + b" %s" % self.key_without_pin * 64 + b"\r\n"
        held = -1
        while held != (now := self.store.counters()["response_buf_bytes"]):
            held = now
            self.ask(line)
