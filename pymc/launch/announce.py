"""What -o announce says once clients can connect: where, with what, how to try it and to end it."""

import os
import socket

from pymc.config import Settings
from pymc.core.engine import ListenerKind
from pymc.server_context import ListeningAddress

_MEGABYTE = 1 << 20
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_FIRST = r"printf 'set hello 0 0 5\r\nworld\r\nget hello\r\nquit\r\n'"


def announcement(settings: Settings, addresses: tuple[ListeningAddress, ...], uid: int) -> str:
    """Returns one line, and another one when it all runs as root."""
    places = ", ".join(_place(address) for address in addresses) or "no address"
    parts = [f"pymc listens on {places} with {settings.memory_limit_bytes // _MEGABYTE} MiB"]
    if settings.ext_paths:
        files = ", ".join(
            f"{path.size_bytes // _MEGABYTE} MiB of flash in {path.path}"
            for path in settings.ext_paths
        )
        parts.append(f" and {files}")
    parts.append("; Ctrl-C ends it" if not settings.daemon else f"; kill {os.getpid()} ends it")
    if streams := [one for one in addresses if one.kind is not ListenerKind.UDP]:
        parts.append(f"; try: {_first_command(streams[0])}")
    if uid == 0:
        parts.append("\nwarning: this server runs as root: -u USER gives that up")
    return "".join(parts)


def _place(address: ListeningAddress) -> str:
    if isinstance(address.name, str):
        return address.name
    host, port = address.name
    where = f"[{host}]:{port}" if address.family == socket.AF_INET6 else f"{host}:{port}"
    return f"{where} (UDP)" if address.kind is ListenerKind.UDP else where


def _first_command(address: ListeningAddress) -> str:
    """Returns a command for a shell without any tools, except where a path is listened on."""
    if isinstance(address.name, str):
        return f"{_FIRST} | nc -U {address.name}"
    host, port = address.name
    where = f"/dev/tcp/{_ANY.get(str(host), host)}/{port}"
    return f'bash -c "exec 3<>{where}; {_FIRST} >&3; cat <&3"'
