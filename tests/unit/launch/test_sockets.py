"""Listening sockets: who gets one, who is refused, and in which words."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pymc import cli
from pymc.config import Listener, StartupError, Tls
from pymc.core.engine import ListenerKind, ListenerOptions, ListenerTls, Protocol
from pymc.launch import sockets
from pymc.record import replace
from pymc.server_context import ListeningAddress


@contextmanager
def listening(*args: str) -> Iterator[tuple[ListeningAddress, ...]]:
    settings = cli.parse(["-u", "root", *args], "pymc", {})
    addresses = sockets.open_addresses(settings)
    try:
        yield addresses
    finally:
        close(addresses)


def close(addresses: tuple[ListeningAddress, ...]) -> None:
    for address in addresses:
        address.close()


def refusal(*args: str) -> StartupError:
    settings = cli.parse(["-u", "root", *args], "pymc", {})
    with pytest.raises(StartupError) as caught:
        close(sockets.open_addresses(settings))
    return caught.value


def port_of(address: ListeningAddress) -> str:
    return str(address.name[1])


def test_each_worker_has_its_own_socket_on_one_port() -> None:
    with listening("-l", "127.0.0.1", "-p", "-1", "-t", "3") as (address,):
        names = {one.getsockname() for one in address.sockets}
        assert names == {address.name}
        assert len(address.sockets) == 3
        for one in address.sockets:
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            assert not one.getblocking()
        assert address.socket_for(2) is address.sockets[2]


def test_several_addresses_and_families() -> None:
    with listening("-l", "127.0.0.1:-1,[::1]:-1", "-l", "127.0.0.2:-1", "-t", "1") as addresses:
        families = [address.family for address in addresses]
        assert families == [socket.AF_INET, socket.AF_INET6, socket.AF_INET]
        v6 = addresses[1].sockets[0]
        assert v6.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_a_unix_socket_beside_ports(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    both = ("-s", str(path), "-o", "unix_and_tcp", "-l", "127.0.0.1", "-p", "-1", "-t", "2")
    with listening(*both) as (tcp, unix):
        assert (tcp.kind, unix.kind) == (ListenerKind.TCP, ListenerKind.UNIX)
        assert (len(tcp.sockets), len(unix.sockets)) == (2, 1)
        assert unix.name == str(path)


def test_datagrams(tmp_path: Path) -> None:
    with listening("-l", "127.0.0.1", "-p", "-1", "-U", "-1", "-t", "3") as (tcp, udp):
        assert (tcp.kind, udp.kind) == (ListenerKind.TCP, ListenerKind.UDP)
        assert {one.getsockname() for one in udp.sockets} == {udp.name}
        assert [one.type for one in udp.sockets] == [socket.SOCK_DGRAM] * 3
        assert not any(one.getblocking() for one in udp.sockets)
        # Another server does not get a share of them.
        assert (
            "failed to listen on UDP port"
            in refusal(*("-l", "127.0.0.1", "-p", "-1", "-t", "2", "-U", port_of(udp))).message
        )
        path = tmp_path / "ports"
        sockets.write_port_file(str(path), (tcp, udp))
        assert path.read_text() == f"TCP INET: {port_of(tcp)}\nUDP INET: {port_of(udp)}\n"


@pytest.mark.parametrize("asked", [["-p", "5"], ["-l", "127.0.0.1:5"], ["-p", "-1"]])
def test_a_unix_socket_alone(tmp_path: Path, asked: list[str]) -> None:
    with listening("-s", str(tmp_path / "socket"), *asked, "-t", "2") as (unix,):
        assert unix.kind is ListenerKind.UNIX


def test_what_a_listener_is_for(tmp_path: Path) -> None:
    settings = replace(
        cli.parse(["-u", "root", "-B", "ascii", "-t", "1"], "pymc", {}),
        unix_socket_path=str(tmp_path / "socket"),
        listeners=(
            Listener("127.0.0.1", 0, Tls.SERVER, "auto", "front"),
            Listener("127.0.0.1", 0, Tls.MUTUAL),
            Listener("127.0.0.1", 0, Tls.BASIC, "ascii"),
            Listener("127.0.0.1", 0, Tls.NONE),
        ),
    )
    addresses = sockets.open_addresses(settings)
    close(addresses)
    assert [address.options for address in addresses] == [
        ListenerOptions(ListenerKind.TCP, ListenerTls.SERVER, Protocol.AUTO),
        ListenerOptions(ListenerKind.TCP, ListenerTls.MUTUAL, Protocol.AUTO),
        ListenerOptions(ListenerKind.TCP, ListenerTls.BASIC, Protocol.ASCII),
        ListenerOptions(ListenerKind.TCP, ListenerTls.NONE, Protocol.AUTO),
        # A unix socket is never encrypted.
        ListenerOptions(ListenerKind.UNIX, ListenerTls.NONE, Protocol.ASCII),
    ]
    assert [address.tag for address in addresses] == ["front", "", "", "", ""]


@pytest.mark.parametrize("mine", [True, False], ids=["another pymc", "another server"])
def test_a_busy_port_is_refused(mine: bool) -> None:
    with listening("-l", "127.0.0.1", "-p", "-1", "-t", "2") as (address,):
        port = port_of(address)
        if not mine:
            address.close()
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = port if mine else str(other.getsockname()[1])
            error = refusal("-l", "127.0.0.1", "-p", port)
        wanted = "failed to listen on one of interface(s) 127.0.0.1: Address already in use"
        assert (error.message, error.exit_code) == (wanted, 71)
        assert error.hint == f"127.0.0.1, port {port}: another program listens there"


def test_without_addresses_the_message_names_the_port() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as other:
        port = other.getsockname()[1]
        error = refusal("-p", str(port))
    assert error.message == f"failed to listen on TCP port {port}: Address already in use"


def test_foreign_addresses_are_refused() -> None:
    error = refusal("-l", "192.0.2.1", "-p", "1234")
    assert error.message == (
        "bind(): Cannot assign requested address\n"
        "failed to listen on one of interface(s) 192.0.2.1: Invalid argument"
    )
    assert error.hint == "192.0.2.1, port 1234: this machine has no such address"


@pytest.mark.parametrize(
    ("number", "details", "hint"),
    [
        (errno.EACCES, "bind(): Permission denied\n", "127.0.0.1, port 80: ports this low are for"),
        (errno.EINVAL, "bind(): Invalid argument\n", "127.0.0.1, port 80"),
    ],
)
def test_what_the_system_says_of_an_address(
    monkeypatch: pytest.MonkeyPatch, number: int, details: str, hint: str
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sockets, "_bind_group", refuse)
    error = refusal("-l", "127.0.0.1", "-p", "80")
    assert error.message == (
        f"{details}failed to listen on one of interface(s) 127.0.0.1: Invalid argument"
    )
    assert error.hint.startswith(hint)


def test_names_that_nobody_knows_are_refused() -> None:
    error = refusal("-l", "1.2.3.4.5", "-p", "1234")
    assert error.message == (
        "getaddrinfo(): Name or service not known\n"
        "failed to listen on one of interface(s) 1.2.3.4.5: Success"
    )
    assert error.hint == "no address is known for 1.2.3.4.5"


def test_a_port_in_time_wait_can_be_taken_again() -> None:
    with listening("-l", "127.0.0.1", "-p", "-1", "-t", "1") as (address,):
        client = socket.create_connection(("127.0.0.1", int(port_of(address))))
        address.sockets[0].setblocking(True)
        accepted, _ = address.sockets[0].accept()
        # Who closes first is the one whose port rests.
        accepted.close()
        assert client.recv(1) == b""
        client.close()
    with listening("-l", "127.0.0.1", "-p", port_of(address), "-t", "2") as (again,):
        assert again.name == address.name


def test_unix_socket_is_one_for_all(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for _ in range(2):
        # The second time the file of the first one is in the way.
        with listening("-s", str(path), "-a", "0751", "-t", "3") as (address,):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o751
            assert address.socket_for(0) is address.socket_for(2)


def test_unix_socket_does_not_replace_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    error = refusal("-s", str(path))
    assert error.message == (
        f"bind(): Address already in use\nfailed to listen on UNIX socket: {path}: Invalid argument"
    )
    assert path.read_text() == "precious"


def test_port_file_names_each_tcp_address(tmp_path: Path) -> None:
    path = tmp_path / "ports"
    with listening("-l", "127.0.0.1:-1,[::1]:-1", "-t", "1") as (four, six):
        sockets.write_port_file(str(path), (four, six))
        assert path.read_text() == f"TCP INET: {port_of(four)}\nTCP INET6: {port_of(six)}\n"
        assert list(tmp_path.iterdir()) == [path]


def test_port_file_that_cannot_be_written_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    sockets.write_port_file("/nonexistent/port", ())
    wanted = 'Failed to open "/nonexistent/port.lck": No such file or directory\n'
    assert capfd.readouterr().err == wanted


def test_warnings_follow_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    somaxconn, fastopen = tmp_path / "somaxconn", tmp_path / "fastopen"
    monkeypatch.setattr(sockets, "_SOMAXCONN_SYSCTL", str(somaxconn))
    monkeypatch.setattr(sockets, "_FASTOPEN_SYSCTL", str(fastopen))
    settings = cli.parse(["-u", "root", "-b", "500", "-o", "tcp_fastopen=9"], "pymc", {})
    assert sockets.warnings(settings) == []
    somaxconn.write_text("128\n")
    fastopen.write_text("1\n")
    backlog, queue = sockets.warnings(settings)
    assert "somaxconn is 128" in backlog
    assert "tcp_fastopen is 1" in queue
    somaxconn.write_text("500\n")
    fastopen.write_text("3\n")
    assert sockets.warnings(settings) == []
