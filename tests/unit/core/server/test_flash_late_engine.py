"""The engine with a device that never answers: its clients go on, and nothing wakes it but time."""

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_engine_server import KINDS, Server, shown
from tests.support.deadline import WAIT_SECONDS, wait_until

pytestmark = [
    pytest.mark.debug,
    pytest.mark.debug,
]

TIMEOUT_MS = 20
# Long enough for whoever waits so long to fail.
FOR_EVER_MS = 10 * int(WAIT_SECONDS * 1000)


@pytest.fixture(params=KINDS)
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(tmp_path, KINDS[request.param])
    made.fill(30)
    made.tier.set_live("ext_read_timeout_ms", TIMEOUT_MS)
    yield made
    # What hangs when the reader closes hangs until the process ends.
    set_fault(made, lib.FLASH_FAULT_NONE)
    wait_until(lambda: is_drained(made), "the device gives back what it has")
    made.close()


def set_fault(server: Server, kind: int) -> None:
    fault = ffi.new("struct flash_fault *")
    fault.kind, fault.on_reads, fault.path = kind, True, lib.FLASH_PATHS_MAX
    lib.flash_fault_set(server.tier.flash, fault)


def is_drained(server: Server) -> bool:
    """Whether the device has no reads any more, after a look."""
    lib.engine_tick(server.engine)
    state = ffi.new("struct flash_reader_state *")
    lib.engine_flash_state(server.engine, state)
    return bool(state.reads_given_up == state.reads_under_way == state.reads_queued == 0)


def test_the_descriptor_tells_of_the_deadline(server: Server) -> None:
    """The loop sleeps at the engine's descriptor; nobody else says anything."""
    client = server.connect()
    set_fault(server, lib.FLASH_FAULT_HANG)
    client.sendall(b"get k1 k2\r\n")
    server.turn(WAIT_SECONDS)
    while lib.flash_path_set_late(server.tier.flash, 0, False) is False:
        assert select.select([server.fd], [], [], WAIT_SECONDS)[0], "nothing woke the loop"
        server.turn()
    assert client.recv(100) == b"END\r\n"


def test_the_wait_for_clients_ends_at_the_deadline(server: Server) -> None:
    """It would go on as long as nobody says anything."""
    client = server.connect()
    set_fault(server, lib.FLASH_FAULT_HANG)
    found: list[bytes] = []

    def talk() -> None:
        client.setblocking(True)
        client.settimeout(WAIT_SECONDS)
        client.sendall(b"get k1\r\n")
        try:
            found.append(client.recv(100))
        finally:
            # A command for Python ends the engine's stay.
            client.sendall(b"stats\r\n")

    thread = threading.Thread(target=talk)
    thread.start()
    wants = 0
    while not wants:
        # A signal, of which the kernel may send some for io_uring, ends a stay too.
        wants = lib.engine_stay(server.engine, FOR_EVER_MS, FOR_EVER_MS)
    thread.join()
    assert found == [b"END\r\n"]
    assert wants & lib.ENGINE_REQUESTS


def test_everybody_goes_on(server: Server) -> None:
    """More clients than the device takes reads; then it answers again."""
    clients = [server.connect() for _ in range(80)]
    set_fault(server, lib.FLASH_FAULT_HANG)
    for number, client in enumerate(clients):
        client.sendall(b"get k%d\r\ntouch k%d 100\r\n" % (number % 15, 15 + number % 15))
    for client in clients:
        assert server.receive(client, b"NOT_FOUND\r\n") == b"END\r\nNOT_FOUND\r\n"
    set_fault(server, lib.FLASH_FAULT_NONE)
    server.tier.set_live("ext_read_timeout_ms", FOR_EVER_MS)
    wait_until(lambda: is_drained(server), "the device gives back what it has")
    assert lib.flash_path_set_late(server.tier.flash, 0, False)
    for number in range(15):
        line = b"get k%d k%d\r\n" % (number, 15 + number)
        assert server.ask(clients[0], line, b"END\r\n") == shown(number) + b"END\r\n"


def test_clients_that_leave_meanwhile(server: Server) -> None:
    clients: list[socket.socket] = [server.connect() for _ in range(10)]
    set_fault(server, lib.FLASH_FAULT_HANG)
    for number, client in enumerate(clients):
        client.sendall(b"get k%d\r\n" % number)
        server.turn()
    for client in clients[1:]:
        client.close()
    assert server.receive(clients[0], b"END\r\n") == b"END\r\n"
