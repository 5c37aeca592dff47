"""The only room that touches C: one thin class per handle, one table from status to exception."""

from pymc.core.arena import Arena, Role, SlotOwner
from pymc.core.engine import Engine, ListenerKind, ReplyKind, Request, Wants
from pymc.core.errors import (
    BusyError,
    CoreError,
    InvalidArgumentError,
    NotFoundError,
    SystemCallError,
)
from pymc.core.ffi import BUILD_VARIANT, HAS_DEBUG
from pymc.core.store import Geometry, Outcome, Store

__all__ = [
    "BUILD_VARIANT",
    "HAS_DEBUG",
    "Arena",
    "BusyError",
    "CoreError",
    "Engine",
    "Geometry",
    "InvalidArgumentError",
    "ListenerKind",
    "NotFoundError",
    "Outcome",
    "ReplyKind",
    "Request",
    "Role",
    "SlotOwner",
    "Store",
    "SystemCallError",
    "Wants",
]
