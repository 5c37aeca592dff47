"""-o announce: the line is true, and the command in it works."""

import os
import subprocess
from pathlib import Path

from pymc import cli
from pymc.launch.announce import announcement
from pymc.launch.sockets import open_addresses
from pymc.server_context import ListeningAddress
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

ROOT_LINE = "warning: this server runs as root: -u USER gives that up\n"


def test_the_line_and_its_command(pymc: Program, tmp_path: Path) -> None:
    args = ["-t", "1", "-m", "80", "-o", f"announce,ext_path={tmp_path}/f:64m"]
    with Server(pymc, args) as server:
        wait_until(lambda: "; try: " in server.stderr, "it is said")
        line, _, rest = server.stderr.partition("\n")
        assert rest == (ROOT_LINE if os.geteuid() == 0 else "")
        where, end, command = line.split("; ", 2)
        assert where == (
            f"pymc listens on 127.0.0.1:{server.port} with 80 MiB"
            f" and 64 MiB of flash in {tmp_path}/f"
        )
        assert end == "Ctrl-C ends it"
        tried = subprocess.run(
            ["sh", "-c", command.removeprefix("try: ")],
            capture_output=True,
            timeout=scaled(20),
            check=True,
        )
        assert tried.stdout == b"STORED\r\nVALUE hello 0 5\r\nworld\r\nEND\r\n"


def test_nothing_is_said_unasked(server: Server) -> None:
    assert server.stderr == ""


def said_of(*args: str, uid: int = 1000) -> tuple[str, tuple[ListeningAddress, ...]]:
    settings = cli.parse(["-u", "root", *args], "pymc", {})
    addresses = open_addresses(settings)
    try:
        return announcement(settings, addresses, uid), addresses
    finally:
        for address in addresses:
            address.close()


def test_a_unix_socket(tmp_path: Path) -> None:
    said, _ = said_of("-s", f"{tmp_path}/s", "-d")
    assert said.startswith(f"pymc listens on {tmp_path}/s with 64 MiB; kill {os.getpid()} ends it")
    assert said.endswith(f" | nc -U {tmp_path}/s")


def test_any_address_is_tried_on_loopback() -> None:
    said, addresses = said_of("-l", "0.0.0.0", "-p", "-1", uid=0)
    port = addresses[0].name[1]
    assert said.startswith(f"pymc listens on 0.0.0.0:{port} with")
    assert f"/dev/tcp/127.0.0.1/{port};" in said
    assert said.endswith("\n" + ROOT_LINE.rstrip("\n"))


def test_without_addresses_there_is_nothing_to_try() -> None:
    said, _ = said_of("-p", "0")
    assert said == "pymc listens on no address with 64 MiB; Ctrl-C ends it"
