"""Clients that watch: rows of WATCHING and WATCHING_SENDING."""

from pymc.core.ffi import lib
from tests.support.core.conn_rig import MANY, Client, Rig


def watcher(rig: Rig, behind: bytes = b"") -> Client:
    client = rig.client()
    client.say(b"watch\r\n" + behind)
    rig.serve()
    assert lib.memory_loop_watch(rig.loop, rig.request())
    rig.serve()
    assert client.hear() == b"OK\r\n"
    return client


def send(client: Client, lines: bytes) -> bool:
    return bool(lib.memory_client_watch_send(client.pointer, lines, len(lines)))


def test_watching(rig: Rig) -> None:
    client = watcher(rig, b"get a\r\n")
    assert (client.state, client.shown) == ("WATCHING", lib.CONNECTION_WATCH)
    assert client.wants == (True, False)
    assert client.view.waiting_bytes == 0
    assert client.ask(b"get a\r\nquit\r\n" * 10_000) == b""
    assert send(client, b"line\n")
    assert (client.hear(), client.state) == (b"line\n", "WATCHING")
    assert rig.counter("cmd_get") == 0


def test_lines_wait(rig: Rig) -> None:
    client = watcher(rig)
    client.take(3)
    assert send(client, b"line\n")
    assert (client.state, client.shown) == ("WATCHING_SENDING", lib.CONNECTION_WATCH)
    assert client.wants == (True, True)
    assert send(client, b"second\n")
    assert client.ask(b"quit\r\n") == b"lin"
    assert client.state == "WATCHING_SENDING"
    client.take(MANY)
    rig.serve()
    assert (client.hear(), client.state) == (b"e\nsecond\n", "WATCHING")
    assert client.wants == (True, False)


def test_watcher_ends(rig: Rig) -> None:
    quiet, busy, broken = (watcher(rig) for _ in range(3))
    busy.take(3)
    assert send(busy, b"line\n")
    quiet.end()
    busy.end()
    broken.break_off()
    rig.serve()
    assert [one.state for one in (quiet, busy, broken)] == ["CLOSED"] * 3
    assert rig.counter("curr_connections") == 0
    slow = watcher(rig)
    slow.take(0)
    assert send(slow, b"line\n")
    slow.break_off()
    rig.serve()
    assert slow.state == "CLOSED"


def test_it_is_never_idle(rig: Rig) -> None:
    rig.cache.set_live("idle_timeout_seconds", 10)
    client = watcher(rig)
    rig.tick(1000)
    assert client.state == "WATCHING"
