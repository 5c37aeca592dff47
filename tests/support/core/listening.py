"""How tests' engines listen."""

from typing import Any

from pymc.core.ffi import ffi, lib

PLAIN_TCP: Any = ffi.new("struct engine_listener_options *", {"kind": lib.ENGINE_TCP})
