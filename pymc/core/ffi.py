"""Loads the C core: the extension module of the variant that PYMC_BUILD names, release if unset.

Type checkers know `lib` from _core.pyi, which is made from the interface headers.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymc.core._core import Lib

_variant = os.environ.get("PYMC_BUILD") or "release"
_name = "pymc.core._core" + ("" if _variant == "release" else f"_{_variant}")
try:
    _module = importlib.import_module(_name)
except ModuleNotFoundError as error:
    if error.name != _name:
        raise
    raise ImportError(f"the C core is not built: make build BUILD={_variant}") from None

ffi: Any = _module.ffi
lib: "Lib" = _module.lib


def text(pointer: Any) -> str:
    """A C string as text."""
    return bytes(ffi.string(pointer)).decode("ascii")


BUILD_VARIANT: str = text(lib.pymc_build_variant())
HAS_DEBUG: bool = BUILD_VARIANT != "release"
