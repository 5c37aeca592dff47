"""Lines for standard error from Python: they wait for nobody, and none is lost unnoticed."""

import os
import re
import select
import socket
import subprocess
import sys

import pytest

from pymc.logs import Log
from tests.support.deadline import scaled


def read_all(fd: int) -> bytes:
    read = b""
    while select.select([fd], [], [], 0)[0]:
        read += os.read(fd, 1 << 20)
    return read


@pytest.mark.parametrize("kind", ["blocking", "nonblocking", "socket"])
def test_nobody_reads(kind: str) -> None:
    if kind == "socket":
        ends = socket.socketpair()
        read_fd, write_fd = ends[0].detach(), ends[1].detach()
    else:
        read_fd, write_fd = os.pipe()
        os.set_blocking(write_fd, kind == "blocking")
    log = Log(write_fd)
    said = 0
    while not log.dropped:
        log.say(f"line {said} {'x' * (said % 300)}")
        said += 1
    log.say("more")
    read = b""
    while piece := read_all(read_fd):
        read += piece
        log.flush()
    log.say("after")
    lines = (read + read_all(read_fd)).decode().splitlines()
    assert [int(line.split()[1]) for line in lines[:-2]] == list(range(said - 1))
    assert lines[-2:] == ["pymc: 2 lines of the log were dropped: nobody read them", "after"]
    os.close(read_fd)
    os.close(write_fd)


def test_lines_carry_time_and_role() -> None:
    read_fd, write_fd = os.pipe()
    log = Log(write_fd)
    log.role, log.is_stamped = "keeper", True
    log.say("one\ntwo")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z keeper: "
    assert re.fullmatch(rf"{stamp}one\n{stamp}two\n", read_all(read_fd).decode())
    os.close(read_fd)
    os.close(write_fd)


def test_what_others_share_stays_as_it_is() -> None:
    """Whether a write waits is a matter of the open file, which the caller's shell shares."""
    read_fd, write_fd = os.pipe()
    program = "from pymc import logs; logs.attach(); logs.say('x'); import os;"
    program += "assert logs.log_fd() != 2 and not os.get_blocking(logs.log_fd())"
    subprocess.run([sys.executable, "-c", program], stderr=write_fd, check=True, timeout=scaled(60))
    assert os.get_blocking(write_fd)
    assert read_all(read_fd) == b"x\n"
    os.close(read_fd)
    os.close(write_fd)
