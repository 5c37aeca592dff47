"""Workers and keeper at the same time: no reader ever sees a value older than one before it."""

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from pymc.core.ffi import lib
from tests.support.core.driver import MIB, Handle
from tests.support.core.flash_cache import Log
from tests.support.core.flash_keeper import ADMIT_ALL, ADMIT_COMPRESSED, KIB, TINY_LOG, FlashKeeper
from tests.support.core.flash_reads import Reads
from tests.support.core.talk import Talk
from tests.support.deadline import scaled

WORKERS = 3
KEYS = 60
# Far more than it takes on a busy machine.
DEADLINE_SECONDS = scaled(100.0)
LOG = replace(TINY_LOG, pages=8, page_bytes=128 * KIB, wbuf_bytes=32 * KIB)


class Client:
    """Writes its own keys and reads everybody's. A value begins with its version."""

    def __init__(self, tier: FlashKeeper, log: Log, slot: int, seed: int) -> None:
        self.handle: Handle = tier.cache.open(slot)
        self.handle.reads = Reads(
            tier.flash,
            self.handle.proc,
            kind=log.kind,
            depth=8,
            threads=1,
            memory_bytes=MIB,
        )
        self.handle.set_now(100)
        self.talk = Talk(self.handle, values_max=64)
        self.slot = slot
        self.random = Random(seed)
        self.versions = [0] * KEYS
        # What was seen last of each key; lower is older.
        self.seen: dict[bytes, int] = {}
        self.hits = 0

    def own(self, number: int) -> bytes:
        return b"w%d-%d" % (self.slot, number)

    def act(self) -> None:
        """One command, or one read of several keys."""
        number = self.random.randrange(KEYS)
        key = self.own(number)
        choice = self.random.random()
        if choice < 0.25:
            self.versions[number] += 1
            size = self.random.choice([10, 300, 3000])
            value = (b"%08d " % self.versions[number]).ljust(size, b"%d" % self.slot)
            sent = b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value)
            assert self.talk.ask(sent) == b"STORED\r\n"
        elif choice < 0.30:
            self.versions[number] += 1
            self.talk.ask(b"delete %s\r\n" % key)
            got = self.talk.ask(b"get %s\r\n" % key)
            assert got == b"END\r\n", got[:100]
        elif choice < 0.38:
            self._change(number, key)
        elif choice < 0.42:
            assert self.talk.ask(b"touch %s 0\r\n" % key) in (b"TOUCHED\r\n", b"NOT_FOUND\r\n")
        else:
            self._read()

    def _change(self, number: int, key: bytes) -> None:
        """The new version comes from the old value, if that is still there."""
        got = self.talk.ask(b"ms %s 1 MA\r\n+\r\n" % key)
        assert got in (b"HD\r\n", b"NS\r\n"), got
        found = self.talk.ask(b"get %s\r\n" % key)
        assert self._version(found) in (None, self.versions[number]), found[:100]

    def _version(self, answer: bytes) -> int | None:
        if answer == b"END\r\n":
            return None
        return int(answer.partition(b"\r\n")[2][:8])

    def _read(self) -> None:
        owner = self.random.randrange(1, WORKERS + 1)
        keys = [
            b"w%d-%d" % (owner, self.random.randrange(KEYS))
            for _ in range(self.random.choice([1, 1, 6]))
        ]
        answer = self.talk.ask(b"get %s\r\n" % b" ".join(keys))
        while answer != b"END\r\n":
            head, _, rest = answer.partition(b"\r\n")
            _word, key, _flags, size = head.split(b" ")
            version = int(rest[:8])
            assert version >= self.seen.get(key, 0), (key, version, self.seen[key])
            if owner == self.slot:
                assert version == self.versions[int(key.partition(b"-")[2])]
            self.seen[key] = version
            self.hits += 1
            answer = rest[int(size) + 2 :]


def _keep(tier: FlashKeeper, random: Random) -> None:
    """One piece of the keeper's work."""
    choice = random.random()
    used = tier.in_use()
    if choice < 0.3:
        tier.fill(random.choice([ADMIT_ALL, ADMIT_COMPRESSED]))
    elif choice < 0.6:
        tier.commit(random.choice([1, 100]))
    elif choice < 0.8:
        tier.drop_memory_copies()
    elif choice < 0.9 and used:
        tier.compact(random.choice(used), read_only=random.random() < 0.05)
    elif choice < 0.902 and used:
        tier.drain(random.choice(used))
    else:
        tier.sweep()


def _have_ended(working: list[Future[None]]) -> bool:
    """A client that failed ends; its error is raised when all have ended."""
    return any(future.done() for future in working)


def check_together(folder: Path, log: Log, reads: int, seed: int) -> None:
    """Clients in threads of their own go on beside the keeper until they have read so much."""
    with FlashKeeper(folder, log, workers=WORKERS + 1, now=100) as tier:
        tier.set_live("ext_recache_rate", 3)
        for worker in tier.workers[1:]:
            worker.close()
        hits = []
        is_over = threading.Event()

        def work(slot: int) -> None:
            client = Client(tier, log, slot, seed + slot)
            try:
                while not is_over.is_set():
                    client.act()
                hits.append(client.hits)
            finally:
                client.handle.close()

        with ThreadPoolExecutor(WORKERS) as pool:
            working = [pool.submit(work, slot) for slot in range(1, WORKERS + 1)]
            random = Random(seed)
            try:
                end = time.monotonic() + DEADLINE_SECONDS
                while tier.counters()["ext_objects_read"] < reads and not _have_ended(working):
                    assert time.monotonic() < end, "hardly anything was read from flash"
                    _keep(tier, random)
            finally:
                is_over.set()
            for future in working:
                future.result()
        assert sum(hits) > reads
        tier.sweep()
        tier.check()


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    """The core runs without the interpreter's lock; who comes back must not wait long for it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [lib.FLASH_READER_AUTO, lib.FLASH_READER_THREADS])
def test_no_value_goes_back(tmp_path: Path, kind: int) -> None:
    check_together(tmp_path, replace(LOG, kind=int(kind)), 1500, 1)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(20))
def test_no_value_goes_back_for_long(tmp_path: Path, seed: int) -> None:
    check_together(tmp_path, LOG, 100_000, seed)
