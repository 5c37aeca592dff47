"""Long answers of a real server: the keeper gives them, and nobody holds others up."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.support.connection import ClosedError, Connection
from tests.support.deadline import wait_until
from tests.support.programs import Program
from tests.support.server import Server

pytestmark = pytest.mark.tcp_memory

DUMP = "lru_crawler mgdump all\r\n"
# More than sockets hold of lines.
ITEMS = 400_000


def fill(client: Connection, count: int = ITEMS) -> None:
    for first in range(0, count, 5000):
        keys = range(first, min(first + 5000, count))
        client.send(b"".join(b"set k%d 0 0 1 noreply\r\nx\r\n" % key for key in keys))
    assert client.ask("mn") == b"MN"


def dump(client: Connection, end: bytes = b"EN\r\n") -> list[bytes]:
    client.send(DUMP.encode())
    text = b""
    while not text.endswith(end):
        piece = client.socket.recv(1 << 20)
        assert piece, "the server hung up"
        text += piece
    return text.splitlines()[:-1]


def keeper_pid(server: Server) -> int:
    return int(server.stats("pymc")["keeper_pid"])


def sockets_of(pid: int) -> int:
    found = 0
    for name in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(name).startswith("socket:")
    return found


def test_a_dump_and_what_comes_after_it(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server, server.connect() as client:
        fill(client)
        sockets = sockets_of(keeper_pid(server))
        for _ in range(2):
            lines = dump(client)
            assert (len(lines), len(set(lines))) == (ITEMS, ITEMS)
            assert client.fetch("k7") == b"x"
        assert sockets_of(keeper_pid(server)) == sockets
        # What a client sends meanwhile is answered behind the dump.
        client.send(DUMP.encode())
        wait_until(lambda: sockets_of(keeper_pid(server)) == sockets + 2, "it is under way")
        client.send(b"get k8\r\n")
        text = b""
        while not text.endswith(b"x\r\nEND\r\n"):
            text += client.socket.recv(1 << 20)
        assert text.endswith(b"\r\nEN\r\nVALUE k8 0 1\r\nx\r\nEND\r\n")


def test_clients_that_do_not_read_hold_nobody_up(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server, server.connect() as client:
        fill(client)
        keeper = keeper_pid(server)
        sockets = sockets_of(keeper)
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(server.connect()).send(DUMP.encode())
            wait_until(lambda: sockets_of(keeper) == sockets + 10, "five dumps are under way")
            assert len(dump(client)) == ITEMS
            assert client.fetch("k7") == b"x"
        wait_until(lambda: sockets_of(keeper) == sockets, "who leaves ends its dump")
        assert keeper_pid(server) == keeper


@pytest.mark.parametrize("who", ["keeper", "worker"])
def test_a_death_in_the_middle_cuts_the_dump_off(pymc: Program, who: str) -> None:
    with Server(pymc, ["-t", "1"]) as server, server.connect() as client:
        fill(client)
        keeper, [worker] = keeper_pid(server), server.worker_pids()
        sockets = sockets_of(keeper)
        with server.connect() as reader:
            reader.send(DUMP.encode())
            wait_until(lambda: sockets_of(keeper) == sockets + 2, "the dump is under way")
            os.kill(keeper if who == "keeper" else worker, signal.SIGKILL)
            text = b""
            with contextlib.suppress(ClosedError):
                text = reader.read_to_close()
            assert not text.endswith(b"EN\r\n")
        # The next one is whole again.
        with server.connect() as client_after:
            wait_until(lambda: keeper_pid(server), "there is a keeper")
            assert len(dump(client_after)) == ITEMS
