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
from pymc.config.listeners import Listener
from pymc.config.settings import LIVE, ROWS, Settings
from pymc.config.settings_flash import ADMIT_PERCENT, READ_TIMEOUT_MS_MAX, RESCUE_WORDS
from pymc.config.settings_memory import SLAB_PAGE_BYTES
from pymc.config.stats_lines import settings_lines

__all__ = [
    "ADMIT_PERCENT",
    "EXIT_FAILURE",
    "EXIT_NO_USER",
    "EXIT_OS_ERROR",
    "EXIT_USAGE",
    "LIVE",
    "READ_TIMEOUT_MS_MAX",
    "RESCUE_WORDS",
    "ROWS",
    "SLAB_PAGE_BYTES",
    "FlashPath",
    "Listener",
    "Settings",
    "StartupAnswer",
    "StartupError",
    "StartupStop",
    "settings_lines",
]
