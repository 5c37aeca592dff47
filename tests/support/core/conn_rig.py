"""Connections over the memory transport: clients in this process, turns when the test says so."""

from typing import Any

from pymc.core.ffi import ffi, lib, text
from tests.support.core.driver import Cache, Handle

RECEIVE_BYTES = 1 << 20
MANY = 1 << 40
END = b"END\r\n"


class Client:
    """A client of a Rig; what it heard so far is taken by hear()."""

    def __init__(self, rig: "Rig") -> None:
        self.rig = rig
        out = ffi.new("struct memory_client **")
        assert lib.memory_client_open(rig.loop, ffi.NULL, 0, out) == 0
        self.pointer = out[0]
        self._place = ffi.new("char[]", RECEIVE_BYTES)

    def say(self, data: bytes) -> None:
        assert lib.memory_client_say(self.pointer, data, len(data)) == 0

    def end(self) -> None:
        lib.memory_client_end(self.pointer)

    def break_off(self) -> None:
        lib.memory_client_break(self.pointer)

    def take(self, byte_count: int) -> None:
        """From here on it takes so many bytes of what it is sent."""
        lib.memory_client_take(self.pointer, byte_count)

    def hear(self) -> bytes:
        pieces = []
        while count := lib.memory_client_receive(self.pointer, self._place, RECEIVE_BYTES):
            pieces.append(bytes(ffi.buffer(self._place, count)))
        return b"".join(pieces)

    def ask(self, data: bytes) -> bytes:
        """What it hears when it has said this and all is quiet again."""
        self.say(data)
        self.rig.serve()
        return self.hear()

    @property
    def view(self) -> Any:
        out = ffi.new("struct memory_view *")
        lib.memory_client_view(self.pointer, out)
        return out

    @property
    def state(self) -> str:
        return text(lib.conn_state_name(self.view.state))

    @property
    def shown(self) -> int:
        return int(self.view.shown)

    @property
    def wants(self) -> tuple[bool, bool]:
        """Input, and room for what is sent."""
        view = self.view
        return bool(view.wants_input), bool(view.wants_room)


class Rig:
    """A store and the loop of its clients; one process, no sockets."""

    def __init__(self, cache: Cache, handle: Handle) -> None:
        self.cache = cache
        self.handle = handle
        reader = handle.reads.pointer if handle.reads else ffi.NULL
        out = ffi.new("struct memory_loop **")
        assert lib.memory_loop_open(handle.store, reader, out) == 0
        self.loop: Any = out[0]
        # How many steps of handshakes a turn has must not hang on the machine's speed.
        lib.memory_loop_set_handshakes(self.loop, (1 << 64) - 1)

    def close(self) -> None:
        """Closes all connections; close() again does nothing."""
        pointer, self.loop = self.loop, ffi.NULL
        lib.memory_loop_close(pointer)

    def client(self) -> Client:
        return Client(self)

    def turn(self) -> bool:
        return bool(lib.memory_loop_turn(self.loop))

    def serve(self) -> None:
        """Turns until there is nothing to do."""
        for _ in range(100_000):
            if not self.turn():
                return
        raise AssertionError("there is always something to do")

    def tick(self, now: int) -> None:
        self.handle.set_now(now)
        lib.memory_loop_tick(self.loop)

    def counter(self, name: str) -> int:
        return self.handle.counters()[name]

    def requests(self) -> list[tuple[int, bytes]]:
        """The administrative commands that wait: their tickets and lines."""
        out = ffi.new("struct conn_request *")
        found = []
        while lib.memory_loop_next_request(self.loop, out):
            found.append((int(out.connection), bytes(ffi.buffer(out.line, out.line_bytes))))
        return found

    def request(self) -> int:
        """The ticket of the only one that waits."""
        ((ticket, _),) = self.requests()
        return ticket

    def answer(self, ticket: int, data: bytes, kind: int = lib.CONN_ANSWER_DONE) -> bool:
        return bool(lib.memory_loop_answer(self.loop, ticket, data, len(data), kind))

    def streams(self) -> list[int]:
        out = ffi.new("uint64_t *")
        found = []
        while lib.memory_loop_next_stream(self.loop, out):
            found.append(int(out[0]))
        return found


def shown(key: bytes, value: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value)


def put(rig: Rig, key: bytes, value: bytes) -> bytes:
    """Stores it; how a get shows it."""
    assert rig.handle.put(key, value).outcome == lib.STORE_STORED
    return shown(key, value)


def stuck(rig: Rig, behind: bytes = b"", taken: int = 10) -> tuple[Client, bytes]:
    """One that takes only some bytes of a reply, and the whole reply."""
    reply = put(rig, b"a", b"x" * 1000) + END
    client = rig.client()
    client.take(taken)
    client.say(b"get a\r\n" + behind)
    rig.serve()
    return client, reply
