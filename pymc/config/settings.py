"""All settings as one frozen value, and the table of what is known about each of them."""

from pymc.config.listeners import Listener
from pymc.config.row import READ, Row
from pymc.config.settings_memory import SLAB_PAGE_BYTES
from pymc.config.settings_tls import TlsSettings
from pymc.config.shared import Shared
from pymc.record import about, defaults_of


class Settings(TlsSettings):
    """Every setting of a server. Made by pymc.cli.parse(), or by hand in tests."""

    # The name it was called by, "pymc" or "memcached".
    program: str = "pymc"
    # TCP addresses to listen on, worked out from port, listen and unix_socket_path.
    listeners: tuple[Listener, ...] = ()
    # The same for UDP, from udp_port.
    udp_listeners: tuple[Listener, ...] = ()
    # Names of the settings that the command line or the environment gave.
    given: frozenset[str] = frozenset()
    # Lines for standard error that do not keep the server from starting.
    warnings: tuple[str, ...] = ()


# Fields that are derived from others have no row.
ROWS: dict[str, Row] = about(Settings)
DEFAULTS = defaults_of(Settings)

FLAGS: dict[str, str] = {row.flag: name for name, row in ROWS.items() if row.flag}
OPTIONS: dict[str, str] = {option: name for name, row in ROWS.items() for option in row.options}
LIVE = frozenset(name for name, row in ROWS.items() if row.live)
SHARED_ROWS: dict[str, Shared] = {name: row.shared for name, row in ROWS.items() if row.shared}

# Suboptions that stand for several settings, or for nothing any more.
BUNDLES: dict[str, dict[str, object]] = {
    "modern": {},
    "no_modern": {
        "lru_segmented": False,
        "hash_algorithm": "jenkins",
        "slab_chunk_max_bytes": SLAB_PAGE_BYTES,
        "lru_crawler": False,
        "lru_maintainer": False,
        "slab_reassign": False,
        "slab_automove": 0,
        "maxconns_fast": False,
    },
    "no_chunked_items": {"slab_chunk_max_bytes": SLAB_PAGE_BYTES},
    "inline_ascii_resp": {},
    "no_inline_ascii_resp": {},
    "drop_privileges": {},
    "no_drop_privileges": {},
    "relaxed_privileges": {},
    "resp_obj_mem_limit": {},
}
# What is said when a suboption does nothing any more.
DEPRECATED = {
    "resp_obj_mem_limit": "DEPRECATED: resp_obj_mem_limit no longer used. See read_buf_mem_limit,"
}


def takes_value(row: Row) -> bool:
    """Tells whether the row's flag is followed by a value."""
    return bool(row.argument) and row.flag_value is READ
