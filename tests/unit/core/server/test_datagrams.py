"""Requests by UDP: what is answered, what is dropped, and that nobody can be flooded by it."""

import socket
import struct
from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.engine_server import Server
from tests.support.core.listening import PLAIN_TCP
from tests.support.datagrams import RECEIVE_BYTES, request, whole

TOO_LARGE = b"SERVER_ERROR reply too large for UDP"
REFUSED = b"CLIENT_ERROR not permitted\r\n"
UNSEEN = "127.0.0.9"


class UdpServer(Server):
    """An engine that also receives datagrams."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.door = socket.socket(family, socket.SOCK_DGRAM)
        self.door.bind((host, 0))
        self.door.setblocking(False)
        self.door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECEIVE_BYTES)
        options = ffi.new("struct engine_listener_options *", {"kind": lib.ENGINE_UDP})
        assert lib.engine_listen(self.engine, self.door.fileno(), options) == 0

    def close(self) -> None:
        super().close()
        self.door.close()

    def client(self, host: str = "127.0.0.1", *, is_seen: bool = True) -> socket.socket:
        """A socket for datagrams; its address was there over TCP or not."""
        if is_seen:
            with socket.create_connection(
                self.listener.getsockname(), source_address=(host, 0)
            ) as seen:
                self.serve()
                assert seen
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        client.bind((host, 0))
        client.connect(self.door.getsockname())
        client.setblocking(False)
        self.clients.append(client)
        return client

    def datagrams(self, client: socket.socket) -> list[bytes]:
        self.serve()
        found = []
        while True:
            try:
                found.append(client.recv(65536))
            except BlockingIOError:
                return found

    def ask(self, client: socket.socket, body: bytes) -> bytes:
        client.send(request(body))
        return whole(self.datagrams(client))

    def counter(self, name: str) -> int:
        return self.store.counters()[name]


@pytest.fixture
def server() -> Iterator[UdpServer]:
    made = UdpServer()
    yield made
    made.close()


def test_each_datagram_is_a_conversation(server: UdpServer) -> None:
    client = server.client()
    assert server.ask(client, b"set a 0 0 1\r\nx\r\n") == b"STORED\r\n"
    assert server.ask(client, b"get a\r\n") == b"VALUE a 0 1\r\nx\r\nEND\r\n"
    assert (
        server.ask(client, b"mg a v\r\nmn\r\nincr b 1\r\n") == b"VA 1\r\nx\r\nMN\r\nNOT_FOUND\r\n"
    )
    assert server.ask(client, b"set a 0 0 1 noreply\r\ny\r\n") == b""
    # What is not finished is not waited for, and is nothing that the next one goes on with.
    for half in (b"get a", b"set a 0 0 10\r\nxx", b"set a 0 0 100000\r\n" + b"x" * 50000, b"gets "):
        assert server.ask(client, half) == b""
    assert server.ask(client, b"get a\r\n") == b"VALUE a 0 1\r\ny\r\nEND\r\n"
    assert server.ask(client, b"mn\r\nquit\r\nmn\r\n") == b"MN\r\n"
    assert server.ask(client, b"nonsense\r\n") == b"ERROR\r\n"
    assert server.counter("udp_requests") == 11


def test_the_number_of_a_request_comes_back(server: UdpServer) -> None:
    client = server.client()
    for number in (0, 1, 0xFFFF):
        client.send(request(b"mn\r\n", number=number))
        assert whole(server.datagrams(client), number) == b"MN\r\n"
    client.send(struct.pack("!HHHH", 9, 5, 1, 77) + b"mn\r\n")
    assert server.datagrams(client) == [struct.pack("!HHHH", 9, 0, 1, 0) + b"MN\r\n"]


def test_what_is_no_request_is_dropped(server: UdpServer) -> None:
    client = server.client()
    wrong = [b"", b"x", b"1234567", request(b"")]
    wrong += [request(b"mn\r\n", total=total) for total in (0, 2, 0xFFFF)]
    for datagram in wrong:
        client.send(datagram)
        assert server.datagrams(client) == []
    assert server.counter("udp_dropped") == len(wrong)
    assert server.counter("udp_requests") == 0
    assert server.ask(client, b"mn\r\n") == b"MN\r\n"


def test_a_large_answer_is_cut(server: UdpServer) -> None:
    client = server.client()
    value = bytes(range(256)) * 3900
    server.store.put(b"large", value)
    client.send(request(b"get large\r\n"))
    datagrams = server.datagrams(client)
    answer = b"VALUE large 0 %d\r\n%s\r\nEND\r\n" % (len(value), value)
    assert whole(datagrams) == answer
    assert len(datagrams) == -(-len(answer) // 1392) > 700
    assert {len(datagram) for datagram in datagrams[:-1]} == {1400}
    assert server.counter("udp_sent") == len(datagrams)


def test_many_keys_and_more_than_fits(server: UdpServer) -> None:
    client = server.client()
    server.store.put(b"k", b"v" * 20_000)
    one = b"VALUE k 0 20000\r\n" + b"v" * 20_000 + b"\r\n"
    assert server.ask(client, b"get" + b" k" * 40 + b"\r\n") == one * 40 + b"END\r\n"
    assert server.ask(client, b"get" + b" k" * 1000 + b"\r\n") == TOO_LARGE + b"\r\n"
    assert server.counter("udp_refused") == 1
    assert server.ask(client, b"get missing\r\n") == b"END\r\n"


@pytest.mark.parametrize("value_bytes", [0, 50, 100, 150, 1000, 100_000])
def test_an_address_that_was_not_seen_gets_ten_times(server: UdpServer, value_bytes: int) -> None:
    server.store.put(b"k", b"v" * value_bytes)
    client = server.client(UNSEEN, is_seen=False)
    for keys in (1, 5, 100, 3000):
        asked = request(b"get" + b" k" * keys + b"\r\n")
        client.send(asked)
        datagrams = server.datagrams(client)
        assert sum(map(len, datagrams)) <= 10 * len(asked)
        answer = (b"VALUE k 0 %d\r\n" % value_bytes + b"v" * value_bytes + b"\r\n") * keys
        answer += b"END\r\n"
        needed = len(answer) + 8 * -(-len(answer) // 1392)
        expected = answer if needed <= 10 * len(asked) else TOO_LARGE + b"\r\n"
        assert whole(datagrams) == expected


def test_ten_times_is_the_last_byte(server: UdpServer) -> None:
    client = server.client(UNSEEN, is_seen=False)
    # 15 bytes ask, 8 of the header and 22 around the value answer.
    for value_bytes, fits in ((120, True), (121, False)):
        server.store.put(b"k", b"v" * value_bytes)
        assert (server.ask(client, b"get k\r\n") != TOO_LARGE + b"\r\n") == fits


def test_who_was_seen_or_is_not_limited_gets_it_all(server: UdpServer) -> None:
    server.store.put(b"k", b"v" * 10_000)
    client = server.client(UNSEEN, is_seen=False)
    assert server.ask(client, b"get k\r\n") == TOO_LARGE + b"\r\n"
    seen = server.client(UNSEEN)
    assert len(server.ask(seen, b"get k\r\n")) > 10_000
    assert len(server.ask(client, b"get k\r\n")) > 10_000
    other = server.client("127.0.0.10", is_seen=False)
    assert server.ask(other, b"get k\r\n") == TOO_LARGE + b"\r\n"
    server.cache.set_live("udp_unlimited", 1)
    assert len(server.ask(other, b"get k\r\n")) > 10_000


def test_a_binary_request_is_refused_in_its_protocol() -> None:
    head = struct.pack("!BBHBBHIIQ", 0x80, 0x0C, 1, 0, 0, 0, 1, 0xDEADBEEF, 0) + b"k"
    place = ffi.new("char[]", 128)
    count = lib.reply_put_too_large(place, head, len(head), TOO_LARGE)
    found = bytes(ffi.buffer(place, count))
    assert found[24:] == TOO_LARGE
    assert struct.unpack("!BBHBBHIIQ", found[:24]) == (
        *(0x81, 0x0C, 0, 0, 0, 3),
        *(len(TOO_LARGE), 0xDEADBEEF, 0),
    )
    count = lib.reply_put_too_large(place, head, 23, TOO_LARGE)
    assert bytes(ffi.buffer(place, count)) == TOO_LARGE + b"\r\n"


@pytest.mark.parametrize("line", [b"flush_all", b"shutdown", b"watch", b"verbosity 1", b"lru mode"])
def test_nobody_administers_by_udp(server: UdpServer, line: bytes) -> None:
    server.store.put(b"k", b"v")
    client = server.client()
    assert server.ask(client, line + b"\r\n") == REFUSED
    assert server.ask(client, b"get k\r\n") == b"VALUE k 0 1\r\nv\r\nEND\r\n"


def test_statistics_are_answered_by_python(server: UdpServer) -> None:
    client = server.client()
    client.send(request(b"mn\r\nstats\r\nmn\r\n"))
    assert server.datagrams(client) == []
    asked = ffi.new("struct conn_request *")
    assert lib.engine_next_request(server.engine, asked)
    assert bytes(ffi.buffer(asked.line, asked.line_bytes)) == b"stats"
    ticket = asked.connection
    # It has no descriptor that could be lent.
    assert lib.engine_lend(server.engine, ticket, server.door.fileno()) == -1
    assert lib.engine_reply(server.engine, ticket, b"STAT a 1\r\n", 10, lib.CONN_ANSWER_MORE)
    more, named = ffi.new("bool *"), ffi.new("uint64_t *")
    assert lib.engine_next_stream(server.engine, named, more)
    assert (named[0], more[0]) == (ticket, True)
    assert lib.engine_reply(server.engine, ticket, b"END\r\n", 5, lib.CONN_ANSWER_DONE)
    server.turn()
    assert whole(server.datagrams(client)) == b"MN\r\nSTAT a 1\r\nEND\r\nMN\r\n"


def test_those_that_wait_are_bounded(server: UdpServer) -> None:
    client = server.client()
    for _ in range(10):
        for _ in range(30):
            client.send(request(b"stats\r\n"))
        server.serve()
    assert server.counter("udp_dropped") == 300 - 256
    asked = ffi.new("struct conn_request *")
    answered = 0
    while lib.engine_next_request(server.engine, asked):
        assert lib.engine_reply(server.engine, asked.connection, b"END\r\n", 5, 0)
        answered += 1
    server.turn()
    assert [whole([one]) for one in server.datagrams(client)] == [b"END\r\n"] * answered
    assert answered == 256
    assert server.ask(client, b"mn\r\n") == b"MN\r\n"


def test_a_held_bucket_is_waited_for(server: UdpServer) -> None:
    holder = server.cache.open(1)
    server.store.put(b"k", b"1")
    client = server.client()
    holder.hold(b"k")
    client.send(request(b"incr k 1\r\n"))
    for _ in range(20):
        server.turn_once()
    assert server.receive_some(client) == b""
    holder.release(b"k")
    while not server.is_readable(client):
        server.turn_once()
    assert whole(server.datagrams(client)) == b"2\r\n"


def test_they_are_no_connections(server: UdpServer) -> None:
    client = server.client()
    opened = server.counter("total_connections")
    for _ in range(200):
        assert server.ask(client, b"mn\r\n") == b"MN\r\n"
    assert server.counter("total_connections") == opened
    assert server.counter("curr_connections") == 0
    # Nor does a full house shut this door.
    server.cache.set_live("connections_max", 1)
    server.cache.set_live("maxconns_fast", 0)
    for _ in range(3):
        server.connect().sendall(b"mn\r\n")
    server.serve()
    assert server.ask(client, b"mn\r\n") == b"MN\r\n"


def test_a_burst_is_taken_in_turns(server: UdpServer) -> None:
    client = server.client()
    server.store.put(b"k", b"v")
    for _ in range(100):
        client.send(request(b"get k\r\n"))
    got = server.datagrams(client)
    assert [whole([one]) for one in got] == [b"VALUE k 0 1\r\nv\r\nEND\r\n"] * 100


def test_the_end_leaves_nothing(server: UdpServer) -> None:
    client = server.client()
    client.send(request(b"stats\r\n"))
    server.serve()
    lib.engine_stop_listening(server.engine)
    client.send(request(b"mn\r\n"))
    assert server.datagrams(client) == []


def test_ipv6() -> None:
    try:
        server = UdpServer("::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.connect(server.door.getsockname()[:2])
        client.setblocking(False)
        assert server.ask(client, b"mn\r\nversion\r\n") == b"MN\r\nVERSION 1.6.38\r\n"
        assert server.ask(client, b"get " + b"x" * 200 + b"\r\n") == b"END\r\n"
    server.close()


def test_without_udp_nothing_is_remembered() -> None:
    server = Server()
    try:
        server.connect().sendall(b"mn\r\n")
        server.serve()
        address = ffi.new("struct client_address *", {"family": 4, "bytes": [127, 0, 0, 1]})
        assert not lib.addresses_was_seen(server.store.store, address)
        assert PLAIN_TCP.kind == lib.ENGINE_TCP
    finally:
        server.close()
