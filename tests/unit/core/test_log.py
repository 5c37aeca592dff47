"""The log: lines that nobody reads stop nobody, are counted, and come out whole."""

import os
import re
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pymc.core.ffi import ffi, lib

LINE_BYTES_MAX = int(lib.LOG_LINE_BYTES_MAX)


class Pipe:
    """A pipe with a log on its one end, and a reader that reads only when asked."""

    def __init__(self, kind: str) -> None:
        if kind == "socket":
            ours, theirs = socket.socketpair()
            self.read_fd, self.write_fd = ours.detach(), theirs.detach()
        else:
            self.read_fd, self.write_fd = os.pipe()
            os.set_blocking(self.write_fd, kind == "blocking")
        self.log: Any = lib.log_open(self.write_fd, b"worker 3")
        assert self.log != ffi.NULL

    def say(self, text: bytes) -> None:
        lib.log_line(self.log, text, len(text))

    def read(self) -> bytes:
        """All that is there now."""
        read = b""
        while select.select([self.read_fd], [], [], 0)[0]:
            read += os.read(self.read_fd, 1 << 20)
        return read

    def close(self) -> None:
        lib.log_close(self.log)
        os.close(self.read_fd)
        os.close(self.write_fd)


@pytest.fixture(params=["blocking", "nonblocking", "socket"])
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    made = Pipe(request.param)
    yield made
    made.close()


def test_a_line_is_written_at_once(pipe: Pipe) -> None:
    pipe.say(b"<30 get a")
    assert pipe.read() == b"<30 get a\n"


def test_nobody_reads(pipe: Pipe) -> None:
    said = 0
    while lib.log_dropped(pipe.log) == 0:
        pipe.say(b"line %06d %s" % (said, b"x" * (said % 300)))
        said += 1
    for _ in range(9):
        pipe.say(b"more")
    assert lib.log_dropped(pipe.log) == 10
    # The reader is back: what was kept comes out, then how much is missing, then what is new.
    read = b""
    while piece := pipe.read():
        read += piece
        lib.log_flush(pipe.log)
    pipe.say(b"after")
    lines = (read + pipe.read()).decode().splitlines()
    assert [int(line.split()[1]) for line in lines[:-2]] == list(range(said - 1))
    assert re.fullmatch(r"pymc: 10 lines of the log were dropped: .*", lines[-2])
    assert lines[-1] == "after"
    assert lib.log_dropped(pipe.log) == 10


def test_a_long_line_is_cut(pipe: Pipe) -> None:
    pipe.say(b"y" * 2 * LINE_BYTES_MAX)
    assert pipe.read() == b"y" * (LINE_BYTES_MAX - 1) + b"\n"


def test_lines_carry_time_and_name(pipe: Pipe) -> None:
    lib.log_stamp(pipe.log, 1_764_177_920_123_456_789)
    pipe.say(b">30 END")
    assert pipe.read() == b"2025-11-26T17:25:20.123456Z worker 3: >30 END\n"
    pipe.say(b"y" * 2 * LINE_BYTES_MAX)
    assert len(pipe.read()) == LINE_BYTES_MAX


def test_a_reader_that_is_gone_is_no_matter() -> None:
    pipe = Pipe("nonblocking")
    os.close(pipe.read_fd)
    pipe.read_fd = os.dup(pipe.write_fd)
    for _ in range(3):
        pipe.say(b"to nobody")
    pipe.close()
