"""A full server refuses nothing it could hold, whatever is asked; what vanished is counted."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.support.connection import Connection
from tests.support.programs import Program
from tests.support.server import Server

BODY = random.Random(1).randbytes(1 << 23).replace(b"\r", b"x").replace(b"\n", b"y")
OPERATIONS = 3000


class Client:
    """Asks at random, with sizes of which now these and now those are the most."""

    def __init__(self, connection: Connection, value_bytes_max: int, seed: int) -> None:
        self.connection = connection
        self.most = value_bytes_max
        self.dice = random.Random(seed)
        self.answers: Counter[str] = Counter()
        self.style = "any"

    def size(self) -> int:
        if self.style == "small":
            return self.dice.randint(1, 1500)
        if self.style == "large":
            return self.dice.randint(self.most // 4, self.most)
        return int(self.most ** self.dice.random())

    def step(self) -> None:
        if self.dice.random() < 0.02:
            self.style = self.dice.choice(("small", "small", "any", "large"))
        key = f"k{self.dice.randrange(4000)}"
        verb = self.dice.choice(
            ("set", "set", "add", "replace", "append", "prepend", "cas", "ms", "md", "mg", "number")
            + ("touch", "gat")
        )
        size = self.size()
        join = verb in ("append", "prepend")
        value = BODY[: max(1, size // 4 if join else size)]
        if verb in ("set", "add", "replace", "append", "prepend"):
            self.say(verb, self.connection.store(key, value, verb=verb, rest=self.rest()))
        elif verb == "cas":
            self.connection.send(f"gets {key}\r\n".encode())
            words = self.connection.read_line().split()
            if words != [b"END"]:
                self.connection.read_exactly(int(words[3]) + 2 + 5)
                line = f"cas {key} 0 0 {len(value)} {words[4].decode()}\r\n"
                self.connection.send(line.encode() + value + b"\r\n")
                self.say(verb, self.connection.read_line())
        elif verb == "ms":
            flags = self.dice.choice(("", "F7", "T1000", "F7 T1000 E99", "MA N60", "MP N60", "I"))
            value = value[: len(value) // 4 + 1] if "M" in flags else value
            self.connection.send(f"ms {key} {len(value)} {flags}\r\n".encode() + value + b"\r\n")
            self.say(verb, self.connection.read_line())
        elif verb == "md":
            self.say(verb, self.connection.ask(f"md {key} " + self.dice.choice(("", "x", "I T30"))))
        elif verb == "mg":
            self.say(verb, self.connection.ask(f"mg {key} s t N30 T500"))
        elif verb == "touch":
            self.say(verb, self.connection.ask(f"touch {key} 500"))
        elif verb == "number":
            self.connection.store("n" + key, b"9" * self.dice.randint(1, 19))
            self.say("incr", self.connection.ask(f"incr n{key} 9223372036854775807"))
        else:
            self.connection.send(f"gat 400 {key}\r\n".encode())
            words = self.connection.read_line().split()
            if words[0] == b"VALUE":
                self.connection.read_exactly(int(words[3]) + 2 + 5)
            self.say(verb, words[0])

    def rest(self) -> str:
        return self.dice.choice(("0 0", "0 0", "5 0", "0 1000"))

    def say(self, verb: str, answer: bytes) -> None:
        if b"ERROR" in answer and b"too large" not in answer:
            self.answers[f"{verb}: {answer.decode()}"] += 1


@pytest.mark.parametrize(
    ("memory", "item", "with_flash"),
    [(8, 1, False), (16, 1, True), (64, 8, False), (64, 8, True)],
)
def test_nothing_is_refused(
    pymc: Program, tmp_path: Path, memory: int, item: int, with_flash: bool
) -> None:
    tmp_path.chmod(0o777)
    # Large values both ways: not through TCP, whose memory a neighbour may have filled.
    args = ["-t", "2", "-m", str(memory), "-I", f"{item}m", "-s", str(tmp_path / "socket")]
    if with_flash:
        args += ["-o", f"ext_page_size=32,ext_wbuf_size={2 * item},ext_item_size=1"]
        args += ["-o", f"ext_path={tmp_path}/flash:256m"]
    with Server(pymc, args) as server, server.connect() as first, server.connect() as second:
        most = (item << 20) - 500
        clients = [Client(first, most, 11), Client(second, most, 12)]
        for number in range(OPERATIONS):
            clients[number % 2].step()
        assert clients[0].answers + clients[1].answers == Counter()
        stats = first.stats()
        assert stats["store_no_memory"] == "0"
        assert int(stats["evictions"]) > 0


def test_what_vanished_is_counted(pymc: Program) -> None:
    with Server(pymc, ["-t", "2", "-m", "16"]) as server, server.connect() as connection:
        dice = random.Random(5)
        stored: set[str] = set()
        # Sizes change, so that memory moves.
        for low, high, count in ((1, 300, 60_000), (5000, 9000, 3000), (1, 60, 60_000)):
            for number in range(count):
                key = f"{low}.{high}.{number}"
                size = dice.randint(low, high)
                connection.send(
                    f"set {key} 0 0 {size} noreply\r\n".encode() + BODY[:size] + b"\r\n"
                )
                stored.add(key)
        connection.ask("mn")
        stats = connection.stats()
        found = 0
        keys = list(stored)
        # No more at a time than sockets hold of replies, however little that is.
        for first in range(0, len(keys), 100):
            some = keys[first : first + 100]
            connection.send(b"".join(b"mg %s k\r\n" % key.encode() for key in some))
            for _ in some:
                found += connection.read_line().startswith(b"HD")
        assert int(stats["slabs_moved"]) > 3
        assert int(stats["curr_items"]) == found
        assert int(stats["evictions"]) == len(stored) - found
