"""Kills workers and keeper of a real server 200 times under load that checks every answer."""

import random
import threading

import pytest

from tests.crash.crowd import is_sound
from tests.crash.plan import value_of
from tests.support.connection import ClosedError, Connection
from tests.support.deadline import wait_until
from tests.support.killing import kill_child
from tests.support.programs import Program
from tests.support.server import Server

KILLS = 200
CLIENTS = 3
KEYS = 2000
STILL_ITEMS = 20_000
SIZES = (10, 100, 1000, 20_000, 700_000)


class Client(threading.Thread):
    """Sets, deletes and gets keys of its own, and knows what each may hold."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(name=f"client {number}")
        self.server = server
        self.number = number
        self.dice = random.Random(number)
        self.allowed: dict[bytes, set[bytes | None]] = {}
        self.requests = 0
        self.reconnects = 0
        self.has_ended = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            connection = self.connect()
            while not self.has_ended.is_set():
                try:
                    self.step(connection)
                except TimeoutError:
                    # Not one of the errors below: a server that does not answer hangs.
                    raise
                except (ClosedError, OSError):
                    self.reconnects += 1
                    connection.close()
                    connection = self.connect()
            connection.close()
        except BaseException as error:
            self.error = error

    def connect(self) -> Connection:
        connection = wait_until(self.try_connect, "the server takes connections")
        assert connection is not None
        return connection

    def try_connect(self) -> Connection | None:
        try:
            return self.server.connect()
        except (ClosedError, OSError):
            return None

    def step(self, connection: Connection) -> None:
        """One request; until its answer is there, both its outcomes are possible."""
        self.requests += 1
        key = b"c%d.%d" % (self.number, self.dice.randrange(KEYS))
        chance = self.dice.random()
        if chance < 0.4:
            size = self.dice.choices(SIZES, (30, 30, 20, 5, 1))[0]
            value = value_of(key, self.requests, size)
            self.allowed.setdefault(key, {None}).add(value)
            if connection.store(key.decode(), value) == b"STORED":
                self.allowed[key] = {value}
        elif chance < 0.5:
            self.allowed.setdefault(key, {None}).add(None)
            connection.ask(b"delete " + key)
            self.allowed[key] = {None}
        else:
            found = connection.fetch(key.decode())
            if found is not None:
                assert is_sound(key, found), (key, found[:80])
                assert found in self.allowed.get(key, {None}), (key, found[:80])

    def lost_items(self, connection: Connection) -> int:
        """Keys that must be there and are not."""
        lost = 0
        for key, allowed in self.allowed.items():
            found = connection.fetch(key.decode())
            assert found in allowed or found is None, (key, found and found[:80])
            lost += found is None and None not in allowed
        return lost


def kill_one(server: Server, dice: random.Random) -> None:
    """Kills a worker or the keeper while all of them are there."""

    def pids() -> list[int]:
        try:
            stats = server.stats("pymc")
        except (ClosedError, OSError):
            return []
        workers = [int(v) for k, v in stats.items() if k.startswith("worker_") and "_pid" in k]
        found = [*workers, int(stats["keeper_pid"])]
        return found if min(found) > 1 else []

    victim = dice.choice(wait_until(pids, "all processes are there"))
    if not kill_child(victim, server.pid):
        return


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_hundred_kills(pymc: Program) -> None:
    dice = random.Random(2024)
    with Server(pymc, ["-t", "3", "-m", "1024"]) as server:
        with server.connect() as connection:
            for i in range(STILL_ITEMS):
                key = b"still%d" % i
                value = value_of(key, i, 50)
                connection.send(b"set %s 0 0 %d noreply\r\n%s\r\n" % (key, len(value), value))
            assert connection.ask("mn") == b"MN"
        clients = [Client(server, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(KILLS):
            goal = sum(client.requests for client in clients) + dice.randrange(300)
            wait_until(
                lambda: (
                    sum(c.requests for c in clients) >= goal  # noqa: B023
                    or any(c.error for c in clients)
                ),
                "clients are served",
            )
            kill_one(server, dice)
        for client in clients:
            client.has_ended.set()
        for client in clients:
            client.join()
            assert client.error is None, client.error
        lost, items = 0, STILL_ITEMS
        with clients[0].connect() as connection:
            for client in clients:
                lost += client.lost_items(connection)
                items += sum(None not in allowed for allowed in client.allowed.values())
            for i in range(STILL_ITEMS):
                key = b"still%d" % i
                found = connection.fetch(key.decode())
                assert found in (None, value_of(key, i, 50))
                lost += found is None
        assert lost <= items // 1000, f"{lost} of {items} items are lost"
        # What is lost is what was half written when its writer died.
        assert lost <= KILLS // 10
        assert server.process.poll() is None
