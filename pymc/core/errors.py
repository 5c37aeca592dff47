"""What can go wrong in the C core, as exceptions: one table from status to exception."""

import os

from pymc.core.ffi import ffi, lib, text


class CoreError(Exception):
    """An operation of the core failed; the message names the operation and the status."""


class CoreMemoryError(CoreError, MemoryError):
    """The arena, a pool or the system has no memory left; nothing was changed."""


class TooLargeError(CoreError):
    """The object can never fit."""


class InvalidArgumentError(CoreError, ValueError):
    """An argument is outside its documented range."""


class SystemCallError(CoreError, OSError):
    """A system call failed; `errno` says why."""


class BusyError(CoreError):
    """Somebody else is doing this now; try again later."""


class NotFoundError(CoreError, LookupError):
    """The named thing does not exist."""


class CorruptError(CoreError):
    """Shared state contradicts itself."""


EXCEPTIONS: dict[int, type[CoreError]] = {
    lib.PYMC_NO_MEMORY: CoreMemoryError,
    lib.PYMC_TOO_LARGE: TooLargeError,
    lib.PYMC_INVALID: InvalidArgumentError,
    lib.PYMC_OS_ERROR: SystemCallError,
    lib.PYMC_BUSY: BusyError,
    lib.PYMC_NOT_FOUND: NotFoundError,
    lib.PYMC_CORRUPT: CorruptError,
}


def check(status: int, operation: str) -> None:
    """Raises the exception that stands for `status`, if it is not 0. Call right after C."""
    if status == lib.PYMC_OK:
        return
    number = ffi.errno
    kind = EXCEPTIONS.get(status, CoreError)
    if kind is SystemCallError:
        raise SystemCallError(number, f"{operation}: {os.strerror(number)}")
    raise kind(f"{operation}: {text(lib.pymc_status_name(status))}")
