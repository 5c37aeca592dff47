"""What systemd is told, on a socket that stands for its own."""

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pymc.launch.service import Service


class Listener:
    """systemd's end of the channel, and the clock of who tells it something."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address}
        self.seconds = 100.0

    def service(self, more: Mapping[str, str] | None = None) -> Service:
        return Service({**self.environ, **(more or {})}, lambda: self.seconds)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    is_path = request.param == "path"
    found = Listener(str(tmp_path / "notify") if is_path else f"@pymc-test-{os.getpid()}")
    yield found
    found.socket.close()


def test_states_are_told(listener: Listener) -> None:
    service = listener.service()
    service.ready("serving")
    service.reloading()
    service.stopping()
    ready, reloading, stopping = listener.heard()
    assert ready == f"READY=1\nSTATUS=serving\nMAINPID={os.getpid()}"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert stopping == "STOPPING=1"


def test_alive_is_told_twice_in_the_time_that_systemd_waits(listener: Listener) -> None:
    service = listener.service({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())})
    assert service.due == 110.0
    service.alive()
    assert listener.heard() == []
    listener.seconds = 110.0
    service.alive()
    service.alive()
    assert listener.heard() == ["WATCHDOG=1"]
    assert service.due == 120.0


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        # Meant for another process.
        {"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid() + 1)},
    ],
)
def test_nobody_waits_for_a_sign_of_life(listener: Listener, more: dict[str, str]) -> None:
    service = listener.service(more)
    assert service.due == float("inf")
    listener.seconds = 1e9
    service.alive()
    assert listener.heard() == []


def test_without_systemd_nothing_is_told() -> None:
    service = Service({"WATCHDOG_USEC": "20000000"})
    assert service.due == float("inf")
    service.ready("serving")


def test_nobody_listens_any_more(listener: Listener) -> None:
    service = listener.service()
    listener.socket.close()
    service.stopping()


def test_who_does_not_read_holds_nobody_up(listener: Listener) -> None:
    service = listener.service()
    for _ in range(10_000):
        service.stopping()
