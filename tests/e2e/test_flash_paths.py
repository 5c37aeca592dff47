"""Paths of a running server: taken out and in by hand, late while a write hangs."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.flash_server import fetch_all, fill, value
from tests.support.flash_witness import Witness, store_still_items
from tests.support.programs import Program
from tests.support.server import Server

ITEMS = 6000


def start(pymc: Program, folder: Path) -> Server:
    folder.chmod(0o777)
    paths = ",".join(f"ext_path={folder}/flash{number}:48m" for number in range(2))
    options = f"ext_page_size=8,ext_wbuf_size=2,ext_compress=0,{paths}"
    return Server(pymc, ["-t", "2", "-m", "16", "-o", options])


def state(server: Server, path: int) -> tuple[str, str]:
    stats = server.stats("extstore")
    return stats[f"path_{path}_state"], stats[f"path_{path}_state_why"]


def ask(server: Server, line: str) -> bytes:
    with server.connect() as connection:
        return connection.ask(line)


def put(server: Server, numbers: range) -> None:
    with server.connect() as connection:
        for n in numbers:
            connection.send(b"ms k%d %d q\r\n%s\r\n" % (n, len(value(n)), value(n)))
        assert connection.ask("mn") == b"MN"


def test_out_and_in_by_hand(pymc: Program, tmp_path: Path) -> None:
    # Enough for several pages on each of them.
    items = 2 * ITEMS
    with start(pymc, tmp_path) as server:
        fill(server, range(items))
        both = fetch_all(server, range(items))
        assert ask(server, "extstore path 1 out") == b"OK"
        wait_until(lambda: state(server, 1) == ("out", "by hand"), "it is out")
        one = fetch_all(server, range(items))
        assert one < both
        fill(server, range(items, items + 2000))
        stats = server.stats("extstore")
        assert state(server, 0) == ("in", "ok")
        # Its successor leaves it out.
        keeper = int(server.stats("pymc")["keeper_pid"])
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: server.stats("pymc")["keeper_pid"] not in ("0", str(keeper)), "a keeper")
        assert state(server, 1) == ("out", "by hand")
        assert ask(server, "extstore path 1 in") == b"OK"
        wait_until(lambda: state(server, 1) == ("in", "ok"), "it is in")
        written = int(stats["device_bytes_written"])
        fill(server, range(items + 2000, items + 6000))
        assert int(server.stats("extstore")["device_bytes_written"]) > written
        # Both are used: one has no room for as much.
        wait_until(lambda: fetch_all(server, range(items + 6000)) > one, "more is found")
        assert server.stderr.count("flash1: taken out of service: by hand") == 1


@pytest.mark.debug
@pytest.mark.debug
def test_a_write_that_hangs(pymc: Program, tmp_path: Path) -> None:
    """Its path is late, memory serves on, and the server ends when it is told to."""
    with start(pymc, tmp_path) as server:
        store_still_items(server)
        fill(server, range(ITEMS))
        assert ask(server, "extstore fault slow w 1 0 0 3600000") == b"OK"
        more = iter(range(ITEMS, 100 * ITEMS, 20))

        def is_late() -> bool:
            first = next(more)
            put(server, range(first, first + 20))
            return state(server, 1) == ("late", "a write is not answered")

        with Witness(server) as witness:
            wait_until(is_late, "the path is late", pause_seconds=0.05)
            assert state(server, 0) == ("in", "ok")
            # The other path is written.
            written = int(server.stats("extstore")["device_bytes_written"])

            def goes_on() -> bool:
                first = next(more)
                put(server, range(first, first + 20))
                now = int(server.stats("extstore")["device_bytes_written"])
                return now > written + (8 << 20)

            wait_until(goes_on, "the other path is written", pause_seconds=0.01)
            assert state(server, 1)[0] == "late"
            witness.wait_rounds(5)
        assert "flash1: late: a write is not answered; not used until it answers" in server.stderr
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait_exit() == 0
        assert not server.living_processes()
