"""When a start says that anybody may use the cache."""

import socket

import pytest

from pymc import cli
from pymc.core.engine import ListenerKind, ListenerOptions, ListenerTls
from pymc.launch.exposure import exposed
from pymc.record import replace
from pymc.server_context import ListeningAddress


def line_about(*names: tuple[str, int] | str, auth: bool = False, tls: bool = False) -> str:
    settings = replace(
        cli.parse(["-u", "root"], "pymc", {}),
        auth_file_path="/users" if auth else None,
        tls_enabled=tls,
    )
    options = ListenerOptions(ListenerKind.TCP, ListenerTls.SERVER if tls else ListenerTls.NONE)
    addresses = tuple(ListeningAddress(options, name, socket.AF_INET, ()) for name in names)
    lines = exposed(settings, addresses)
    assert len(lines) <= 1
    return lines[0] if lines else ""


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.0.2.7", "::", "2001:db8::1", "fe80::1%eth0", "::ffff:192.0.2.7"]
)
def test_an_address_that_others_reach(host: str) -> None:
    line = line_about((host, 11211))
    assert line.startswith("warning: ")
    assert (f"[{host}]:11211" if ":" in host else f"{host}:11211") in line


def test_one_line_for_all_of_them() -> None:
    assert "0.0.0.0:1, [::]:2:" in line_about(("0.0.0.0", 1), ("127.0.0.1", 3), ("::", 2))


@pytest.mark.parametrize(
    "name",
    [("127.0.0.1", 1), ("127.9.9.9", 1), ("::1", 1), ("::ffff:127.0.0.1", 1), "/run/socket"],
)
def test_nobody_else_reaches_it(name: tuple[str, int] | str) -> None:
    assert line_about(name) == ""


def test_plain_ports_beside_tls() -> None:
    settings = replace(cli.parse(["-u", "root"], "pymc", {}), tls_enabled=True)
    encrypted, plain, datagrams = (
        ListenerOptions(ListenerKind.TCP, ListenerTls.SERVER),
        ListenerOptions(ListenerKind.TCP),
        ListenerOptions(ListenerKind.UDP),
    )
    addresses = tuple(
        ListeningAddress(options, ("0.0.0.0", port), socket.AF_INET, ())
        for options, port in ((encrypted, 1), (plain, 2), (datagrams, 2), (datagrams, 3))
    )
    [line] = exposed(settings, addresses)
    assert line.startswith("warning: 0.0.0.0:2, 0.0.0.0:3: whoever ")


def test_who_asks_for_a_password_or_encrypts() -> None:
    assert line_about(("0.0.0.0", 1), auth=True) == ""
    assert line_about(("0.0.0.0", 1), tls=True) == ""
