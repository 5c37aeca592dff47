"""A server that systemd started: what it is told of, and what its processes may not do."""

import os
import signal
import socket
from pathlib import Path

from tests.support.deadline import scaled
from tests.support.programs import Program
from tests.support.server import Server

WATCHDOG_SECONDS = 0.1


def hear(channel: socket.socket, first_word: str) -> str:
    """The next message that begins like this; signs of life stand between."""
    while True:
        message = channel.recv(4096).decode()
        if message.startswith(first_word):
            return message


def test_systemd_is_told(pymc: Program, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        os.chmod(tmp_path / "notify", 0o777)
        tmp_path.chmod(0o777)
        channel.settimeout(scaled(20))
        env = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6)),
        }
        with Server(pymc, ["-t", "2"], env=env) as server:
            assert f"MAINPID={server.pid}" in hear(channel, "READY=1")
            hear(channel, "WATCHDOG=1")
            hear(channel, "WATCHDOG=1")
            os.kill(server.pid, signal.SIGHUP)
            hear(channel, "RELOADING=1")
            hear(channel, "READY=1")
        hear(channel, "STOPPING=1")


def test_no_process_can_gain_rights(pymc: Program) -> None:
    with Server(pymc, ["-t", "2"]) as server:
        server.stats()
        for process in server.living_processes():
            assert "NoNewPrivs:\t1" in Path(f"/proc/{process.pid}/status").read_text()
