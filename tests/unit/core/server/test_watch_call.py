"""Workers call those with watchers before what they note goes round their rings."""

import socket
from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.workers import Workers

# Of 64 bytes and more each, and a ring has 4096.
RIPE_GETS = 20
MISS = b"END\r\n"


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.close()


def watch(workers: Workers, worker: int) -> None:
    """The worker's client watches from here on."""
    workers.clients[worker].sendall(b"watch\r\n")
    workers.serve(worker)
    request = ffi.new("struct conn_request *")
    assert lib.engine_next_request(workers.engines[worker], request)
    status = lib.engine_begin_watch(workers.engines[worker], request.connection, lib.WATCH_FETCHERS)
    assert status == 0
    assert workers.clients[worker].recv(4) == b"OK\r\n"


def get(workers: Workers, worker: int, count: int) -> None:
    client = workers.clients[worker]
    client.sendall(b"get a\r\n" * count)
    workers.serve(worker)
    assert client.recv(65536) == MISS * count


def calls(workers: Workers, worker: int) -> int:
    """Takes what lies in its inbox."""
    found = 0
    while True:
        try:
            found += len(workers.inboxes[worker][0].recv(64, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return found


def test_another_worker_is_called_once(workers: Workers) -> None:
    workers.connect(2)
    workers.serve(1)
    watch(workers, 1)
    get(workers, 0, 2)
    assert calls(workers, 1) == 0
    get(workers, 0, RIPE_GETS)
    get(workers, 0, RIPE_GETS)
    assert calls(workers, 1) == 1
    # It was lost: the timer looks, and is called again from there on.
    workers.serve(1)
    assert workers.clients[1].recv(65536).count(b"item_get") == 2 + 2 * RIPE_GETS
    get(workers, 0, RIPE_GETS)
    workers.serve(1)
    assert workers.clients[1].recv(65536).count(b"item_get") == RIPE_GETS
    get(workers, 0, RIPE_GETS)
    assert calls(workers, 1) == 1


def test_who_has_no_watchers_is_not_called(workers: Workers) -> None:
    workers.connect(2)
    workers.serve(1)
    watch(workers, 1)
    workers.clients[1].close()
    workers.serve(1)
    get(workers, 0, RIPE_GETS)
    assert calls(workers, 1) == 0


def test_a_pipeline_stops_for_the_watchers_of_its_own_worker(workers: Workers) -> None:
    workers.connect(3)
    watch(workers, 0)
    client = workers.clients[2]
    client.sendall(b"get a\r\n" * 1000)
    workers.serve(0)
    assert workers.clients[0].recv(1 << 20).count(b"item_get") == 1000
