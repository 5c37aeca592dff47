"""Where a server listens: ports, addresses, unix sockets, and what a full house says."""

import os
import socket
import stat
from pathlib import Path

import pytest

from tests.support.connection import ClosedError, Connection
from tests.support.deadline import wait_until
from tests.support.programs import Program
from tests.support.server import Server

EX_OSERR = 71


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


def check_serves(address: tuple[str, int] | str, key: str) -> None:
    with Connection(address) as connection:
        assert connection.store(key, b"value") == b"STORED"
        assert connection.fetch(key) == b"value"


def test_ephemeral_port_is_told(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server:
        assert [family for family, _ in server.ports] == ["INET"]
        assert server.port > 0
        check_serves(("127.0.0.1", server.port), "a")


@needs_ipv6
def test_ipv6(pymc: Program) -> None:
    with Server(pymc, ["-t", "1", "-l", "::1"]) as server:
        assert [family for family, _ in server.ports] == ["INET6"]
        check_serves(("::1", server.port), "a")


@needs_ipv6
@pytest.mark.parametrize(
    "listen", [["-l", "127.0.0.1,::1"], ["-l", "127.0.0.1", "-l", "::1"]], ids=["list", "repeated"]
)
def test_several_addresses_share_the_cache(pymc: Program, listen: list[str]) -> None:
    with Server(pymc, ["-t", "2", *listen]) as server:
        ports = dict(server.ports)
        assert sorted(ports) == ["INET", "INET6"]
        with Connection(("127.0.0.1", ports["INET"])) as connection:
            assert connection.store("a", b"1") == b"STORED"
        with Connection(("::1", ports["INET6"])) as connection:
            assert connection.fetch("a") == b"1"


def test_address_with_a_port(pymc: Program) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Server(pymc, ["-t", "1", "-l", f"127.0.0.1:{port}"]) as server:
        assert server.ports == [("INET", port)]
        check_serves(("127.0.0.1", port), "a")


def test_unix_socket(pymc: Program, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Server(pymc, ["-t", "2", "-s", str(path), "-a", "0750"]) as server:
        assert server.ports == []
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o750
        check_serves(str(path), "a")
        settings = server.stats("settings")
        assert settings["domain_socket"] == str(path)
        assert settings["umask"] == "750"
        assert any(value.startswith("unix:") for value in server.stats("conns").values())


def test_unix_socket_and_ports_at_once(pymc: Program, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    both = ["-s", str(path), "-p", "-1", "-l", "127.0.0.1", "-o", "unix_and_tcp"]
    with Server(pymc, ["-t", "2", *both]) as server:
        assert [family for family, _ in server.ports] == ["INET"]
        check_serves(("127.0.0.1", server.ports[0][1]), "a")
        check_serves(str(path), "b")


def test_unix_socket_replaces_an_old_one(pymc: Program, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    assert path.exists()
    with Server(pymc, ["-t", "1", "-s", str(path)]) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        check_serves(server.address, "a")


def test_disabled_commands(pymc: Program) -> None:
    with (
        Server(pymc, ["-t", "1", "-o", "disable_commands=flush_all,debug"]) as server,
        Connection(server.address) as connection,
    ):
        connection.send(b"flush_all\r\nme k\r\ndebugtime p\r\nmn\r\n")
        assert connection.read_line() == b"CLIENT_ERROR flush_all not allowed\r\n"
        assert connection.read_line() == b"CLIENT_ERROR me not allowed\r\n"
        assert connection.read_line() == b"CLIENT_ERROR debugtime not allowed\r\n"
        assert connection.read_line() == b"MN\r\n"


def test_a_command_that_there_is_not_cannot_be_disabled(pymc: Program) -> None:
    server = Server(pymc, ["-t", "1", "-o", "disable_commands=get,flushall"], wait=False)
    try:
        assert server.wait_exit() == os.EX_USAGE
        assert 'disable_commands: no command is called "flushall"' in server.stderr
        assert 'did you mean "flush_all"?' in server.stderr
    finally:
        server.stop(check=False)


def refused_start(program: Program, port: int) -> tuple[int, str]:
    """Exit status and message of a server that is started on a busy port."""
    second = Server(program, ["-p", str(port)], wait=False)
    try:
        return second.wait_exit(), second.stderr
    finally:
        second.stop(check=False)


def test_busy_port_is_refused(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server:
        status, message = refused_start(pymc, server.port)
        assert status == EX_OSERR
        assert "failed to listen on" in message
        assert "Address already in use" in message
        check_serves(server.address, "a")


def test_busy_port_as_on_memcached(pymc: Program, oracle: Program) -> None:
    with Server(oracle, ["-t", "1"]) as server:
        wanted = refused_start(oracle, server.port)
        got = refused_start(pymc, server.port)
    assert got[0] == wanted[0]
    assert got[1].splitlines()[:1] == wanted[1].splitlines()[:1]


def test_port_zero_without_a_socket_is_refused_or_silent(pymc: Program, tmp_path: Path) -> None:
    # TCP off and a unix socket on: no port is open.
    path = tmp_path / "socket"
    with Server(pymc, ["-t", "1", "-p", "0", "-s", str(path)]) as server:
        check_serves(str(path), "a")
        assert server.ports == []


def fill_house(server: Server, tries_max: int = 300) -> tuple[list[Connection], bytes]:
    """Connects until the server refuses; returns the connections that live, and what it said."""
    living: list[Connection] = []
    for _ in range(tries_max):
        connection = server.connect()
        try:
            # The refusal may arrive before or after the request leaves.
            answer = connection.ask("mn")
        except ClosedError:
            answer = b"closed"
        if answer != b"MN":
            rest = connection.read_to_close()
            connection.close()
            return living, answer + rest
        living.append(connection)
    raise AssertionError(f"{tries_max} connections and no refusal")


@pytest.mark.parametrize("threads", ["1", "3"])
def test_connection_limit_is_for_the_whole_server(pymc: Program, threads: str) -> None:
    with Server(pymc, ["-t", threads, "-c", "100"]) as server:
        living, said = fill_house(server)
        try:
            # memcached counts its own descriptors, too, so a few below the limit is right.
            assert 60 <= len(living) <= 100
            assert said == b"ERROR Too many open connections"
            stats = living[0].stats()
            assert int(stats["rejected_connections"]) >= 1
            assert int(stats["max_connections"]) == 100
            assert int(stats["curr_connections"]) == len(living)
            # One goes, one may come; the others never noticed.
            living.pop().close()
            wait_until(lambda: place_is_free(server, living), "a place is free again")
            assert all(connection.ask("mn") == b"MN" for connection in living)
        finally:
            for connection in living:
                connection.close()


def place_is_free(server: Server, living: list[Connection]) -> bool:
    connection = server.connect()
    try:
        if connection.ask("mn") == b"MN":
            living.append(connection)
            return True
    except ClosedError:
        pass
    connection.close()
    return False


def test_connection_limit_by_waiting(pymc: Program) -> None:
    with Server(pymc, ["-t", "2", "-c", "40", "-o", "no_maxconns_fast"]) as server:
        living = [server.connect()]
        assert living[0].ask("mn") == b"MN"
        waiting: list[Connection] = []
        try:
            while int(living[0].stats()["listen_disabled_num"]) == 0:
                assert len(waiting) < 100
                waiting.append(server.connect())
                waiting[-1].send(b"mn\r\n")
            assert living[0].stats()["accepting_conns"] == "0"
            # Those that wait are served when others leave.
            answered = 0
            for connection in waiting:
                assert connection.read_line() == b"MN\r\n"
                connection.close()
                answered += 1
            assert answered == len(waiting)
            wait_until(lambda: living[0].stats()["accepting_conns"] == "1", "it accepts again")
        finally:
            for connection in [*living, *waiting]:
                connection.close()


@pytest.mark.slow
def test_idle_connections_are_closed(pymc: Program) -> None:
    with (
        Server(pymc, ["-t", "2", "-o", "idle_timeout=1"]) as server,
        server.connect() as idle,
        server.connect() as busy,
    ):
        assert idle.ask("mn") == b"MN"
        idle.socket.setblocking(False)

        def is_closed() -> bool:
            assert busy.ask("mn") == b"MN"
            try:
                return idle.socket.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True

        wait_until(is_closed, "the idle connection is closed")
        assert int(busy.stats()["idle_kicks"]) >= 1


def test_probe_without_a_byte_is_no_error(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server:
        for _ in range(20):
            server.connect().close()
        wait_until(lambda: server.stats()["curr_connections"] == "1", "probes are gone")
        assert server.stderr == ""


def test_port_file_is_private_to_the_process(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as one, Server(pymc, ["-t", "1"]) as two:
        assert one.port != two.port
        with one.connect() as connection:
            assert connection.store("a", b"1") == b"STORED"
        with two.connect() as connection:
            assert connection.fetch("a") is None


def test_environment_is_left_alone(pymc: Program) -> None:
    before = set(os.environ)
    with Server(pymc, ["-t", "1"]):
        pass
    assert set(os.environ) == before
