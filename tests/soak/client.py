"""A client that owns keys, knows what each of them may hold, and checks every answer."""

import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import accumulate

from tests.soak.operations import (
    ABSENT,
    EXPIRY_MARGIN_SECONDS,
    Operation,
    Sizes,
    State,
    WrongError,
    added,
    grown,
)
from tests.soak.values import Value, is_whole, text_of
from tests.support.connection import Address, ClosedError, Connection
from tests.support.deadline import wait_until

CONNECTIONS = 3
BATCH_MAX = 24
# Of requests or of replies: both at once would fill the sockets in both directions.
BATCH_BYTES_MAX = 60_000
SHARED_KEYS = 300
NUMBER_EVERY = 20
TAIL_BYTES_MAX = 200
_WEIGHTS = {
    "get": 34,
    "multiget": 8,
    "mg": 8,
    "gets": 4,
    "set": 20,
    "ms": 5,
    "cas": 4,
    "add": 2,
    "replace": 2,
    "append": 4,
    "incr": 4,
    "touch": 3,
    "gat": 3,
    "delete": 2,
    "md": 1,
    "foreign": 4,
    "shared": 4,
}
_STORES = ("set", "ms", "add", "replace", "cas")
_TTLS = (0,) * 16 + (3, 20, 600, 100_000)
# Keys that were missed and wait to be stored again, as clients of a cache do.
_LACKING_MAX = 1000


class Client:
    """One of `clients`; keys that begin with its number are written by nobody else."""

    def __init__(self, address: Address, number: int, clients: int, keys: int, seed: int) -> None:
        self.number = number
        self.counts: Counter[str] = Counter()
        self._address = address
        self._clients = clients
        self._dice = random.Random(seed * 1000 + number)
        self._sizes = Sizes(self._dice)
        self._keys = [self._name(number, i) for i in range(keys)]
        order = list(range(keys))
        self._dice.shuffle(order)
        self._popular = order
        self._zipf = list(accumulate(1 / (rank + 1) ** 0.99 for rank in range(keys)))
        self._states: dict[bytes, State] = {}
        self._tokens: dict[bytes, int] = {}
        self._missed: set[bytes] = set()
        self._lacking: list[bytes] = []
        self._version = 0
        self._connections: list[Connection] = []

    @staticmethod
    def _name(number: int, i: int) -> bytes:
        padding = b"x" * (i % 180) if i % 7 == 0 else b""
        kind = b"n" if i % NUMBER_EVERY == 0 else b"k"
        return b"%s%d.%d%s" % (kind, number, i, padding)

    # Work

    def work(self, is_over: Callable[[], bool], step: Callable[[], None]) -> None:
        """Sends batches until it is over; `step` is called after each."""
        while not is_over():
            self._batch([self._choose() for _ in range(self._dice.randrange(1, BATCH_MAX))])
            if self._dice.random() < 0.3:
                self._race()
            if self._dice.random() < 0.005:
                self._reconnect()
            step()

    def flush(self) -> None:
        """flush_all; nothing of before may be seen again."""
        self._batch([Operation("flush_all", [b""])])

    def look_at_all(self) -> None:
        """Reads each key that was ever written."""
        keys = sorted(self._states)
        for first in range(0, len(keys), 8):
            self._batch([Operation("get", [key]) for key in keys[first : first + 8]])

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _choose(self) -> Operation:
        dice = self._dice
        if self._lacking and dice.random() < 0.3:
            key = self._lacking.pop()
            value = self._value(0 if key.startswith(b"n") else self._sizes.one())
            return Operation("set", [key], value)
        name = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if name == "shared":
            key = b"shared%d" % dice.randrange(SHARED_KEYS)
            if dice.random() < 0.5:
                return Operation("get", [key])
            return Operation("set", [key], self._value(min(self._sizes.one(), 30_000)))
        if name == "foreign":
            other = dice.randrange(self._clients)
            return Operation("get", [self._name(other, dice.randrange(len(self._keys)))])
        if name == "multiget":
            keys = list({self._key() for _ in range(dice.randrange(2, 30))})
            return Operation(dice.choice(("get", "gets")), keys)
        key = self._key(wants_number=name == "incr")
        is_number = key.startswith(b"n")
        if name == "cas" and key not in self._tokens:
            name = "gets"
        if name in _STORES:
            value = self._value(0 if is_number else self._sizes.one())
            cas = self._tokens.get(key, 0)
            return Operation(name, [key], value, ttl_seconds=dice.choice(_TTLS), cas=cas)
        if is_number and name == "append":
            name = "incr"
        number = 0
        if name in ("append", "incr"):
            self._version += 1
            number = self._version
            if self._is_long(key):
                name = "get"
        return Operation(name, [key], number=number, ttl_seconds=dice.choice(_TTLS))

    def _is_long(self, key: bytes) -> bool:
        """Whether it was appended to often, or is a number near its end."""
        state = self._states.get(key, ABSENT)
        return any(v and (len(v.tail) > TAIL_BYTES_MAX or v.version > 1 << 60) for v in state)

    def _key(self, *, wants_number: bool = False) -> bytes:
        dice = self._dice
        if wants_number:
            return self._keys[dice.randrange(len(self._keys) // NUMBER_EVERY) * NUMBER_EVERY]
        if dice.random() < 0.5:
            return dice.choice(self._keys)
        return self._keys[dice.choices(self._popular, cum_weights=self._zipf)[0]]

    def _value(self, size_bytes: int) -> Value:
        self._version += 1
        return Value(self._version, size_bytes, self._dice.random() < 0.6)

    # One batch

    def _batch(self, wanted: list[Operation]) -> None:
        operations = self._fitting(wanted)
        connection = self._connection()
        done = 0
        try:
            now = time.monotonic()
            for operation in operations:
                operation.sent_seconds = now
            connection.send(b"".join(operation.request() for operation in operations))
            for operation in operations:
                said = operation.read(connection)
                self._learn(operation, said)
                self.counts["requests"] += 1
                done += 1
        except TimeoutError:
            raise WrongError(f"no answer to {operations[done].name}") from None
        except (ClosedError, OSError):
            self.counts["cut off"] += 1
            self._doubt(operations[done:])
            self._drop(connection)

    def _race(self) -> None:
        """One connection changes a key while another one reads it, or fetches it from flash."""
        dice, key = self._dice, self._key()
        while len(self._connections) < CONNECTIONS:
            self._connection()
        reading, changing = dice.sample(self._connections, 2)
        names = dice.choices(("get", "gets", "mg", "gat", "touch"), k=dice.randrange(1, 4))
        reads = [Operation(name, [key]) for name in names]
        change = Operation(dice.choice(("set", "ms", "delete", "md")), [key])
        if change.name in ("set", "ms"):
            is_number = key.startswith(b"n")
            change.value = self._value(0 if is_number else min(self._sizes.one(), BATCH_BYTES_MAX))
        before = self._states.get(key, ABSENT)
        after = ABSENT if change.value is None else frozenset((change.value,))
        self._states[key] = before | after
        self._tokens.pop(key, None)
        sends = [
            (reading, b"".join(read.request() for read in reads)),
            (changing, change.request()),
        ]
        dice.shuffle(sends)
        try:
            for connection, request in sends:
                connection.send(request)
            for read in reads:
                read.sent_seconds = time.monotonic() - EXPIRY_MARGIN_SECONDS
                said = read.read(reading)
                # Each of them may have come before the change or after it.
                self._states[key] = before | after
                if said not in (b"TOUCHED", b"NOT_FOUND"):
                    self._learn(read, said)
                self._tokens.pop(key, None)
                self._missed.discard(key)
            self._states[key] = before | after
            self._learn(change, change.read(changing))
            self.counts["races"] += 1
        except TimeoutError:
            raise WrongError(f"no answer to a race for {key!r}") from None
        except (ClosedError, OSError):
            self.counts["cut off"] += 1
            self._states[key] = change.outcomes(before | after)
            self._drop(reading)
            self._drop(changing)

    def _fitting(self, wanted: list[Operation]) -> list[Operation]:
        """As many of them as have different keys and leave room in the sockets."""
        used: set[bytes] = set()
        chosen: list[Operation] = []
        sent = received = 0
        for operation in wanted:
            if used & set(operation.keys):
                continue
            is_store = operation.value is not None
            out = operation.value.size_bytes if operation.value and is_store else 0
            back = 0 if is_store else sum(self._size_of(key) for key in operation.keys)
            if chosen and min(sent + out, received + back) > BATCH_BYTES_MAX:
                continue
            sent, received = sent + out, received + back
            used.update(operation.keys)
            chosen.append(operation)
        return chosen

    def _size_of(self, key: bytes) -> int:
        state = self._states.get(key)
        return max((v.size_bytes for v in state if v), default=0) if state else 30_000

    def _connection(self) -> Connection:
        if len(self._connections) < CONNECTIONS:
            fresh = wait_until(self._try_connect, "the server takes connections")
            assert fresh is not None
            self._connections.append(fresh)
        return self._dice.choice(self._connections)

    def _try_connect(self) -> Connection | None:
        try:
            return Connection(self._address)
        except OSError:
            return None

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._connections.remove(connection)

    def _reconnect(self) -> None:
        if self._connections:
            self._drop(self._dice.choice(self._connections))

    def _is_mine(self, key: bytes) -> bool:
        return key[1:].startswith(b"%d." % self.number)

    def _doubt(self, operations: list[Operation]) -> None:
        """Each of these was done or was not."""
        for operation in operations:
            for key in operation.keys if operation.name != "flush_all" else list(self._states):
                self._tokens.pop(key, None)
                if self._is_mine(key):
                    self._states[key] = operation.outcomes(self._states.get(key, ABSENT))

    # What a reply says

    def _learn(self, operation: Operation, said: bytes) -> None:
        name, key = operation.name, operation.key
        if said.startswith((b"SERVER_ERROR", b"CLIENT_ERROR", b"ERROR")):
            self.counts[said.decode()] += 1
            if not said.startswith(b"SERVER_ERROR out of memory"):
                raise WrongError(f"{name} {key!r}: {said!r}")
            # A set that fails takes the old value with it, or leaves it.
            self._doubt([operation])
            if self._is_mine(key):
                self._states[key] |= ABSENT
        elif name in ("get", "gets", "gat", "mg"):
            for one in operation.keys:
                self._learn_read(operation, one)
        elif name == "flush_all":
            self._states = dict.fromkeys(self._states, ABSENT)
            self._tokens.clear()
        elif self._is_mine(key):
            self._learn_change(operation, said)

    def _learn_read(self, operation: Operation, key: bytes) -> None:
        found = operation.found.get(key)
        self.counts["misses" if found is None else "hits"] += 1
        if not self._is_mine(key):
            if found is not None and not is_whole(key, found[0]):
                raise WrongError(f"{key!r} holds {found[0][:100]!r}")
            return
        if found is None:
            self._missed.add(key)
            if len(self._lacking) < _LACKING_MAX:
                self._lacking.append(key)
            return
        text, flags, cas = found
        before = self._states.get(key, ABSENT)
        right = [v for v in before if v and v.flags == flags and text_of(key, v) == text]
        if not right:
            raise WrongError(
                f"{operation.name} {key!r} flags {flags}: {text[:100]!r} of {len(text)} bytes"
                f" ending {text[-20:]!r}; allowed: {before}"
            )
        if max(v.until_seconds for v in right) < operation.sent_seconds:
            raise WrongError(f"{operation.name} {key!r}: is expired: {before}")
        if key in self._missed:
            self._missed.remove(key)
            self.counts["came back after a miss"] += 1
        after = frozenset(right)
        self._states[key] = operation.touched(after) if operation.name == "gat" else after
        if cas:
            if self._tokens.get(key, cas) != cas:
                raise WrongError(f"{operation.name} {key!r}: number {cas}, not {self._tokens[key]}")
            self._tokens[key] = cas

    def _learn_change(self, operation: Operation, said: bytes) -> None:
        name, key = operation.name, operation.key
        before = self._states.get(key, ABSENT)
        is_done = said in (b"STORED", b"HD", b"DELETED", b"TOUCHED") or said.isdigit()
        self.counts[name if is_done else f"{name} refused"] += 1
        if said == b"EXISTS":
            raise WrongError(f"{name} {key!r}: EXISTS with number {operation.cas}")
        needs_item = name not in ("set", "ms", "add")
        shows_item = (is_done and needs_item) or (said == b"NOT_STORED" and name == "add")
        if shows_item and before == ABSENT:
            raise WrongError(f"{name} {key!r}: {said!r}, but it is not there")
        if not is_done:
            if name in ("set", "ms"):
                raise WrongError(f"{name} {key!r}: {said!r}")
            if name != "add":
                self._missed.add(key)
            if name in ("delete", "md"):
                self._states[key] = ABSENT
            return
        if name != "touch":
            self._tokens.pop(key, None)
        if name not in ("touch", "append", "incr"):
            self._missed.discard(key)
        self._states[key] = self._changed(operation, before, said)

    def _changed(self, operation: Operation, before: State, said: bytes) -> State:
        """The states after a change that was done."""
        there = [value for value in before if value]
        match operation.name:
            case "touch":
                return operation.touched(frozenset(there))
            case "delete" | "md":
                return ABSENT
            case "append":
                return frozenset(grown(value, operation.number) for value in there)
            case "incr":
                sums = frozenset(added(value, operation.number) for value in there)
                right = frozenset(value for value in sums if value.version == int(said))
                if not right:
                    raise WrongError(f"incr {operation.key!r}: {said!r}, allowed {sums}")
                return right
        assert operation.value is not None
        return frozenset((operation.value._replace(until_seconds=operation.until_seconds()),))
