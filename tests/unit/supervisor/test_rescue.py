"""Connections that a late worker was dealt: who gets them, how many, and when nobody does."""

import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pymc.core.arena import Role
from pymc.core.engine import ListenerKind, ListenerOptions
from pymc.messages import Inbox, receive_note, send_note
from pymc.record import replace
from pymc.server_context import ListeningAddress, ServerContext
from pymc.supervisor.children import Child, Children
from pymc.supervisor.guard import Guard
from tests.support.inprocess import in_process

WORKERS = 3
LATE = 2


class Dealt:
    """A server of three workers without processes, each with a listening socket of its own."""

    def __init__(self, context: ServerContext, sockets: tuple[socket.socket, ...]) -> None:
        inboxes = tuple(Inbox.create() for _ in range(WORKERS))
        name = sockets[0].getsockname()
        address = ListeningAddress(ListenerOptions(ListenerKind.TCP), name, socket.AF_INET, sockets)
        self.context = replace(context, worker_inboxes=inboxes, addresses=(address,))
        self.clients: list[socket.socket] = []
        self.guard = self.guard_of(self.context)

    def guard_of(self, context: ServerContext, absent: tuple[int, ...] = ()) -> Guard:
        children = SimpleNamespace(
            living=[], given_up=[], absent=[Child(Role.WORKER, slot) for slot in absent]
        )
        return Guard(context, cast(Children, cast(Any, children)))

    def connect(self, count: int) -> None:
        """Clients come to the socket of the late worker."""
        place = self.context.addresses[0].socket_for(LATE).getsockname()
        self.clients += [socket.create_connection(place) for _ in range(count)]

    def received(self, worker: int) -> int:
        """Takes what is in a worker's inbox; how many connections."""
        count = 0
        while True:
            try:
                _, descriptors = receive_note(self.context.worker_inboxes[worker].reader)
            except BlockingIOError:
                return count
            count += len(descriptors)
            for fd in descriptors:
                os.close(fd)

    @property
    def rescued(self) -> int:
        return self.context.arena.counters(LATE)["connections_rescued"]

    def close(self) -> None:
        self.context.addresses[0].close()
        for client in self.clients:
            client.close()
        for inbox in self.context.worker_inboxes:
            inbox.reader.close()
            inbox.writer.close()


@pytest.fixture
def dealt() -> Iterator[Dealt]:
    sockets = tuple(socket.create_server(("127.0.0.1", 0)) for _ in range(WORKERS))
    for one in sockets:
        one.setblocking(False)
    with in_process(["-t", str(WORKERS)]) as server:
        made = Dealt(server.context, sockets)
        yield made
        made.close()


def test_others_share_what_the_kernel_dealt_to_a_late_worker(dealt: Dealt) -> None:
    dealt.connect(5)
    dealt.guard._rescue(LATE, [0, 1])
    assert sorted(dealt.received(worker) for worker in (0, 1)) == [2, 3]
    assert (dealt.received(LATE), dealt.rescued) == (0, 5)


def test_above_the_limit_they_wait_in_the_queue(dealt: Dealt) -> None:
    settings = replace(dealt.context.settings, connections_max=3)
    dealt.guard = dealt.guard_of(replace(dealt.context, settings=settings))
    dealt.connect(5)
    dealt.guard._rescue(LATE, [0])
    assert (dealt.received(0), dealt.rescued) == (3, 3)


def test_what_lies_in_its_inbox_is_passed_on_as_it_is(dealt: Dealt) -> None:
    client, server = socket.socketpair()
    with client, server:
        inboxes = dealt.context.worker_inboxes
        for note in (b"first", b"second"):
            assert send_note(inboxes[LATE].writer, note, [server.fileno()])
        server.close()
        dealt.guard._rescue(LATE, [0])
        for note in (b"first", b"second"):
            found, (fd,) = receive_note(inboxes[0].reader)
            assert found == note
            os.close(fd)
        # The supervisor keeps no copy.
        assert client.recv(1) == b""
    assert dealt.rescued == 2


def test_a_call_for_watchers_is_no_connection(dealt: Dealt) -> None:
    assert send_note(dealt.context.worker_inboxes[LATE].writer, b"w", [])
    dealt.guard._rescue(LATE, [0])
    assert (dealt.received(LATE), dealt.received(0), dealt.rescued) == (0, 0, 0)


def test_what_is_cut_off_is_said_and_the_next_is_passed_on(
    dealt: Dealt, capfd: pytest.CaptureFixture[str]
) -> None:
    client, server = socket.socketpair()
    with client, server:
        inboxes = dealt.context.worker_inboxes
        for note in (b"x" * 1000, b"good"):
            assert send_note(inboxes[LATE].writer, note, [server.fileno()])
        dealt.guard._rescue(LATE, [0])
    assert dealt.received(0) == 1
    assert "a connection is lost on its way to worker 2" in capfd.readouterr().err


def test_a_full_inbox_loses_the_connection_and_does_not_count_it(dealt: Dealt) -> None:
    client, server = socket.socketpair()
    with client, server:
        inboxes = dealt.context.worker_inboxes
        while send_note(inboxes[0].writer, b"full", []):
            pass
        assert send_note(inboxes[LATE].writer, b"note", [server.fileno()])
        server.close()
        dealt.guard._rescue(LATE, [0])
        assert client.recv(1) == b""
    assert dealt.rescued == 0


def test_of_a_shared_socket_others_accept_anyway(dealt: Dealt) -> None:
    address = dealt.context.addresses[0]
    shared = replace(address, sockets=(address.socket_for(LATE),))
    dealt.guard = dealt.guard_of(replace(dealt.context, addresses=(shared,)))
    dealt.connect(1)
    dealt.guard._rescue(LATE, [0])
    assert dealt.received(0) == 0


def test_when_all_workers_are_late_clients_wait(dealt: Dealt) -> None:
    dealt.connect(1)
    dealt.guard_of(dealt.context, absent=(0, 1, LATE)).look()
    assert dealt.rescued == 0
    # Once one is there again, it gets what the others were dealt.
    dealt.guard_of(dealt.context, absent=(1, LATE)).look()
    assert (dealt.received(0), dealt.rescued) == (1, 1)
