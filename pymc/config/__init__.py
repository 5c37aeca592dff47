"""The settings of a server: one table, one frozen value, and what `stats settings` says of it."""

from pymc.config.errors import (
    EXIT_FAILURE,
    EXIT_NO_USER,
    EXIT_OS_ERROR,
    EXIT_USAGE,
    StartupAnswer,
    StartupError,
    StartupStop,
)
from pymc.config.flash_paths import FlashPath
from pymc.config.listeners import Listener, Tls
from pymc.config.readers import MEMORY_AUTO
from pymc.config.settings import DEFAULTS, LIVE, ROWS, SHARED_ROWS, Settings
from pymc.config.settings_memory import SLAB_PAGE_BYTES
from pymc.config.stats_lines import settings_lines

__all__ = [
    "DEFAULTS",
    "EXIT_FAILURE",
    "EXIT_NO_USER",
    "EXIT_OS_ERROR",
    "EXIT_USAGE",
    "LIVE",
    "MEMORY_AUTO",
    "ROWS",
    "SHARED_ROWS",
    "SLAB_PAGE_BYTES",
    "FlashPath",
    "Listener",
    "Settings",
    "StartupAnswer",
    "StartupError",
    "StartupStop",
    "Tls",
    "settings_lines",
]
