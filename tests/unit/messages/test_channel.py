"""The queues between processes: full, closed and cut off, and what becomes of descriptors."""

import os
import resource
import socket
from collections.abc import Iterator

import pytest

from pymc.messages import (
    MESSAGE_BYTES_MAX,
    NOTE_BYTES_MAX,
    AnswerEnded,
    AnswerMessage,
    End,
    Inbox,
    Lifeline,
    UnreadableError,
    WakeMessage,
    receive,
    receive_note,
    send,
    send_note,
)
from pymc.messages.declared import TO_ASKER
from pymc.messages.form import encode


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox.create()
    yield made
    made.reader.close()
    made.writer.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """One end to keep, and one to send: what is read from the first tells who has the second."""
    kept, sent = socket.socketpair()
    kept.setblocking(False)
    with kept, sent:
        yield kept, sent


def is_held(kept: socket.socket) -> bool:
    """Whether anybody has the other end."""
    try:
        return kept.recv(1) != b""
    except BlockingIOError:
        return True


Pair = tuple[socket.socket, socket.socket]


def test_descriptors_come_along_and_are_closed_on_exec(inbox: Inbox, pair: Pair) -> None:
    kept, sent = pair
    assert send(inbox.writer, AnswerMessage(b"stats"), [sent.fileno(), sent.fileno()])
    sent.close()
    message, descriptors = receive(inbox.reader)
    assert message == AnswerMessage(b"stats")
    assert len(descriptors) == 2
    for fd in descriptors:
        assert not os.get_inheritable(fd)
        assert is_held(kept)
        os.close(fd)
    assert not is_held(kept)


def test_nothing_there_is_told_from_nobody_there(inbox: Inbox) -> None:
    with pytest.raises(BlockingIOError):
        receive(inbox.reader)
    with pytest.raises(BlockingIOError):
        receive_note(inbox.reader)
    inbox.writer.close()
    with pytest.raises(EOFError):
        receive(inbox.reader)
    with pytest.raises(EOFError):
        receive_note(inbox.reader)


def test_a_full_queue_says_so_and_keeps_what_it_has(inbox: Inbox) -> None:
    count = 0
    while send(inbox.writer, WakeMessage()):
        count += 1
    assert count > 100
    assert not send_note(inbox.writer, b"note", [])
    for _ in range(count):
        assert receive(inbox.reader) == (WakeMessage(), [])
    with pytest.raises(BlockingIOError):
        receive(inbox.reader)


def test_who_is_gone_is_no_error(inbox: Inbox) -> None:
    inbox.reader.close()
    assert not send(inbox.writer, WakeMessage())
    assert not send(inbox.writer, AnswerEnded(End.DONE))


def test_a_message_that_is_too_long_is_not_sent(inbox: Inbox, pair: Pair) -> None:
    fds = [pair[1].fileno()] * 2
    room = MESSAGE_BYTES_MAX - len(encode(AnswerMessage(b""))) - len("1234") + len("0")
    assert send(inbox.writer, AnswerMessage(b"x" * room), fds)
    message, descriptors = receive(inbox.reader)
    assert message == AnswerMessage(b"x" * room)
    for fd in descriptors:
        os.close(fd)
    assert not send(inbox.writer, AnswerMessage(b"x" * (room + 1)), fds)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_descriptors_is_not_sent(inbox: Inbox, pair: Pair, count: int) -> None:
    assert not send(inbox.writer, AnswerMessage(b"stats"), [pair[1].fileno()] * count)


@pytest.mark.parametrize(
    ("datagram", "count"),
    [
        (b"wake\n", 1),
        (b"answer\nline 1\nx\n", 1),
        (b"answer\nline 1\nx\n", 3),
        (b"nothing\n", 2),
        (b"answer\nline 1\nx\n", 40),
        (b"x" * (MESSAGE_BYTES_MAX + 1), 2),
        (encode(AnswerEnded(End.DONE)), 0),
    ],
)
def test_what_is_no_message_leaves_no_descriptor(
    inbox: Inbox, pair: Pair, datagram: bytes, count: int
) -> None:
    kept, sent = pair
    assert send_note(inbox.writer, datagram, [sent.fileno()] * count)
    sent.close()
    with pytest.raises(UnreadableError):
        receive(inbox.reader)
    assert not is_held(kept)


def test_a_note_is_passed_on_as_it_is(inbox: Inbox, pair: Pair) -> None:
    kept, sent = pair
    note = b"n" * NOTE_BYTES_MAX
    assert send_note(inbox.writer, note, [sent.fileno()])
    sent.close()
    found, (fd,) = receive_note(inbox.reader)
    assert found == note
    os.close(fd)
    assert not is_held(kept)


@pytest.mark.parametrize(("size", "count"), [(8, 2), (8, 40), (NOTE_BYTES_MAX + 1, 1)])
def test_a_note_that_is_none_leaves_no_descriptor(
    inbox: Inbox, pair: Pair, size: int, count: int
) -> None:
    kept, sent = pair
    assert send_note(inbox.writer, b"n" * size, [sent.fileno()] * count)
    sent.close()
    with pytest.raises(UnreadableError):
        receive_note(inbox.reader)
    assert not is_held(kept)


def test_a_note_whose_descriptor_found_no_room_is_passed_on_all_the_same(
    inbox: Inbox, pair: Pair
) -> None:
    """It says where the connection was counted, and is not anymore."""
    kept, sent = pair
    assert send_note(inbox.writer, b"note", [sent.fileno()])
    sent.close()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        assert receive_note(inbox.reader) == (b"note", [])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert not is_held(kept)


def test_an_answer_ends_on_its_own_channel(inbox: Inbox) -> None:
    assert send(inbox.writer, AnswerEnded(End.REFUSED))
    assert receive(inbox.reader, TO_ASKER) == (AnswerEnded(End.REFUSED), [])


def test_the_lifeline_ends_with_its_writer() -> None:
    line = Lifeline.create()
    os.set_blocking(line.reader_fd, False)
    with pytest.raises(BlockingIOError):
        os.read(line.reader_fd, 1)
    line.close_writer()
    assert os.read(line.reader_fd, 1) == b""
    os.close(line.reader_fd)
