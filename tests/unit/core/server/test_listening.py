"""The pause while as many clients are there as may be: what is counted, and how it ends."""

import socket
import time
from collections.abc import Iterator

import pytest

from pymc.core.ffi import lib
from tests.support.core.round_server import Server
from tests.support.deadline import wait_until

MICROSECONDS = 1_000_000


@pytest.fixture
def server() -> Iterator[Server]:
    """It takes two clients, and lets others wait."""
    made = Server(connections_max=2, maxconns_fast=0)
    made.cache.set_live("connections_max", 2)
    yield made
    made.close()


def pause(server: Server) -> socket.socket:
    """Three clients connect; the third one waits, and the server has noticed."""
    waiting = [socket.create_connection(server.listener.getsockname()) for _ in range(3)]
    server.clients += waiting

    def has_paused() -> bool:
        server.turn()
        return server.counter("listen_disabled_num") == 1

    wait_until(has_paused, "the server to listen no more")
    assert server.counter("curr_connections") == 2
    return waiting[0]


def test_the_time_without_listening_is_counted(server: Server) -> None:
    began = time.monotonic()
    first = pause(server)
    assert server.counter("time_in_listen_disabled_us") == 0
    noticed = time.monotonic()
    for _ in range(100):
        server.turn()
    ending = time.monotonic()
    first.close()

    def has_resumed() -> bool:
        server.turn()
        return server.counter("total_connections") == 3

    wait_until(has_resumed, "the third client to be accepted")
    counted = server.counter("time_in_listen_disabled_us")
    assert (ending - noticed) * MICROSECONDS - 1 <= counted
    assert counted <= (time.monotonic() - began) * MICROSECONDS + 1
    assert server.counter("listen_disabled_num") == 1


def test_a_server_that_stops_does_not_listen_again(server: Server) -> None:
    first = pause(server)
    lib.engine_stop_listening(server.engine)
    first.close()

    def has_one() -> bool:
        server.turn()
        return server.counter("curr_connections") == 1

    wait_until(has_one, "the first client to be forgotten")
    lib.engine_tick(server.engine)
    server.turn()
    assert server.counter("total_connections") == 2
    assert server.counter("time_in_listen_disabled_us") == 0
