"""Standard error that nobody reads, and lines that say when and who."""

import os
import re
import select
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.deadline import wait_until
from tests.support.programs import pymc_program
from tests.support.server import Server

REQUESTS = 20_000


class UnreadServer(Server):
    """Its standard error is a pipe; somebody has it open and does not read."""

    _stderr_file: Path

    def _start(self, extra: dict[str, str]) -> Any:
        os.mkfifo(self._stderr_file)
        self._stderr_file.chmod(0o666)
        self.unread_fd = os.open(self._stderr_file, os.O_RDONLY | os.O_NONBLOCK)
        return super()._start(extra)

    @property
    def stderr(self) -> str:
        return "(a pipe)"

    def read_now(self) -> bytes:
        """All that can be read at once."""
        read = b""
        while select.select([self.unread_fd], [], [], 0)[0]:
            piece = os.read(self.unread_fd, 1 << 16)
            if not piece:
                break
            read += piece
        return read


def ask_much(server: Server, args: Sequence[bytes]) -> None:
    with server.connect() as connection:
        for line in args:
            connection.send(line * 100)
            for _ in range(100):
                assert connection.read_line() == b"END\r\n"


def test_a_log_that_nobody_reads_stops_nobody() -> None:
    server = UnreadServer(pymc_program(), ("-vv", "-t", "1"))
    with server:
        try:
            ask_much(
                server, [b"get somewhat-longer-key-%04d\r\n" % n for n in range(REQUESTS // 100)]
            )
            read = b""

            def says_what_is_missing() -> bool:
                nonlocal read
                read += server.read_now()
                with server.connect() as connection:
                    assert connection.ask("version").startswith(b"VERSION")
                return b"lines of the log were dropped" in read

            wait_until(says_what_is_missing, "the log says how much of it is missing")
        finally:
            os.close(server.unread_fd)


def test_full_lines_say_when_and_who() -> None:
    with Server(pymc_program(), ("-vv", "-t", "1", "-o", "log_format=full")) as server:
        with server.connect() as connection:
            assert connection.ask("get abc") == b"END"
        stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
        wait_until(
            lambda: bool(re.search(rf"^{stamp} worker 0: <\d+ get abc$", server.stderr, re.M)),
            "the line is there",
        )
        assert re.search(rf"^{stamp} supervisor: slab class", server.stderr, re.M)


def test_plain_lines_are_memcacheds() -> None:
    with Server(pymc_program(), ("-vv", "-t", "1")) as server:
        with server.connect() as connection:
            assert connection.ask("get abc") == b"END"
        wait_until(
            lambda: bool(re.search(r"^<\d+ get abc$", server.stderr, re.M)), "the line is there"
        )
