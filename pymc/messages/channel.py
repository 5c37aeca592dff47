"""The queues between processes: socket pairs that keep message boundaries, and never wait.

What a queue holds at most is the system's bound of a socket's memory. Who sends into a full one is
answered False at once, and does what the message's declaration says.
"""

import os
import socket
import sys
from collections.abc import Sequence

from pymc.messages.declared import TO_KEEPER
from pymc.messages.form import Message, UnreadableError, decode, encode
from pymc.record import Record

MESSAGE_BYTES_MAX = 4096
# The note that comes with a connection; csrc/server knows what is in it.
NOTE_BYTES_MAX = 256
_FD_BYTES = 4
# One more than any message brings along, so that a wrong number of them is noticed.
_DESCRIPTORS_MAX = 3
_WITHOUT_WAITING = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class Inbox(Record):
    """Both ends of a socket pair that keeps message boundaries: one reads, any may write."""

    reader: socket.socket
    writer: socket.socket

    @classmethod
    def create(cls) -> "Inbox":
        """Makes both ends, non-blocking and closed on exec. Raises OSError."""
        # Not SOCK_DGRAM: its queue may be as short as ten messages, whatever the buffer.
        reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader.setblocking(False)
        writer.setblocking(False)
        return cls(reader, writer)


class Lifeline(Record):
    """Tells by its end that the supervisor is gone, whatever it died of.

    The supervisor alone keeps the writer; nobody ever writes.
    """

    reader_fd: int
    writer_fd: int

    @classmethod
    def create(cls) -> "Lifeline":
        """Makes both ends, closed on exec. Raises OSError."""
        return cls(*os.pipe())

    def close_writer(self) -> None:
        """Closes the writer, first thing in each child: who has it keeps all others alive."""
        os.close(self.writer_fd)


def send(target: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> bool:
    """Sends a message with copies of descriptors; False when there is no room or nobody reads."""
    data = encode(message)
    if len(data) > MESSAGE_BYTES_MAX or len(descriptors) != message.delivery.descriptors:
        return False
    return send_note(target, data, descriptors)


def receive(
    source: socket.socket, kinds: tuple[type[Message], ...] = TO_KEEPER
) -> tuple[Message, list[int]]:
    """Takes the next message and the descriptors that came with it, which are the caller's then.

    Raises BlockingIOError when there is none, EOFError when the other end is closed, and
    UnreadableError, with all descriptors closed, for what is no message of these kinds.
    """
    datagram, descriptors = _receive(source, MESSAGE_BYTES_MAX)
    if not datagram and not descriptors:
        raise EOFError
    try:
        message = decode(datagram, kinds)
        if len(descriptors) != message.delivery.descriptors:
            raise UnreadableError(f"{len(descriptors)} descriptors came with {datagram[:64]!r}")
    except UnreadableError:
        close_all(descriptors)
        raise
    return message, descriptors


def send_note(target: socket.socket, note: bytes, descriptors: Sequence[int]) -> bool:
    """Sends bytes with copies of descriptors; False when there is no room or nobody reads."""
    rights = b"".join(fd.to_bytes(_FD_BYTES, sys.byteorder) for fd in descriptors)
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    try:
        return target.sendmsg([note], control, _WITHOUT_WAITING) == len(note)
    except OSError:
        return False


def receive_note(source: socket.socket) -> tuple[bytes, list[int]]:
    """Takes a connection that was handed over: the note about it, and its descriptor.

    There is no descriptor where this process has as many as it may have: the connection is closed
    then, and the note says where it is still counted. Raises BlockingIOError when there is none,
    EOFError when the other end is closed, and UnreadableError, with all descriptors closed, for one
    that is cut off or has several.
    """
    note, descriptors = _receive(source, NOTE_BYTES_MAX)
    if not note and not descriptors:
        raise EOFError
    if len(descriptors) > 1:
        close_all(descriptors)
        raise UnreadableError(f"{len(descriptors)} descriptors came with a connection's note")
    return note, descriptors


def close_all(descriptors: Sequence[int]) -> None:
    """Closes descriptors that came with a message."""
    for fd in descriptors:
        os.close(fd)


def _receive(source: socket.socket, bytes_max: int) -> tuple[bytes, list[int]]:
    # The system closes those for which there is no room; then there are not as many as there were.
    room = socket.CMSG_SPACE(_DESCRIPTORS_MAX * _FD_BYTES)
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    data, control, seen, _ = source.recvmsg(bytes_max, room, flags)
    descriptors = [
        int.from_bytes(rights[at : at + _FD_BYTES], sys.byteorder)
        for level, kind, rights in control
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for at in range(0, len(rights) // _FD_BYTES * _FD_BYTES, _FD_BYTES)
    ]
    if seen & socket.MSG_TRUNC:
        close_all(descriptors)
        raise UnreadableError(f"a message is cut off: {data[:64]!r}")
    return data, descriptors
