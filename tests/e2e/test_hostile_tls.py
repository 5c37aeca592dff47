"""Hostile clients of a TLS port: each is counted and closed, and the others never notice."""

import contextlib
import os
import random
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.certs import Authority, Names, write_world
from tests.support.connection import ClosedError, Connection
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

SEED = 77_002
MEBIBYTE = 1 << 20
ANSWER_SECONDS = scaled(5.0)
HANDSHAKE_SECONDS = 1


class World:
    """A server with TLS beside a plain port, its certificates, and clients of both."""

    def __init__(self, pymc: Program, folder: Path, *more: str) -> None:
        self.paths = write_world(folder)
        options = [f"ssl_chain_cert={self.paths['chain']}", f"ssl_key={self.paths['key']}"]
        options += [f"ssl_handshake_timeout={HANDSHAKE_SECONDS}", *more]
        # The first port is where the rig asks whether the server answers.
        listen = ["-l", "notls:127.0.0.1:-1,127.0.0.1:-1"]
        # Who is not root may look into a server's memory only where it does not hide it.
        shown = ["-r"] if os.geteuid() != 0 else []
        self.server = Server(pymc, ["-t", "2", "-Z", "-o", ",".join(options), *listen, *shown])
        (_, self.plain_port), (_, self.tls_port) = self.server.ports

    def raw(self) -> Connection:
        """A connection to the TLS port on which nothing was said."""
        return Connection(("127.0.0.1", self.tls_port), ANSWER_SECONDS)

    def plain(self) -> Connection:
        return Connection(("127.0.0.1", self.plain_port), ANSWER_SECONDS)

    def context(self, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.paths["ca"]))
        if client:
            context.load_cert_chain(*client)
        return context

    def encrypted(self, context: ssl.SSLContext | None = None) -> Connection:
        """A connection behind a whole handshake."""
        connection = self.raw()
        try:
            connection.socket = (context or self.context()).wrap_socket(
                connection.socket, server_hostname="localhost", suppress_ragged_eofs=False
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def errors(self) -> int:
        with self.plain() as connection:
            return int(connection.stats()["ssl_handshake_errors"])

    def connections(self) -> int:
        with self.plain() as connection:
            return int(connection.stats()["curr_connections"])

    def private_bytes(self) -> int:
        total = 0
        for process in [psutil.Process(self.server.pid), *self.server.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().uss
        return total


@pytest.fixture
def world(pymc: Program, tmp_path: Path) -> Iterator[World]:
    """One whose bystander, a good client, is looked at once more at the end."""
    found = World(pymc, tmp_path)
    with found.server, found.encrypted() as bystander:
        assert bystander.store("bystander", b"here") == b"STORED"
        yield found
        assert bystander.fetch("bystander") == b"here"
        stats = bystander.stats("pymc")
        assert sum(int(value) for key, value in stats.items() if key.endswith("_restarts")) == 0
        assert "Traceback" not in found.server.stderr


def abort(connection: Connection) -> None:
    """Closes with a reset instead of an orderly end."""
    linger = struct.pack("ii", 1, 0)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def hello_of(context: ssl.SSLContext) -> bytes:
    """The first bytes of a client's handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def send_and_see_the_end(world: World, data: bytes) -> bytes:
    """What a client that is no good gets before the server closes."""
    with world.raw() as connection:
        with contextlib.suppress(ClosedError):
            connection.send(data)
        return connection.read_to_close()


JUNK = {
    "plain text": b"get a\r\nget b\r\n",
    "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "binary request": b"\x80\x00" + bytes(22),
    "record longer than allowed": b"\x16\x03\x01\xff\xff" + bytes(2000),
    "empty records": b"\x16\x03\x01\x00\x00" * 200,
    "alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "data before a handshake": b"\x17\x03\x03\x00\x05hello",
    "old version": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40),
    "zeroes": bytes(4096),
}


@pytest.mark.parametrize("data", JUNK.values(), ids=list(JUNK))
def test_junk_in_place_of_a_hello(world: World, data: bytes) -> None:
    before = world.errors()
    reply = send_and_see_the_end(world, data)
    # An alert, if anything; never an answer in plain text.
    assert reply == b"" or reply[0] == 0x15, reply
    assert world.errors() == before + 1


def test_random_junk_does_not_end_others(world: World) -> None:
    chance = random.Random(SEED)
    hello = hello_of(world.context())
    for _ in range(60):
        broken = bytearray(hello)
        for _ in range(chance.randrange(1, 8)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        with world.raw() as connection:
            with contextlib.suppress(ClosedError):
                connection.send(bytes(broken[: chance.randrange(1, len(broken))]))
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
            connection.read_to_close()
        with world.encrypted() as good:
            assert good.fetch("bystander") == b"here", f"seed {SEED}"


@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
def test_early_close_in_every_state(world: World, *, is_reset: bool) -> None:
    """After so many bytes of a good handshake and of the request behind it."""
    context = world.context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    hello_bytes = len(hello_of(context))
    for cut in [0, 1, 5, 6, hello_bytes // 2, hello_bytes - 1, hello_bytes]:
        connection = world.raw()
        connection.send(hello_of(context)[:cut])
        if is_reset:
            abort(connection)
        else:
            connection.finish()
            connection.close()
    # Behind the hello: with the server's answer taken, and the client's Finished cut short.
    for cut in [1, 20, 60]:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        connection = world.raw()
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.send(outgoing.read())
                incoming.write(connection.socket.recv(65536))
        client.write(b"get bystander\r\n")
        connection.send(outgoing.read()[:cut])
        if is_reset:
            abort(connection)
        else:
            connection.finish()
            connection.close()
    wait_until(lambda: world.connections() == 2, "only the good ones are left")


def test_slow_handshakes_end(world: World) -> None:
    """Silent ones and those who say a byte now and then: nobody holds a place for ever."""
    hello = hello_of(world.context())
    silent = [world.raw() for _ in range(50)]
    slow = [world.raw() for _ in range(50)]
    sent = 0
    try:
        before = world.errors()

        def are_closed() -> bool:
            nonlocal sent
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.socket.send(hello[sent : sent + 1])
            sent = (sent + 1) % (len(hello) - 1)
            with world.encrypted() as good:
                assert good.fetch("bystander") == b"here"
            return world.errors() >= before + 100

        wait_until(are_closed, "all of them are closed", pause_seconds=0.05)
        wait_until(lambda: world.connections() == 2, "only the good ones are left")
    finally:
        for connection in [*silent, *slow]:
            connection.close()
    assert "handshake" in world.server.stderr


def test_many_aborted_handshakes_leave_nothing(world: World) -> None:
    hello = hello_of(world.context())

    def some(count: int) -> None:
        for number in range(count):
            connection = world.raw()
            connection.send(hello[: number % (len(hello) + 1)])
            abort(connection)
        wait_until(lambda: world.connections() == 2, "only the good ones are left")

    some(300)
    before = world.private_bytes()
    some(3000)
    assert world.private_bytes() - before < 2 * MEBIBYTE


def test_records_of_one_byte(world: World) -> None:
    with world.encrypted() as connection:
        for byte in b"set tiny 0 0 2\r\nxy\r\nget tiny\r\n":
            connection.send(bytes([byte]))
        assert connection.read_line() == b"STORED\r\n"
        assert connection.read_exactly(23) == b"VALUE tiny 0 2\r\nxy\r\nEND"
        assert connection.read_line() == b"\r\n"
        # Many of them at once; another client is served meanwhile.
        for _ in range(3000):
            connection.socket.send(b"m")
            connection.socket.send(b"n")
            connection.socket.send(b"\r")
            connection.socket.send(b"\n")
        with world.encrypted() as good:
            assert good.fetch("bystander") == b"here"
        assert connection.read_exactly(4 * 3000) == b"MN\r\n" * 3000


def test_a_broken_record_closes_only_its_connection(world: World) -> None:
    context = world.context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with world.raw() as connection:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.send(outgoing.read())
                incoming.write(connection.socket.recv(65536))
        client.write(b"set broken 0 0 1\r\nx\r\n")
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        connection.send(bytes(record))
        connection.read_to_close()
    with world.encrypted() as good:
        assert good.fetch("broken") is None


def test_replies_that_nobody_reads(world: World) -> None:
    value = random.Random(SEED).randbytes(1_000_000)
    with world.encrypted() as writer:
        assert writer.store("big", value) == b"STORED"
    before = world.private_bytes()
    with world.encrypted() as slow:
        slow.send(b"get big\r\n" * 64)
        for _ in range(50):
            with world.plain() as good:
                assert good.fetch("bystander") == b"here"
        assert world.private_bytes() - before < 32 * MEBIBYTE
        for _ in range(64):
            assert slow.read_exactly(21) == b"VALUE big 0 1000000\r\n"
            assert slow.read_exactly(len(value)) == value
            assert slow.read_exactly(7) == b"\r\nEND\r\n"


def test_unread_replies_then_a_reset(world: World) -> None:
    with world.encrypted() as writer:
        assert writer.store("big", bytes(1_000_000)) == b"STORED"
    for _ in range(20):
        connection = world.encrypted()
        connection.send(b"get big\r\n" * 50)
        abort(connection)
    wait_until(lambda: world.connections() == 2, "only the good ones are left")
    with world.plain() as plain:
        assert plain.ask("delete big") == b"DELETED"
        slabs = plain.stats("slabs")
    assert sum(int(v) for key, v in slabs.items() if key.endswith(":used_chunks")) == 1


def test_every_close_by_the_server_says_so(world: World) -> None:
    """The word for the end (close_notify) comes first: strict clients take anything else for an
    attack.
    """
    for request in (b"quit\r\n", b"x" * 10_000, b"shutdown\r\nquit\r\n"):
        with world.encrypted() as connection:
            with contextlib.suppress(ClosedError):
                connection.send(request)
            # suppress_ragged_eofs is off: an end without the word raises SSLEOFError.
            connection.read_to_close()


def test_half_closed_client_gets_its_answers(world: World) -> None:
    """The client's own word for the end comes in one segment with its request."""
    context = world.context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with world.raw() as connection:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.send(outgoing.read())
                incoming.write(connection.socket.recv(65536))
        client.write(b"get bystander\r\n")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.unwrap()
        connection.send(outgoing.read())
        incoming.write(connection.read_to_close())
        received = b""
        with contextlib.suppress(ssl.SSLZeroReturnError, ssl.SSLWantReadError, ssl.SSLEOFError):
            while piece := client.read(65536):
                received += piece
    assert received == b"VALUE bystander 0 4\r\nhere\r\nEND\r\n"


@pytest.fixture
def strict(pymc: Program, tmp_path: Path) -> Iterator[World]:
    """A server that asks for certificates."""
    found = World(pymc, tmp_path, "ssl_verify_mode=2", f"ssl_ca_cert={tmp_path}/ca.pem")
    with found.server:
        yield found


def is_refused(world: World, context: ssl.SSLContext) -> bool:
    """TLS 1.3 clients hear of it only behind their own part of the handshake."""
    try:
        with world.encrypted(context) as connection:
            connection.send(b"mn\r\n")
            return connection.read_line() != b"MN\r\n"
    except (ssl.SSLError, ClosedError, ConnectionError):
        return True


def test_certificates_of_hostile_size(strict: World, tmp_path: Path) -> None:
    """None of them is let in, and none of them costs the server more than a bounded amount."""
    good = strict.context((strict.paths["client"], strict.paths["client_key"]))
    with strict.encrypted(good) as connection:
        assert connection.ask("mn") == b"MN"
        other = Authority.root("another root")
        huge = other.issue(Names("big"), "client", padding_bytes=64 * 1024)
        long = other
        for number in range(100):
            long = long.intermediate(f"between {number}")
        pairs = {"huge": huge, "long": long.client(dns="a.test")}
        files = {name: pair.write(tmp_path, name) for name, pair in pairs.items()}
        before = strict.private_bytes()
        for _ in range(20):
            for paths in files.values():
                assert is_refused(strict, strict.context(paths))
        assert strict.private_bytes() - before < 4 * MEBIBYTE
        assert is_refused(strict, strict.context())
        assert connection.ask("mn") == b"MN"
