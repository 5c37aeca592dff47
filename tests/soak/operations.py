"""What a checking client sends, and what each reply says about the key's value."""

import random
import time
from dataclasses import dataclass, field

from tests.soak.values import NEVER, Value, text_of
from tests.support.connection import Connection

# How late an expiry may be noticed: clocks tick once a second, and the machine may be busy.
EXPIRY_MARGIN_SECONDS = 4.0
State = frozenset[Value | None]
ABSENT: State = frozenset((None,))


class WrongError(AssertionError):
    """The server answered what it never may."""


@dataclass(slots=True)
class Operation:
    """One request; `values` is what it stores, for `cas` with the token seen before."""

    name: str
    keys: list[bytes]
    value: Value | None = None
    number: int = 0
    ttl_seconds: int = 0
    cas: int = 0
    sent_seconds: float = 0.0
    # What came: key to (text, flags, cas).
    found: dict[bytes, tuple[bytes, int, int]] = field(default_factory=dict)

    @property
    def key(self) -> bytes:
        return self.keys[0]

    def request(self) -> bytes:
        key = self.key
        if self.value is not None and self.name != "append":
            text = text_of(key, self.value)
            if self.name == "ms":
                head = b"ms %s %d F%d T%d" % (
                    key,
                    len(text),
                    self.value.flags,
                    self.ttl_seconds,
                )
            else:
                head = b"%s %s %d %d %d" % (
                    self.name.encode(),
                    key,
                    self.value.flags,
                    self.ttl_seconds,
                    len(text),
                )
                head += b" %d" % self.cas if self.name == "cas" else b""
            return head + b"\r\n" + text + b"\r\n"
        match self.name:
            case "append":
                tail = b"+%d" % self.number
                return b"append %s 0 0 %d\r\n%s\r\n" % (key, len(tail), tail)
            case "get" | "gets":
                return b"%s %s\r\n" % (self.name.encode(), b" ".join(self.keys))
            case "gat":
                return b"gat %d %s\r\n" % (self.ttl_seconds, b" ".join(self.keys))
            case "mg":
                return b"mg %s v f c s t k\r\n" % key
            case "incr":
                return b"incr %s %d\r\n" % (key, self.number)
            case "touch":
                return b"touch %s %d\r\n" % (key, self.ttl_seconds)
            case "delete":
                return b"delete %s\r\n" % key
            case "md":
                return b"md %s\r\n" % key
            case "flush_all":
                return b"flush_all\r\n"
        raise AssertionError(self.name)

    def until_seconds(self) -> float:
        """When what it stores or touches is gone."""
        if self.ttl_seconds == 0:
            return NEVER
        return time.monotonic() + self.ttl_seconds + EXPIRY_MARGIN_SECONDS

    def outcomes(self, state: State) -> State:
        """What the key may hold when it is not known whether the server did it."""
        match self.name:
            case "delete" | "md" | "flush_all":
                return state | ABSENT
            case "append":
                return state | {grown(value, self.number) for value in state if value}
            case "incr":
                return state | {added(value, self.number) for value in state if value}
            case "touch" | "gat":
                return state | self.touched(state)
        if self.value is not None:
            return state | {self.value._replace(until_seconds=self.until_seconds())}
        return state

    def touched(self, state: State) -> State:
        until = self.until_seconds()
        return frozenset(value and value._replace(until_seconds=until) for value in state)

    def read(self, connection: Connection) -> bytes:
        """Takes the reply; of a reading operation into `found`."""
        if self.name == "mg":
            return self._read_meta(connection)
        if self.name not in ("get", "gets", "gat"):
            return connection.read_line().rstrip(b"\r\n")
        order = list(self.keys)
        while (line := connection.read_line()) != b"END\r\n":
            words = line.split()
            if line.startswith(b"SERVER_ERROR out of memory"):
                # An item that should come back to memory found no room; the answer ends here.
                return line.rstrip(b"\r\n")
            if words[0] != b"VALUE" or words[1] not in order:
                raise WrongError(f"{self.name} {self.keys!r}: {line!r}")
            # Replies stand in the order of the keys.
            del order[: order.index(words[1]) + 1]
            text = connection.read_exactly(int(words[3]) + 2)
            self._take(words[1], text, int(words[2]), int(words[4]) if len(words) > 4 else 0)
        return b"END"

    def _read_meta(self, connection: Connection) -> bytes:
        line = connection.read_line()
        if line.startswith(b"EN"):
            return b"EN"
        if line.startswith(b"SERVER_ERROR out of memory"):
            return line.rstrip(b"\r\n")
        words = line.split()
        if words[0] != b"VA" or words[6] != b"k" + self.key or words[4] != b"s" + words[1]:
            raise WrongError(f"mg {self.key!r}: {line!r}")
        text = connection.read_exactly(int(words[1]) + 2)
        self._take(self.key, text, int(words[2][1:]), int(words[3][1:]))
        return b"VA"

    def _take(self, key: bytes, text: bytes, flags: int, cas: int) -> None:
        if not text.endswith(b"\r\n"):
            raise WrongError(f"{self.name} {key!r}: no end of line after the value")
        self.found[key] = (text[:-2], flags, cas)


def grown(value: Value, number: int) -> Value:
    return value._replace(tail=value.tail + b"+%d" % number)


def added(value: Value, number: int) -> Value:
    return value._replace(version=value.version + number)


class Sizes:
    """Sizes of values from 50 bytes to 300 KiB, most of them small."""

    _STEPS = (50, 500, 4096, 16_384, 100_000, 300 * 1024)
    _WEIGHTS = (30, 46, 19, 4.5, 0.5)

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def one(self) -> int:
        step = self._dice.choices(range(len(self._WEIGHTS)), self._WEIGHTS)[0]
        return self._dice.randrange(self._STEPS[step], self._STEPS[step + 1])
