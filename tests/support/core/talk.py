"""A conversation without a socket: feeds a session and collects its replies."""

from typing import Any

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import Handle

REPLY_BUFFER_BYTES = 32768
DRAIN_BYTES = 64 << 20


class Talk:
    """One session with its own reply; input that it does not take yet waits here."""

    def __init__(self, handle: Handle, *, values_max: int = 4, answers_admin: bool = True) -> None:
        self.handle = handle
        self.proto = handle.open_proto()
        self.answers_admin = answers_admin
        # False: feed() returns when a command waits for flash; feed(b"") goes on.
        self.waits_for_flash = True
        # False: feed() returns when a command meets a busy bucket.
        self.waits_for_buckets = True
        out = ffi.new("struct session **")
        assert lib.session_create(self.proto, out) == 0
        self.session: Any = out[0]
        reply = ffi.new("struct reply **")
        assert lib.reply_create(REPLY_BUFFER_BYTES, values_max, reply) == 0
        self.reply: Any = reply[0]
        self._place = ffi.new("char[]", 1 << 20)
        self._consumed = ffi.new("size_t *")
        self.pending = b""
        self.received = b""
        self.admin_lines: list[bytes] = []
        # How long its failed logins were to be held back.
        self.delays: list[int] = []
        self.is_closed = False
        handle.on_close(self.close)

    def close(self) -> None:
        """Ends the conversation as a lost connection would; close() again does nothing."""
        if self.session != ffi.NULL:
            lib.session_destroy(self.session)
            lib.reply_destroy(self.proto, self.reply)
            self.session = ffi.NULL

    def feed_once(self) -> int:
        """One call of session_feed() on what is pending; why it stopped."""
        data = ffi.from_buffer("char[]", self.pending)
        stop = int(
            lib.session_feed(self.session, data, len(self.pending), self.reply, self._consumed)
        )
        # The line is borrowed from the input that parked the session: later it is gone.
        if stop == lib.SESSION_PARKED and self._consumed[0] > 0:
            line_bytes = ffi.new("uint32_t *")
            line = lib.session_admin_line(self.session, line_bytes)
            self.admin_lines.append(bytes(ffi.buffer(line, line_bytes[0])))
        self.pending = self.pending[self._consumed[0] :]
        return stop

    def drain(self) -> bytes:
        """Takes the reply out, values included."""
        count = lib.reply_drain(self.proto, self.reply, self._place, len(self._place))
        if count < 0:
            self._place = ffi.new("char[]", DRAIN_BYTES)
            count = lib.reply_drain(self.proto, self.reply, self._place, len(self._place))
        assert count >= 0
        sent = bytes(ffi.buffer(self._place, count))
        self.received += sent
        return sent

    def feed(self, data: bytes, *, drains: bool = True) -> None:
        """Feeds until the session wants more input, draining only full replies unless told so."""
        self.pending += data
        stop = lib.SESSION_REPLY_FULL
        while stop != lib.SESSION_NEEDS_INPUT and not self.is_closed:
            stop = self.feed_once()
            if stop == lib.SESSION_REPLY_FULL:
                self.drain()
            elif stop == lib.SESSION_ON_FLASH:
                if not self.waits_for_flash:
                    break
                assert self.handle.reads is not None
                self.handle.reads.wait()
            elif stop == lib.SESSION_BUSY:
                if not self.waits_for_buckets:
                    break
                lib.store_turn(self.handle.store)
            elif stop == lib.SESSION_DELAYED:
                self.delays.append(int(lib.session_delay_seconds(self.session)))
                lib.session_resume(self.session)
            elif stop == lib.SESSION_PARKED and self.answers_admin:
                lib.session_resume(self.session)
            elif stop == lib.SESSION_PARKED:
                break
            self.is_closed = stop == lib.SESSION_CLOSE
        if drains:
            self.drain()

    def feed_directly(self, data: bytes) -> int:
        """Writes into a large value as a socket would; how much of `data` fitted."""
        place = ffi.new("char **")
        room = lib.session_direct_place(self.session, 0, place, ffi.new("bool *"))
        taken = min(room, len(data))
        ffi.memmove(place[0], data, taken)
        if taken:
            lib.session_direct_filled(self.session, taken)
        return int(taken)

    def ask(self, data: bytes) -> bytes:
        """What the session answers to this input."""
        before = len(self.received)
        self.feed(data)
        return self.received[before:]
