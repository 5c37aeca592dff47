"""The binary protocol and SASL on a whole server: real clients, users that change, hostile ones."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.connection import Connection
from tests.support.deadline import scaled, wait_until
from tests.support.packets import (
    HEADER,
    Response,
    body_bytes_of,
    error,
    request,
    response_of,
    storing,
)
from tests.support.programs import Program
from tests.support.server import Server

NOOP, NOOP_SAID = request("noop"), Response(0x0A)
SECONDS = scaled(20)


def read(connection: Connection) -> Response:
    header = connection.read_exactly(HEADER.size)
    return response_of(header, connection.read_exactly(body_bytes_of(header)))


def ask(connection: Connection, sent: bytes) -> Response:
    connection.send(sent)
    return read(connection)


def client_of(server: Server, *user: str) -> Any:
    """The client of the package index; skips the test where that is not installed."""
    bmemcached = pytest.importorskip("bmemcached")
    return bmemcached.Client(
        [f"127.0.0.1:{server.port}"], *user, socket_timeout=SECONDS, compression=None
    )


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    made = client_of(server)
    yield made
    made.disconnect_all()


def test_a_client_of_the_package_index(client: Any) -> None:
    assert client.set("a", "1", time=100)
    assert client.get("a") == "1"
    assert client.get("nothing") is None
    assert client.add("a", "2") is False
    assert client.replace("a", "3") and client.get("a") == "3"
    value, number = client.gets("a")
    assert client.cas("a", "4", number) and not client.cas("a", "5", number)
    assert client.get("a") == "4" and value == "3"
    assert client.incr("n", 5, default=40) == 40
    assert client.incr("n", 5) == 45 and client.decr("n", 50) == 0
    assert client.delete("a") and client.get("a") is None
    large = {f"key{number}": "v" * size for number, size in enumerate((1, 9_000, 500_000))}
    assert client.set_multi(large, time=0) == []
    assert client.get_multi([*large, "none"]) == large
    assert client.delete_multi(list(large))
    assert client.flush_all()


def test_stats_of_a_client(server: Server, client: Any) -> None:
    client.set("a", "1", time=0)
    [found] = client.stats().values()
    text = server.stats()
    assert list(found) == list(text)
    assert found["pid"].decode() == text["pid"] and found["curr_items"] == b"1"
    [settings] = client.stats("settings").values()
    assert set(settings) == set(server.stats("settings"))
    # Those that are made in parts, and those that only pymc has.
    for name in ("slabs", "items", "conns", "pymc"):
        with server.connect() as connection:
            connection.send(request("stat", name.encode(), opaque=5) + NOOP)
            while (packet := read(connection)).key:
                assert (packet.status, packet.opaque) == (0, 5)
            assert packet == Response(0x10, opaque=5)
            assert read(connection) == NOOP_SAID


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    path.write_text("alice:wonder:\nbob:builder\n")
    return path


def sasl_server(pymc: Program, passwords: Path, *more: str) -> Server:
    env = {"MEMCACHED_SASL_PWDB": str(passwords)}
    return Server(pymc, ["-t", "2", "-S", *more], env=env)


def may(server: Server, user: str, password: str) -> bool:
    said = f"\0{user}\0{password}".encode()
    with server.connect() as connection:
        answer = ask(connection, request("sasl_auth", b"PLAIN", said))
        is_in = answer == Response(0x21, value=b"Authenticated")
        assert is_in or answer == error("sasl_auth", "auth")
        follows = ask(connection, NOOP)
        assert follows == (NOOP_SAID if is_in else error("noop", "auth"))
        return is_in


def test_sasl_with_a_client_of_the_package_index(pymc: Program, passwords: Path) -> None:
    with sasl_server(pymc, passwords) as server:
        alice = client_of(server, "alice", "wonder")
        assert alice.set("a", "1") and alice.get("a") == "1"
        [found] = alice.stats().values()
        assert (found["auth_cmds"], found["auth_errors"]) == (b"1", b"0")
        [settings] = alice.stats("settings").values()
        assert settings["auth_enabled_sasl"] == b"yes"
        assert settings["binding_protocol"] == b"binary"
        alice.disconnect_all()
        wrong = client_of(server, "alice", "wrong")
        with pytest.raises(Exception, match="Auth failure"):
            wrong.get("a")
        wrong.disconnect_all()
        with server.connect() as text:
            text.send(b"get a\r\n")
            assert text.read_to_close() == b""


def test_sighup_reads_the_passwords_again(pymc: Program, passwords: Path) -> None:
    with sasl_server(pymc, passwords) as server:
        assert may(server, "alice", "wonder") and not may(server, "carol", "singer")
        passwords.write_text("carol:singer\n")
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: may(server, "carol", "singer"), "the new user counts")
        wait_until(lambda: not may(server, "alice", "wonder"), "the old user counts no more")
        passwords.write_text("nonsense\n")
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: "malformed entry" in server.stderr, "the file is refused")
        # Each worker is told for itself, so a slow one may still be at the first change.
        wait_until(lambda: may(server, "carol", "singer"), "the users read before still count")


def test_with_tokens_as_well_each_protocol_has_its_login(pymc: Program, passwords: Path) -> None:
    passwords.write_text("alice:wonder\n")
    with Server(pymc, ["-t", "2", "-S", "-Y", str(passwords)]) as server:
        assert may(server, "alice", "wonder") and not may(server, "alice", "wrong")
        with server.connect() as text:
            assert text.ask("get a") == b"CLIENT_ERROR unauthenticated"
            assert text.store("auth", b"alice wonder") == b"STORED"
            assert text.fetch("a") is None


def test_tokens_alone_close_the_door_to_binary_clients(pymc: Program, passwords: Path) -> None:
    passwords.write_text("alice:wonder\n")
    with Server(pymc, ["-t", "2", "-Y", str(passwords)]) as server, server.connect() as client:
        client.send(NOOP)
        assert client.ask("get a").endswith(b"CLIENT_ERROR unauthenticated")


def test_a_listener_may_speak_one_protocol(pymc: Program) -> None:
    args = ["-t", "2", "-l", "proto[binary]:127.0.0.1"]
    with Server(pymc, [*args, "-B", "binary"]) as server, server.connect() as client:
        assert ask(client, NOOP) == NOOP_SAID
        with server.connect() as text:
            text.send(b"v")
            assert text.read_to_close() == b""


def test_unread_replies_of_one_value_end(server: Server) -> None:
    """More readers of one item than memcached can count."""
    count = 70_000
    with server.connect(SECONDS) as client, server.connect(SECONDS) as other:
        assert ask(client, storing("set", b"k", b"v" * 9_000)).status == 0
        client.socket.setblocking(False)
        asked = request("get", b"k") * 100
        sent = 0
        try:
            while sent < count * len(asked) // 100:
                sent += client.socket.send(asked)
        except BlockingIOError:
            pass
        assert ask(other, storing("set", b"k", b"new")).status == 0
        client.socket.setblocking(True)
        client.socket.settimeout(SECONDS)
        for _ in range(sent // len(request("get", b"k"))):
            assert read(client).status == 0
        assert ask(other, request("get", b"k")).value == b"new"


def test_garbage_ends_its_own_connection_only(server: Server) -> None:
    with server.connect() as bystander:
        assert ask(bystander, storing("set", b"k", b"v")).status == 0
        for sent in (
            request("get", b"abc", bodylen=1),
            request("set", b"abc", keylen=65535, bodylen=65536),
            request("delete", b"k", bodylen=0xFFFFFFFF),
            request("noop", magic=0x81),
            request("get", b"k" * 300),
        ):
            with server.connect() as client:
                client.send(NOOP + sent)
                assert read(client) == NOOP_SAID
                rest = client.read_to_close()
                assert not rest or rest[7] in (4, 0x81)
        with server.connect() as client:
            client.send(storing("set", b"k", b"", bodylen=0xFFFFFFFF))
            assert read(client) == error("set", "too_large")
        assert ask(bystander, request("get", b"none")).status == 1
        stats = server.stats("pymc")
        assert all(stats[key] == "0" for key in stats if key.endswith("_restarts"))


def test_a_busy_client_is_not_idle(pymc: Program) -> None:
    with (
        Server(pymc, ["-t", "2", "-o", "idle_timeout=1"]) as server,
        server.connect() as client,
        server.connect() as silent,
    ):
        client.send(NOOP)
        assert read(client) == NOOP_SAID
        silent.send(NOOP)
        assert read(silent) == NOOP_SAID

        def is_kicked() -> bool:
            assert ask(client, request("getq", b"none") + NOOP) == NOOP_SAID
            return server.stats()["idle_kicks"] == "1"

        wait_until(is_kicked, "the silent one is closed")
        assert silent.read_to_close() == b""
        assert ask(client, NOOP) == NOOP_SAID
