"""Which worker a new connection goes to, and where it counts when it goes another way."""

import contextlib
import os
import select
import socket
from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.workers import WORKERS, Workers
from tests.support.deadline import scaled


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.close()


def test_connections_go_to_who_has_the_fewest(workers: Workers) -> None:
    workers.connect(6)
    assert workers.loads == [3, 3]
    assert workers.count("connections_handed") == 3
    assert workers.count("connections_past_late") == 0


def test_who_is_late_gets_none(workers: Workers) -> None:
    lib.proc_set_late(workers.cache.arena, 1, True)
    workers.connect(4)
    assert workers.loads == [4, 0]
    # The first one would have been the first worker's anyway.
    assert workers.count("connections_past_late") == 3
    lib.proc_set_late(workers.cache.arena, 1, False)
    workers.connect(4)
    assert workers.loads == [4, 4]


def test_who_is_late_serves_itself_what_it_accepts(workers: Workers) -> None:
    for slot in range(WORKERS):
        lib.proc_set_late(workers.cache.arena, slot, True)
    workers.connect(2)
    assert workers.loads == [2, 0]


def test_what_is_passed_on_counts_where_it_is_served(workers: Workers) -> None:
    """The note of a connection for worker 1 is taken out of its inbox and given to worker 0."""
    workers.connect(2)
    assert workers.loads == [1, 1]
    note, descriptors, _, _ = socket.recv_fds(workers.inboxes[1][0], 64, 1)
    socket.send_fds(workers.inboxes[0][1], [note], descriptors)
    socket.socket(fileno=descriptors[0]).close()
    workers.serve(0)
    assert workers.loads == [2, 0]
    workers.clients[1].sendall(b"mn\r\n")
    workers.serve(0)
    assert workers.clients[1].recv(10) == b"MN\r\n"


def test_one_that_lost_its_descriptor_is_not_counted(workers: Workers) -> None:
    workers.connect(2)
    note, descriptors, _, _ = socket.recv_fds(workers.inboxes[1][0], 64, 1)
    socket.socket(fileno=descriptors[0]).close()
    workers.inboxes[0][1].send(note)
    workers.serve(0)
    assert workers.loads == [1, 0]


@pytest.mark.parametrize("note", [b"short", b"\xff" * 40], ids=["short", "unknown"])
def test_what_nobody_here_wrote_is_closed(workers: Workers, note: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            socket.send_fds(workers.inboxes[0][1], [note], [theirs.fileno()])
        workers.serve(0)
        ours.settimeout(scaled(5))
        assert ours.recv(10) == b""
    assert workers.loads == [0, 0]


def test_one_that_was_accepted_elsewhere_is_counted_when_it_is_taken(workers: Workers) -> None:
    client = socket.create_connection(workers.listener.getsockname())
    workers.clients.append(client)
    assert select.select([workers.listener], [], [], 5)[0]
    accepted, _ = workers.listener.accept()
    with accepted:
        inbox = workers.inboxes[1][1].fileno()
        assert lib.engine_give_connection(inbox, accepted.fileno(), 0)
        # As the engine wants it: it is one open file for all who hold it.
        assert not os.get_blocking(accepted.fileno())
    assert workers.loads == [0, 0]
    workers.serve(1)
    assert workers.loads == [0, 1]
    client.sendall(b"mn\r\n")
    workers.serve(1)
    assert client.recv(10) == b"MN\r\n"


def test_a_full_inbox_is_said(workers: Workers) -> None:
    inbox = workers.inboxes[1][1]
    inbox.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(10_000):
            inbox.send(b"x" * 1000)
    assert not lib.engine_give_connection(inbox.fileno(), workers.listener.fileno(), 0)


def test_turns_and_ticks_are_beats(workers: Workers) -> None:
    before = workers.beats(0)
    lib.engine_tick(workers.engines[0])
    after_tick = workers.beats(0)
    assert after_tick > before
    workers.connect(1)
    assert workers.beats(0) > after_tick
