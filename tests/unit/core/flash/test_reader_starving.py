"""Many who want more memory than there is: nobody waits for ever, whatever the others do."""

import random
from pathlib import Path
from typing import Any

import pytest

from pymc.core.ffi import lib
from tests.support.core.flash_reader_rig import KIB, KINDS, Reader, Record, Rig, body_of

BOUND_BYTES = 48 * KIB


class Crowd:
    """Clients that each read one record after the other; some lose interest while they wait."""

    def __init__(self, reader: Reader, records: list[Record], source: random.Random) -> None:
        self.reader = reader
        self.records = records
        self.source = source
        self.held: dict[int, tuple[Any, Record]] = {}
        self.waiters: dict[int, Any] = {}
        self.wants: dict[int, Record] = {}
        self.served = 0

    def step(self, client: int) -> None:
        """Goes on for a client that was woken, or that begins: answer, or wait."""
        self.waiters.pop(client, None)
        if client in self.held:
            read, record = self.held.pop(client)
            assert read.result == lib.FLASH_READ_GOOD
            assert body_of(read, record) == record.body
            self.reader.release(read)
            self.served += 1
            return
        record = self.wants.setdefault(client, self.source.choice(self.records))
        read = self.reader.begin(record)
        if read is not None:
            self.held[client] = (read, self.wants.pop(client))
            if read.state == lib.FLASH_READ_DONE:
                self.step(client)
                return
        self.waiters[client] = self.reader.wait(read, client)

    def lose_interest(self, client: int) -> None:
        self.reader.unwait(self.waiters.pop(client))
        self.wants.pop(client, None)
        if client in self.held:
            self.reader.release(self.held.pop(client)[0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_everybody_is_served(tmp_path: Path, kind: str, seed: int) -> None:
    source = random.Random(seed)
    with Rig(tmp_path / "log") as rig:
        records = rig.write_random(100, (16, 1000), seed) + rig.write_random(12, (9000, 60000))
        reader = rig.reader(kind, depth=source.choice((2, 8)), memory_bytes=BOUND_BYTES)
        crowd = Crowd(reader, records, source)
        clients = 40
        for client in range(clients):
            crowd.step(client)
        while crowd.served < 1500:
            reader.submit()
            assert reader.state().memory_bytes <= 64 * KIB
            for client in reader.reap_some():
                crowd.step(client)
            for client in range(clients):
                if client not in crowd.waiters:
                    crowd.step(client)
            if source.random() < 0.2:
                crowd.lose_interest(source.choice(sorted(crowd.waiters)))
        while crowd.waiters:
            reader.submit()
            for client in reader.reap_some():
                crowd.step(client)
        assert reader.is_idle() or reader.state().reads_under_way > 0
