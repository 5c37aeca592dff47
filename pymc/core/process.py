"""What a process of the server asks of the system: its fork, its memory, its core files."""

import os

from pymc.core.errors import SystemCallError, check
from pymc.core.ffi import ffi, lib

# What children of this process do not keep.
_own_fds: set[int] = set()


def keep_from_children(fd: int) -> None:
    """Lets fork_child() close this descriptor in each child, until forget_own() is called."""
    _own_fds.add(fd)


def forget_own(fd: int) -> None:
    """Ends what keep_from_children() began. Requires: it did."""
    _own_fds.remove(fd)


def fork_child() -> int:
    """Forks; 0 in the child, which ends with its parent. Raises OSError. No thread may run yet.

    As os.fork() does it, but without what the interpreter does afterwards for threads and their
    locks: a child would have half a megabyte more of its own.
    """
    pid = int(lib.process_fork())
    if pid < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    if pid == 0:
        while _own_fds:
            os.close(_own_fds.pop())
    return pid


def give_back_zeroes(value: object) -> int:
    """Gives pages of an object back that hold only zeroes, which it has where it was never used."""
    return int(lib.zeroes_give_back(id(value), type(value).__basicsize__))


def allow_core_dumps() -> None:
    """Lets this process dump core although it changed its user."""
    lib.process_allow_core_dumps()


def hide_memory() -> None:
    """Keeps the memory of this process and its children out of core files and from debuggers."""
    lib.process_hide_memory()


def give_up_privileges() -> None:
    """Lets no program that this process or a child starts gain rights. Raises SystemCallError."""
    check(lib.process_give_up_privileges(), "prctl")


def lock_all_memory() -> str:
    """Keeps this process in RAM, each page once it is touched; what went wrong, "" if nothing."""
    try:
        check(lib.process_lock_memory(), "mlockall")
    except SystemCallError as error:
        return os.strerror(error.errno or 0)
    return ""
