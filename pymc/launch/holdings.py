"""What a start has made and somebody has to give back: memory, sockets, files, the lifeline."""

import os

from pymc.logs import say
from pymc.messages import Lifeline
from pymc.record import Record
from pymc.server_context import ServerContext


class Holdings(Record):
    """A server without its processes. The supervisor holds it until the server ends.

    Whoever gets one can launch processes and watch over them: it does not matter whether a start
    made it or somebody handed it over.
    """

    context: ServerContext
    lifeline: Lifeline
    # None: there is none to remove.
    pidfile: str | None = None
    # Device and inode of the unix socket's file; another server may take its name later.
    socket_id: tuple[int, int] | None = None

    def stop_listening(self) -> None:
        """Closes the listening sockets of this process."""
        for address in self.context.addresses:
            address.close()

    def release(self) -> None:
        """Closes the flash files and removes the files that this server made; memory stays."""
        if self.context.flash:
            self.context.flash.close()
        if self.pidfile:
            _remove_file(self.pidfile)
        path = self.context.settings.unix_socket_path
        if path and self.socket_id and self.socket_id == socket_identity(path):
            _remove_file(path)


def socket_identity(path: str | None) -> tuple[int, int] | None:
    """Reads what tells the file at `path` from one that takes its name later; None for no file."""
    if path is None:
        return None
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_file(path: str) -> None:
    """Removes a file that this server made; that it is gone already is no matter."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        say(f"Could not remove the pid file {path}.: {error.strerror}")
