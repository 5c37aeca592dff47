"""Loads uvloop without Python's `ssl`, which uvloop names while it is loaded and never uses here.

That module and the libraries behind it take 3 MiB of memory and a tenth of the start.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING


class _NoTls(ModuleType):
    """Stands for `ssl`: all of its names are there, and none does anything."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        # Constants are written in capitals; the rest are classes, some of them exceptions.
        return 0 if name.isupper() else type(name, (OSError,), {})


def _load() -> ModuleType:
    """The package uvloop; whoever imports `ssl` afterwards gets the real one."""
    if "ssl" in sys.modules or "uvloop" in sys.modules:
        return __import__("uvloop")
    try:
        # So asyncio sees that this Python has no TLS, for which it is prepared.
        sys.modules["ssl"] = None  # type: ignore[assignment]
        __import__("asyncio")
        sys.modules["ssl"] = _NoTls("ssl")
        return __import__("uvloop")
    finally:
        del sys.modules["ssl"]


if TYPE_CHECKING:
    import uvloop
else:
    uvloop = _load()

UVLOOP_VERSION = str(getattr(uvloop, "__version__", "?"))

__all__ = ["UVLOOP_VERSION", "uvloop"]
