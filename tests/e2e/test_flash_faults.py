"""A server whose flash fails: at every kind of I/O error memory serves on, and no byte is wrong."""

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.deadline import scaled, wait_until
from tests.support.flash_server import VALUE_BYTES, fetch, fetch_all, fill, value
from tests.support.flash_witness import Witness, store_still_items
from tests.support.programs import Program
from tests.support.server import Server

pytestmark = [pytest.mark.debug, pytest.mark.tcp_memory]

MEMORY_MB = 16
PATH_MB = 48
ITEMS = 6000
# The longest that memory may take while flash is worse than that.
PROMPT_SECONDS = scaled(0.9)
SLOW_MS = round(scaled(1300))


def start(pymc: Program, folder: Path, more: str = "") -> Server:
    folder.chmod(0o777)
    paths = ",".join(f"ext_path={folder}/flash{number}:{PATH_MB}m" for number in range(2))
    options = f"ext_page_size=8,ext_wbuf_size=2,ext_compress=0,ext_recache_rate=0{more},{paths}"
    return Server(pymc, ["-t", "2", "-m", str(MEMORY_MB), "-o", options])


@pytest.fixture(params=["io_uring", "threads"])
def faulty(pymc: Program, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Half of its items are on flash only."""
    with start(pymc, tmp_path, f",ext_engine={request.param}") as server:
        store_still_items(server)
        fill(server, range(ITEMS))
        yield server


@pytest.fixture
def plain(pymc: Program, tmp_path: Path) -> Iterator[Server]:
    with start(pymc, tmp_path) as server:
        store_still_items(server)
        fill(server, range(ITEMS))
        yield server


def arm(server: Server, words: str) -> None:
    with server.connect() as connection:
        assert connection.ask(f"extstore fault {words}") == b"OK", words


def put(server: Server, numbers: range) -> None:
    """Stores the items without a thought for what flash can take."""
    with server.connect() as connection:
        for first in range(numbers.start, numbers.stop, 20):
            burst = range(first, min(first + 20, numbers.stop))
            commands = [b"ms k%d %d q\r\n%s\r\n" % (n, len(value(n)), value(n)) for n in burst]
            connection.send(b"".join(commands) + b"mn\r\n")
            assert connection.read_line() == b"MN\r\n"


def numbers_of(server: Server) -> dict[str, str]:
    """All counters of the server and its flash."""
    return server.stats() | server.stats("extstore")


def of_paths(stats: dict[str, str], what: str) -> int:
    return sum(int(stats[f"path_{number}_{what}"]) for number in range(2))


def fill_until(server: Server, first: int, condition: Callable[[], bool]) -> int:
    """Stores items from this number on until enough of them were written; the next number."""

    def look() -> bool:
        nonlocal first
        fill(server, range(first, first + 3000))
        first += 3000
        return condition()

    wait_until(look, "that much is written")
    return first


def lines_about(server: Server, what: str) -> int:
    return len(re.findall(rf"pymc: flash: .*{what}", server.stderr))


def on_flash(server: Server, wanted: int, items: int = ITEMS) -> list[int]:
    """Numbers of items that are on flash only: reading them counts as reads from there."""
    found: list[int] = []
    with server.connect() as connection:
        # In no order, so that they lie on both paths.
        for number in random.Random(wanted).sample(range(items), items):
            line = connection.ask(f"mg k{number} s")
            before = int(connection.stats()["get_extstore"])
            if line.startswith(b"HD"):
                fetch(connection, [number])
                if int(connection.stats()["get_extstore"]) > before:
                    found.append(number)
            if len(found) == wanted:
                return found
    raise AssertionError("too few items are on flash")


def fail_reads(server: Server, kind: str, faults: int) -> None:
    """Lets some reads fail: each costs its item and nothing else."""
    begun = time.monotonic()
    before, hits = numbers_of(server), fetch_all(server, range(ITEMS))
    arm(server, f"{kind} r all 10 {faults}")
    hits_with_faults = fetch_all(server, range(ITEMS))
    lost = hits - hits_with_faults
    assert 1 <= lost <= faults
    assert fetch_all(server, range(ITEMS)) == hits_with_faults
    after = numbers_of(server)

    def more(what: str) -> int:
        return int(after[what]) - int(before[what])

    is_damage = kind in ("torn", "flip")
    assert more("badcrc_from_extstore") == (lost if is_damage else 0)
    assert more("miss_from_extstore") == (0 if is_damage else lost)
    # A device that says that all is well has no error.
    errors = 0 if is_damage else faults
    assert of_paths(after, "read_errors") - of_paths(before, "read_errors") == errors
    assert more("read_errors") == errors
    assert of_paths(after, "out") == 0
    wait_until(lambda: is_damage or lines_about(server, "reads failed"), "it is logged")
    # At most one line a second for each of the two paths.
    assert lines_about(server, "reads failed") <= 2 * (time.monotonic() - begun + 2)


def test_reads_fail_for_a_moment(faulty: Server) -> None:
    with Witness(faulty) as witness:
        for kind in ("torn", "flip", "short", "eio"):
            fail_reads(faulty, kind, 12)
            witness.wait_rounds(3)


def test_writes_fail_for_a_moment(plain: Server) -> None:
    first, failed = ITEMS, 0

    def seen(what: str) -> int:
        return of_paths(plain.stats("extstore"), what)

    with Witness(plain) as witness:
        for turn, kind in enumerate(("eio", "enospc", "short"), start=1):
            written = int(plain.stats()["extstore_objects_written"])
            arm(plain, f"{kind} w all 0 2")
            # No room is no fault of the device, and nothing is lost by it.
            what, wanted = ("full_writes", 1) if kind == "enospc" else ("write_errors", failed + 2)
            first = fill_until(plain, first, lambda: seen(what) >= wanted)  # noqa: B023
            fetch_all(plain, range(first))
            stats = numbers_of(plain)
            failed = of_paths(stats, "write_errors")
            assert int(stats["write_errors"]) == failed == (4 if turn == 3 else 2)
            assert int(stats["extstore_objects_written"]) > written
            witness.wait_rounds(3)
    # Three in a row would be too many.
    assert of_paths(stats, "out") == 0
    assert stats["badcrc_from_extstore"] == "0"
    wait_until(lambda: lines_about(plain, "writes failed"), "it is logged")


def test_writes_that_lie(plain: Server) -> None:
    """The device says that all is well; the checksums tell."""
    first, before = ITEMS, 0
    with Witness(plain) as witness:
        for kind in ("torn", "flip"):
            arm(plain, f"{kind} w all 0 2")
            fill(plain, range(first, first + 3000))
            first += 3000
            hits = fetch_all(plain, range(first))
            bad = int(plain.stats()["badcrc_from_extstore"])
            assert 0 < bad - before < 2 * (2 << 20) // VALUE_BYTES + 10
            # What was found out is forgotten: it costs no second read.
            assert fetch_all(plain, range(first)) >= hits - 10
            assert int(plain.stats()["badcrc_from_extstore"]) == bad
            before = bad
            witness.wait_rounds(3)
    assert of_paths(plain.stats("extstore"), "out") == 0


def test_a_device_goes_away(faulty: Server) -> None:
    """All I/O on one of two paths fails: it is taken out, the other one goes on."""
    with Witness(faulty) as witness:
        arm(faulty, "eio rw 1")
        more = iter(range(ITEMS, 10 * ITEMS, 200))

        def is_out() -> bool:
            first = next(more)
            put(faulty, range(first, first + 200))
            with faulty.connect() as connection:
                fetch(connection, random.Random(first).sample(range(first + 200), 100))
            return faulty.stats("extstore")["path_1_out"] == "1"

        wait_until(is_out, "the path is taken out")
        last = next(more)
        hits = fetch_all(faulty, range(last))
        assert hits * VALUE_BYTES > 8 << 20
        witness.wait_rounds(5)
        assert witness.longest_seconds < PROMPT_SECONDS
        stats = numbers_of(faulty)
        assert stats["path_0_out"] == "0"
        assert stats["badcrc_from_extstore"] == "0"
        assert lines_about(faulty, "flash1: .*taken out of service") == 1
        # Its successor knows, and the log goes on.
        keeper = int(faulty.stats("pymc")["keeper_pid"])
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: faulty.stats("pymc")["keeper_pid"] not in ("0", str(keeper)), "a keeper")
        written = int(faulty.stats()["extstore_objects_written"])

        def is_written() -> bool:
            first = next(more)
            put(faulty, range(first, first + 200))
            return int(faulty.stats()["extstore_objects_written"]) > written + 200

        wait_until(is_written, "the log goes on")
        assert fetch_all(faulty, range(next(more))) * VALUE_BYTES > 8 << 20
        stats = numbers_of(faulty)
        assert stats["path_1_out"] == "1"
        assert stats["badcrc_from_extstore"] == "0"
        assert lines_about(faulty, "flash1: .*taken out of service") == 1


def test_all_devices_go_away(plain: Server) -> None:
    """Memory alone goes on, even after the devices are back."""
    with Witness(plain) as witness:
        arm(plain, "eio rw")
        more = iter(range(ITEMS, 10 * ITEMS, 200))

        def are_out() -> bool:
            first = next(more)
            put(plain, range(first, first + 200))
            return of_paths(plain.stats("extstore"), "out") == 2

        wait_until(are_out, "both paths are taken out")
        arm(plain, "none rw")
        last = next(more)
        wait_until(lambda: int(plain.stats("extstore")["index_entries"]) == 0, "no entry is left")
        hits = fetch_all(plain, range(last))
        assert 4 << 20 < hits * VALUE_BYTES < MEMORY_MB << 20
        assert lines_about(plain, "no path is left, items stay in memory only") == 1
        put(plain, range(last, last + 500))
        assert fetch_all(plain, range(last, last + 500)) > 300
        witness.wait_rounds(5)
        assert witness.longest_seconds < PROMPT_SECONDS


def test_slow_reads(faulty: Server) -> None:
    """Who waits for flash waits; nobody else does."""
    numbers = on_flash(faulty, 20)
    set_read_timeout(faulty, 60_000)
    with Witness(faulty) as witness, faulty.connect() as slow, faulty.connect() as other:
        arm(faulty, f"slow r all 0 0 {SLOW_MS}")
        witness.wait_rounds(1)
        witness.forget()
        begun = time.monotonic()
        # Both workers wait for flash.
        for connection in (slow, other):
            connection.send(b"".join(b"get k%d\r\n" % number for number in numbers[:3]))
        witness.wait_rounds(20)
        assert witness.longest_seconds < PROMPT_SECONDS
        for connection in (slow, other):
            for number in numbers[:3]:
                line = b"VALUE k%d 0 %d\r\n" % (number, len(value(number)))
                assert connection.read_line() == line
                assert connection.read_exactly(len(value(number)) + 7)[:-7] == value(number)
        assert time.monotonic() - begun > SLOW_MS / 1000
        assert witness.longest_seconds < PROMPT_SECONDS
        arm(faulty, "none rw")
        assert fetch(slow, numbers) == len(numbers)
        wait_until(lambda: lines_about(faulty, "reads took longer than a second"), "it is logged")
        assert of_paths(faulty.stats("extstore"), "slow_reads") > 0
        assert of_paths(faulty.stats("extstore"), "out") == 0


def set_read_timeout(server: Server, milliseconds: int) -> None:
    with server.connect() as connection:
        assert connection.ask(f"extstore read_timeout {milliseconds}") == b"OK"


def ask_all(server: Server, numbers: list[int]) -> int:
    """Asks for each item over a connection of its own, all at once; how many are there."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in numbers]
        for number, connection in zip(numbers, connections, strict=True):
            connection.send(b"get k%d\r\n" % number)
        found = 0
        for number, connection in zip(numbers, connections, strict=True):
            line = connection.read_line()
            if line != b"END\r\n":
                assert line == b"VALUE k%d 0 %d\r\n" % (number, len(value(number)))
                assert connection.read_exactly(len(value(number)) + 7)[:-7] == value(number)
                found += 1
    return found


def test_a_device_hangs(faulty: Server) -> None:
    """One of two never answers a read: its items are missing in time, all else goes on.

    More reads hang than a worker has under way; and with them the server ends in time.
    """
    # So many that both paths have pages.
    fill(faulty, range(ITEMS, 2 * ITEMS))
    numbers = on_flash(faulty, 200, 2 * ITEMS)
    set_read_timeout(faulty, 300)
    with Witness(faulty) as witness:
        arm(faulty, "hang r 0")
        witness.wait_rounds(1)
        witness.forget()
        found = ask_all(faulty, numbers)
        assert 0 < found < len(numbers)
        before = int(faulty.stats("extstore")["device_reads"])
        # It is known now: the other one's items are read, its own are missing at once.
        assert ask_all(faulty, numbers) == found
        stats = numbers_of(faulty)
        # Some of what is found may wait in a write buffer.
        assert 0 < int(stats["device_reads"]) - before <= found
        witness.wait_rounds(5)
        assert witness.longest_seconds < PROMPT_SECONDS
    assert (stats["path_0_late"], stats["path_1_late"]) == ("1", "0")
    assert (stats["path_0_times_late"], stats["path_1_late_reads"]) == ("1", "0")
    assert int(stats["path_0_late_reads"]) > 0
    assert int(stats["late_looks"]) >= 2 * (len(numbers) - found)
    assert of_paths(stats, "out") == of_paths(stats, "read_errors") == 0
    assert lines_about(faulty, "flash0: a read was not answered within 300 ms") == 1
    # What was not there is stored anew.
    with faulty.connect() as connection:
        for number in numbers:
            assert connection.store(f"k{number}", value(number)) == b"STORED"
    assert ask_all(faulty, numbers) == len(numbers)


def test_a_slow_device_is_not_late(faulty: Server) -> None:
    """Each read takes its time, and some wait for others longer than one may take."""
    numbers = on_flash(faulty, 120)
    set_read_timeout(faulty, 2000)
    arm(faulty, "slow r all 0 0 200")
    assert ask_all(faulty, numbers) == len(numbers)
    stats = faulty.stats("extstore")
    assert of_paths(stats, "late_reads") == of_paths(stats, "times_late") == 0


def test_slow_writes(plain: Server) -> None:
    """The keeper waits in a thread: its other work and the workers go on."""
    with Witness(plain) as witness:
        arm(plain, f"slow w all 0 1 {SLOW_MS}")
        begun = time.monotonic()
        first = ITEMS

        def is_over() -> bool:
            nonlocal first
            put(plain, range(first, first + 40))
            first += 40
            return time.monotonic() - begun > 1.5 * SLOW_MS / 1000

        wait_until(is_over, "writes were slow")
        with plain.connect() as connection:
            connection.send(b"lru_crawler metadump hash\r\n")
            connection.read_line()
        assert witness.longest_seconds < PROMPT_SECONDS
        witness.wait_rounds(5)
        fill(plain, range(first, first + 3000))
        assert fetch_all(plain, range(first, first + 3000)) > 2500
        fetch_all(plain, range(first))
        assert witness.longest_seconds < PROMPT_SECONDS
    assert of_paths(plain.stats("extstore"), "out") == 0
