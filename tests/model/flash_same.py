"""A tier beside a cache in memory: every answer must be the same, byte by byte."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from pymc.core.ffi import lib
from tests.model.conversation import Command
from tests.model.flash_choices import (
    CROWD,
    KEYS,
    commands,
    crowd,
    fill,
    fillings,
    keys,
    look,
    multigets,
)
from tests.model.flash_machine import START_SECONDS, WIDE_LOG, KeeperWork
from tests.support.core.driver import MIB, Cache
from tests.support.core.talk import Talk

ITEM_BYTES_MAX = 40_000
talks = st.integers(0, 1)


class SameAsMemory(KeeperWork):
    """Log and memory are large enough for everything, so nothing may be forgotten."""

    log = WIDE_LOG
    may_drop = False

    def __init__(self) -> None:
        super().__init__()
        self.talks = [Talk(worker, values_max=64) for worker in self.tier.workers]
        self.memory = Cache(limit_bytes=64 * MIB, chunk_bytes=self.chunk_bytes)
        for cache in (self.tier.cache, self.memory):
            cache.set_live("item_bytes_max", ITEM_BYTES_MAX)
        self.plain = Talk(self.memory.open(), values_max=64)
        # Commands that wait for a read: they happen when it is done.
        self.parked: list[tuple[Talk, Command]] = []
        self._set_now(START_SECONDS)

    def teardown(self) -> None:
        self._finish_parked()
        for key in KEYS + CROWD:
            self._compare(self.talks[0], look(key).sent)
        self.tier.exile()
        for key in KEYS + CROWD:
            self._compare(self.talks[1], look(key).sent)
        self.tier.check()
        self.memory.close()
        super().teardown()

    def _set_now(self, seconds: int) -> None:
        self.tier.set_now(seconds)
        for handle in self.memory.handles:
            handle.set_now(seconds)
            handle.turn()

    def _compare(self, talk: Talk, sent: bytes) -> bytes:
        expected = self.plain.ask(sent)
        got = talk.ask(sent)
        assert got == expected, (sent[:200], got[:200], expected[:200])
        return got

    def _finish_parked(self) -> None:
        while self.parked:
            talk, command = self.parked.pop(0)
            expected = self.plain.ask(command.sent)
            talk.waits_for_flash = True
            talk.feed(b"")
            got, talk.received = talk.received, b""
            assert got == expected, (command, got[:200], expected[:200])
            talk.close()

    @rule(
        which=talks,
        several=st.lists(st.one_of(commands, commands, multigets), min_size=1, max_size=4),
    )
    def ask(self, which: int, several: list[Command]) -> None:
        for command in several:
            self._compare(self.talks[which], command.sent)

    @rule(which=talks, command=commands, value=fillings)
    def ask_what_is_on_flash(self, which: int, command: Command, value: bytes) -> None:
        for adding in fill(value):
            self._compare(self.talks[which], adding.sent)
        self.tier.exile()
        self._compare(self.talks[which], command.sent)

    @rule(which=talks, several=st.lists(commands, min_size=1, max_size=3), value=fillings)
    def ask_while_under_way(self, which: int, several: list[Command], value: bytes) -> None:
        """Items change between the copy and its commit."""
        for adding in fill(value, b"set"):
            self._compare(self.talks[which], adding.sent)
        self.tier.fill()
        for command in several:
            self._compare(self.talks[which], command.sent)
        self.tier.commit()
        self.tier.drop_memory_copies()

    @rule(which=talks, command=commands, cut=st.integers(1, 100))
    def ask_in_halves(self, which: int, command: Command, cut: int) -> None:
        """Everything goes to flash between the halves of a command."""
        cut = cut * len(command.sent) // 101
        got = self.talks[which].ask(command.sent[:cut])
        self.tier.exile()
        got += self.talks[which].ask(command.sent[cut:])
        assert got == self.plain.ask(command.sent)

    @rule(which=talks, several=st.lists(st.one_of(commands, multigets), max_size=12))
    def ask_at_once(self, which: int, several: list[Command]) -> None:
        self._compare(self.talks[which], b"".join(command.sent for command in several))

    @rule(which=talks, command=commands)
    def park(self, which: int, command: Command) -> None:
        """Other commands and the keeper come before the read is done."""
        talk = Talk(self.tier.workers[which], values_max=64)
        talk.waits_for_flash = False
        talk.feed(command.sent)
        if lib.session_is_unfinished(talk.session):
            self.parked.append((talk, command))
            return
        assert talk.received == self.plain.ask(command.sent)
        talk.close()

    @rule()
    def finish_parked(self) -> None:
        self._finish_parked()

    @rule(which=talks, key=keys, by=st.sampled_from([0, 0, -1]))
    def compare_and_set(self, which: int, key: bytes, by: int) -> None:
        found = self._compare(self.talks[which], b"mg %s c\r\n" % key)
        if found.startswith(b"HD c"):
            cas = max(1, int(found[4:].split()[0]) + by)
            self._compare(self.talks[which], b"cas %s 1 0 3 %d\r\nabc\r\n" % (key, cas))
            self._compare(self.talks[which], b"ms %s 1 I T9 C%d\r\ny\r\n" % (key, cas))

    @rule(which=talks, key=keys, word=st.sampled_from([b"set", b"add", b"append", b"cas"]))
    def put_too_large(self, which: int, key: bytes, word: bytes) -> None:
        """What such a set does to the old item must reach its copy."""
        number = b" 1" if word == b"cas" else b""
        value = bytes(ITEM_BYTES_MAX)
        sent = b"%s %s 0 0 %d%s\r\n%s\r\n" % (word, key, len(value), number, value)
        self._compare(self.talks[which], sent)

    @rule(which=talks, size=st.sampled_from([10, 300, 2000]), lifetime=st.sampled_from([0, 30]))
    def put_crowd(self, which: int, size: int, lifetime: int) -> None:
        sent = b"".join(command.sent for command in crowd(b"%03d" % size * (size // 3), lifetime))
        self._compare(self.talks[which], sent)

    @rule(which=talks)
    def read_all(self, which: int) -> None:
        sent = b"get " + b" ".join(KEYS + CROWD) + b"\r\n"
        self._compare(self.talks[which], sent)

    @rule(seconds=st.sampled_from([1, 1, 2, 5, 60, 100]))
    def wait(self, seconds: int) -> None:
        self._finish_parked()
        self._set_now(self.tier.now + seconds)

    @rule(which=talks, delay=st.sampled_from([b"", b"", b" 5"]))
    def flush(self, which: int, delay: bytes) -> None:
        self._compare(self.talks[which], b"flush_all%s\r\n" % delay)


class SameInParts(SameAsMemory):
    """Values above four kilobytes are in parts."""

    chunk_bytes = (48, 64, 96, 128, 256, 512, 1024, 4096)


class SameWithoutNumbers(SameAsMemory):
    """Without CAS numbers nothing but marks and seconds tells what changed."""

    def __init__(self) -> None:
        super().__init__()
        for cache in (self.tier.cache, self.memory):
            cache.set_live("cas_enabled", 0)
