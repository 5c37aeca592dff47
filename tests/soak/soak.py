"""Hours of checked load on a server with a flash tier, with kills: `python -m tests.soak.soak`.

Clients in processes of their own know what each of their keys may hold and check every answer; a
miss is allowed, an old, foreign or damaged value never. Ends with status 0 when nothing was wrong.
"""

import argparse
import math
import multiprocessing
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from tests.soak.client import Client
from tests.soak.watch import Watch
from tests.support.connection import Address, ClosedError
from tests.support.deadline import scaled, wait_until
from tests.support.killing import signal_child
from tests.support.programs import pymc_program
from tests.support.server import Server

HANG_SECONDS = scaled(40.0)
BACK_SECONDS = scaled(20.0)
SHOW_SECONDS = 10.0
FLUSH_REQUESTS = 4_000_000
FAULT_SECONDS = 2.0
FAULTS = ("eio", "enospc", "short", "torn", "flip", "slow", "again")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--keys", type=int, default=50_000, help="of each client")
    parser.add_argument("--memory-mb", type=int, default=64)
    parser.add_argument("--flash-mb", type=int, default=320, help="of each of two paths")
    parser.add_argument("--page-mb", type=int, default=16)
    parser.add_argument("--options", default="", help="more for -o")
    parser.add_argument("--kill-seconds", type=float, default=6.0, help="at most from kill to kill")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--stops", type=float, default=0.0, help="share of kills that only stop")
    parser.add_argument("--faults", action="store_true", help="of I/O; needs PYMC_BUILD=debug")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", type=Path, help="where the flash files are; default: a new one")
    return parser.parse_args(words)


def server_args(wants: argparse.Namespace, folder: Path) -> list[str]:
    folder.chmod(0o777)
    options = [f"ext_page_size={wants.page_mb},ext_wbuf_size=2,ext_item_size=1,ext_recache_rate=50"]
    options += [f"ext_path={folder}/flash{i}:{wants.flash_mb}m" for i in range(2)]
    options += [wants.options] if wants.options else []
    return ["-t", "2", "-m", str(wants.memory_mb), "-o", ",".join(options)]


def run_client(
    pipe: Pipe,
    progress: Any,
    over: Event,
    address: Address,
    number: int,
    wants: argparse.Namespace,
) -> None:
    """The process of one client; says in the end how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    client = Client(address, number, wants.clients, wants.keys, wants.seed)
    flushes = 0

    def step() -> None:
        nonlocal flushes
        progress[number] = client.counts["requests"]
        if number == 0 and client.counts["requests"] // FLUSH_REQUESTS > flushes:
            flushes += 1
            client.flush()

    error = ""
    try:
        client.work(over.is_set, step)
        before = client.counts["hits"]
        client.look_at_all()
        client.counts["hits at the end"] = client.counts["hits"] - before
    except BaseException:
        error = f"client {number}: {traceback.format_exc()}"
    client.close()
    pipe.send((error, client.counts))


class Soak:
    """A server, its clients, and who kills."""

    def __init__(self, wants: argparse.Namespace, server: Server) -> None:
        self.wants = wants
        self.server = server
        self.watch = Watch(server)
        self.dice = random.Random(wants.seed)
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._over = multiprocessing.Event()
        self._progress = multiprocessing.Array("Q", wants.clients, lock=False)
        self._clients = [self._start_client(number) for number in range(wants.clients)]
        self._moved = [(0, time.monotonic()) for _ in self._clients]

    def run(self) -> None:
        """Until the time is up or something is wrong."""
        begun = time.monotonic()
        end = begun + self.wants.minutes * 60
        next_kill = begun + 3 * self.dice.random()
        next_show = begun + SHOW_SECONDS
        next_fault = begun + FAULT_SECONDS if self.wants.faults else math.inf
        while time.monotonic() < end and not self.errors:
            self._over.wait(0.2)
            self._look_at_clients()
            now = time.monotonic()
            if now >= next_kill and not self.wants.no_kills:
                self._kill_one()
                next_kill = now + self.dice.uniform(0.5, self.wants.kill_seconds)
            if now >= next_fault:
                self._arm_fault()
                next_fault = now + FAULT_SECONDS
            if now >= next_show:
                self._show(now - begun)
                next_show = now + SHOW_SECONDS
        self._over.set()
        self._collect()
        self.watch.take()

    def _start_client(self, number: int) -> tuple[multiprocessing.Process, Pipe]:
        mine, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(
            target=run_client,
            args=(theirs, self._progress, self._over, self.server.address, number, self.wants),
            daemon=True,
        )
        process.start()
        theirs.close()
        return process, mine

    def _look_at_clients(self) -> None:
        now = time.monotonic()
        for number, (_process, pipe) in enumerate(self._clients):
            requests = int(self._progress[number])
            if requests != self._moved[number][0]:
                self._moved[number] = (requests, now)
            elif now - self._moved[number][1] > HANG_SECONDS:
                self.errors.append(f"client {number} does not get on")
            if pipe.poll():
                self.errors.append("a client ended early")
        if self.server.process.poll() is not None:
            self.errors.append(f"the server ended with {self.server.process.returncode}")

    def _kill_one(self) -> None:
        """Kills a worker or the keeper, or stops it, and waits until there is another one."""
        stats = self._stats_of_processes()
        roles = sorted(key for key in stats if key.endswith("_pid"))
        role = self.dice.choice([*roles, "keeper_pid"])
        victim = int(stats[role])
        is_stop = self.dice.random() < self.wants.stops
        number = signal.SIGSTOP if is_stop else signal.SIGKILL
        if victim <= 1 or not signal_child(victim, self.server.pid, number):
            return
        what = "stops" if is_stop else "kills"
        self.counts[f"{what} of {'keepers' if role == 'keeper_pid' else 'workers'}"] += 1
        begun = time.monotonic()
        try:
            wait_until(
                lambda: self._stats_of_processes().get(role, "0") not in ("0", str(victim)),
                f"another {role}",
                BACK_SECONDS,
                0.02,
            )
        except AssertionError as error:
            self.errors.append(str(error))
            return
        self.counts["came back"] += 1
        self.watch.note_outage(time.monotonic() - begun)

    def _arm_fault(self) -> None:
        """The next few I/Os fail; three bad writes in a row would take a path out."""
        kind, direction = self.dice.choice(FAULTS), self.dice.choice("rw")
        count = self.dice.randrange(1, 3 if direction == "w" else 20)
        try:
            with self.server.connect() as connection:
                line = f"extstore fault {kind} {direction} all {self.dice.randrange(5)} {count} 300"
                said = connection.ask(line)
        except (ClosedError, OSError):
            return
        assert said == b"OK", f"{said!r}: this needs PYMC_BUILD=debug"
        self.counts[f"faults {kind} {direction}"] += 1

    def _stats_of_processes(self) -> dict[str, str]:
        def look() -> dict[str, str]:
            try:
                stats = self.server.stats("pymc")
            except (ClosedError, OSError):
                return {}
            is_whole = all(stats[key] != "0" for key in stats if key.endswith("_pid"))
            return stats if is_whole else {}

        return wait_until(look, "all processes are there", BACK_SECONDS, 0.02)

    def _show(self, seconds: float) -> None:
        try:
            self.watch.take()
        except (ClosedError, OSError, AssertionError) as error:
            print(f"no stats: {error}", flush=True)
            return
        print(f"{seconds:6.0f} s {sum(self._progress):9} requests; {self.watch.line()}", flush=True)

    def _collect(self) -> None:
        """What the clients have to say; they read all their keys once more before."""
        for number, (process, pipe) in enumerate(self._clients):
            if pipe.poll(scaled(300)):
                error, counts = pipe.recv()
                self.counts.update(counts)
                self.errors += [error] if error else []
            else:
                self.errors.append(f"client {number} does not end")
                process.kill()
            process.join()


def summary(soak: Soak, seconds: float) -> str:
    """All counts, and what the server says of its flash."""
    reads = soak.counts["hits"] + soak.counts["misses"]
    ratio = soak.counts["hits"] / max(reads, 1)
    lines = [f"seed {soak.wants.seed}, {seconds:.0f} s, hit ratio {ratio:.3f}"]
    lines += [f"  {name}: {count}" for name, count in sorted(soak.counts.items())]
    lines += soak.watch.summary()
    said = soak.server.stderr.splitlines()
    lines.append(f"lines on standard error: {len(said)}, the last ones:")
    lines += [f"  {line}" for line in said[-10:]]
    return "\n".join(lines)


def main() -> int:
    wants = arguments()
    multiprocessing.set_start_method("spawn")
    with tempfile.TemporaryDirectory(prefix="pymc-soak-") as made:
        folder = wants.folder or Path(made)
        begun = time.monotonic()
        server = Server(pymc_program(), server_args(wants, folder))
        try:
            soak = Soak(wants, server)
            soak.run()
            print(summary(soak, time.monotonic() - begun), flush=True)
        finally:
            server.stop(check=False)
        if server.process.returncode != 0:
            soak.errors.append(f"the server ended with {server.process.returncode}")
        for number in range(2):
            (folder / f"flash{number}").unlink(missing_ok=True)
    for error in soak.errors:
        print(f"WRONG: {error}")
    print("failed" if soak.errors else "nothing wrong")
    return 1 if soak.errors else 0


if __name__ == "__main__":
    sys.exit(main())
