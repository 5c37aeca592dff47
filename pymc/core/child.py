"""What keeps a process of the server small: how it is forked, and pages that it need not have."""

import os

from pymc.core.ffi import ffi, lib


def fork_child() -> int:
    """Forks; 0 in the child, which ends with its parent. Raises OSError. No thread may run yet.

    As os.fork() does it, but without what the interpreter does afterwards for threads and their
    locks: a child would have half a megabyte more of its own.
    """
    pid = int(lib.child_fork())
    if pid < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return pid


def give_back_zeroes(value: object) -> int:
    """Gives pages of an object back that hold only zeroes, which it has where it was never used."""
    return int(lib.zeroes_give_back(id(value), type(value).__basicsize__))
