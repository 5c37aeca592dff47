"""Says when anybody who reaches this machine may read and change the whole cache."""

import ipaddress

from pymc.config import Settings
from pymc.core.engine import ListenerTls
from pymc.server_context import ListeningAddress


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
    found = ipaddress.ip_address(str(host).partition("%")[0])
    if found.is_loopback:
        return ""
    return f"[{host}]:{port}" if found.version == 6 else f"{host}:{port}"
