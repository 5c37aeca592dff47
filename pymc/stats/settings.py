"""`stats settings`: what the server was started with, and what was changed since."""

from pymc.config import settings_lines
from pymc.live_settings import read_live_settings
from pymc.policy.slab_sizes import growth_factor
from pymc.server_context import ServerContext

# Keys are hashed with it whatever the command line says.
_HASH = "xxh3"


def settings_pairs(server: ServerContext) -> list[tuple[str, str]]:
    """Every key of `stats settings`, in memcached's order."""
    live = {**read_live_settings(server.arena), "oldest_live_seconds": server.arena.flush_seconds}
    in_force = {"hash_algorithm": _HASH, "growth_factor": f"{growth_factor(server.settings):.2f}"}
    if server.tls:
        in_force["ssl_kernel_tls"] = "yes" if server.tls.uses_kernel else "no"
    lines = [(key, in_force.get(key, text)) for key, text in settings_lines(server.settings, live)]
    if server.settings.ext_paths:
        lines.append(("ext_read_engine", server.read_engine))
    return lines
