"""Says when anybody who reaches this machine may read and change the whole cache."""

import socket

from pymc.config import Settings
from pymc.core.engine import ListenerTls
from pymc.server_context import ListeningAddress

# Read without the module ipaddress, for which every start would wait.
_IPV6_LOOPBACK = bytes(15) + b"\1"
# What an IPv4 address stands behind among those of IPv6.
_MAPPED_HEAD = bytes(10) + b"\xff\xff"


def exposed(settings: Settings, addresses: tuple[ListeningAddress, ...]) -> list[str]:
    """Returns one line when an address beyond this machine is open without TLS and passwords."""
    if settings.auth_file_path or settings.sasl_enabled:
        return []
    plain = [address for address in addresses if address.options.tls is ListenerTls.NONE]
    # TCP and UDP may have the same port.
    open_ones = list(dict.fromkeys(name for address in plain if (name := _beyond(address))))
    if not open_ones:
        return []
    return [
        f"warning: {', '.join(open_ones)}: whoever reaches this port may read and change the cache;"
        " -l 127.0.0.1, -Z or -Y limits that (SECURITY.md)"
    ]


def _beyond(address: ListeningAddress) -> str:
    """Returns an address that other machines may reach, as host:port; empty for others."""
    if isinstance(address.name, str):
        return ""
    host, port = address.name
    if ":" not in host:
        return "" if _is_loopback(socket.inet_pton(socket.AF_INET, host)) else f"{host}:{port}"
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    inner = packed.removeprefix(_MAPPED_HEAD)
    is_own = packed == _IPV6_LOOPBACK or (len(inner) == 4 and _is_loopback(inner))
    return "" if is_own else f"[{host}]:{port}"


def _is_loopback(ipv4: bytes) -> bool:
    return ipv4[0] == 127
