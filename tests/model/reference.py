"""What the store means, as a plain dict: the reference the state machines compare with."""

from dataclasses import dataclass, replace

from tests.support.core.driver import Mode, Outcome, Write

NUMBER_MODULUS = 1 << 64
BLANKS = b" \t\n\v\f\r"


@dataclass(frozen=True)
class Entry:
    """One item."""

    value: bytes
    flags: int = 0
    expiry_seconds: int = 0
    cas: int | None = 0  # None: given by the store and not seen yet.
    is_stale: bool = False
    is_token_sent: bool = False


@dataclass(frozen=True)
class Clear:
    """What store_delete says besides the key."""

    cas_compare: int | None = None
    mark_stale: bool = False
    clear_value: bool = False
    expiry_seconds: int | None = None
    client_flags: int | None = None
    cas_new: int | None = None


@dataclass(frozen=True)
class Count:
    """What store_arith says besides the key."""

    delta: int = 1
    decrement: bool = False
    cas_compare: int | None = None
    cas_new: int | None = None
    expiry_seconds: int | None = None
    vivify_expiry_seconds: int | None = None
    initial: int = 0


def parse_number(value: bytes) -> int | None:
    """The number in a value as memcached reads it, None where it refuses."""
    if len(value) > 2047:
        return None
    text = value.lstrip(BLANKS).removeprefix(b"+")
    digits = text[: len(text) - len(text.lstrip(b"0123456789"))]
    behind = text[len(digits) : len(digits) + 1]
    if not digits or (behind and behind not in BLANKS + b"\0") or int(digits) >= NUMBER_MODULUS:
        return None
    return int(digits)


class Reference:
    """A cache that forgets nothing but what is expired, flushed or deleted.

    `new_cas` of the writing methods is the number that the store gave, None where it tells later.
    """

    def __init__(self, now_seconds: int, *, has_cas: bool = True) -> None:
        self.now_seconds = now_seconds
        self.has_cas = has_cas
        self.entries: dict[bytes, Entry] = {}
        self.cas_highest = 0
        self.flush_due_seconds = 0

    # Time

    def turn(self, now_seconds: int) -> None:
        """Lets the clock show this second; a flush that is due comes a second early."""
        self.now_seconds = now_seconds
        if self.flush_due_seconds and self.flush_due_seconds <= now_seconds + 1:
            self.flush_all()

    def flush_all(self, at_seconds: int = 0) -> None:
        """Forgets all that was stored until now, or at a later second; the later word counts."""
        if at_seconds > self.now_seconds + 1:
            self.flush_due_seconds = at_seconds
            return
        self.flush_due_seconds = 0
        self.entries.clear()

    def find(self, key: bytes) -> Entry | None:
        """The live item."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        if 0 < entry.expiry_seconds <= self.now_seconds:
            del self.entries[key]
            return None
        return entry

    def live(self) -> dict[bytes, Entry]:
        """All live items."""
        found = {key: self.find(key) for key in list(self.entries)}
        return {key: entry for key, entry in found.items() if entry}

    def live_count(self) -> int:
        """How many items are live; forgets nothing."""
        expiries = (entry.expiry_seconds for entry in self.entries.values())
        return sum(not 0 < expiry <= self.now_seconds for expiry in expiries)

    def numbered(self, entry: Entry, cas: int) -> Entry:
        """The entry with the CAS that the store turned out to have given it."""
        return replace(entry, cas=self._number(None, cas))

    # Writing

    def _number(self, cas_wanted: int | None, new_cas: int | None) -> int | None:
        """The CAS of a changed item: the client's, or one above all the store gave before."""
        if not self.has_cas:
            assert not new_cas
            return 0
        if cas_wanted is not None:
            assert new_cas in (None, cas_wanted)
            return cas_wanted
        if new_cas is not None:
            assert new_cas > self.cas_highest, "a CAS number came twice"
            self.cas_highest = new_cas
        return new_cas

    def put(self, key: bytes, value: bytes, want: Write, new_cas: int | None = None) -> Outcome:
        """The five ways to store, and what a compare CAS makes of them."""
        old = self.find(key)
        if want.mode in (Mode.APPEND, Mode.PREPEND):
            return self._join(key, value, want, old, new_cas)
        if old is None:
            if want.mode != Mode.ADD and want.cas_compare is not None:
                return Outcome.NOT_FOUND
            if want.mode == Mode.REPLACE:
                return Outcome.NOT_STORED
        elif want.mode == Mode.ADD:
            return Outcome.NOT_STORED
        is_stale = False
        if old and want.cas_compare is not None and want.cas_compare != old.cas:
            assert old.cas is not None
            is_stale = want.invalidate and want.cas_compare < old.cas
            if not is_stale:
                return Outcome.EXISTS
        self.entries[key] = Entry(
            value,
            want.flags,
            old.expiry_seconds if old and is_stale else want.expiry_seconds,
            self._number(want.cas_new, new_cas),
            is_stale,
            want.token_sent or bool(old and is_stale and old.is_token_sent),
        )
        return Outcome.STORED

    def _join(
        self, key: bytes, value: bytes, want: Write, old: Entry | None, new_cas: int | None
    ) -> Outcome:
        if old is None:
            if want.vivify_expiry_seconds is None:
                return Outcome.NOT_STORED
            flags, expiry = want.flags, want.vivify_expiry_seconds
        elif want.cas_compare is not None and want.cas_compare != old.cas:
            return Outcome.EXISTS
        else:
            flags, expiry = old.flags, old.expiry_seconds
            value = old.value + value if want.mode == Mode.APPEND else value + old.value
        number = self._number(want.cas_new, new_cas)
        self.entries[key] = Entry(value, flags, expiry, number, False, want.token_sent)
        return Outcome.STORED

    def delete(self, key: bytes, clear: Clear) -> Outcome:
        """Removes, marks stale, or leaves a tombstone."""
        old = self.find(key)
        if old is None:
            return Outcome.NOT_FOUND
        if clear.cas_compare is not None and clear.cas_compare != old.cas:
            return Outcome.EXISTS
        number = clear.cas_new if clear.mark_stale or clear.cas_new is not None else old.cas
        number = number if self.has_cas else 0
        if clear.clear_value:
            expiry, flags = clear.expiry_seconds or 0, clear.client_flags or 0
            self.entries[key] = Entry(b"", flags, expiry, number, clear.mark_stale)
        elif clear.mark_stale:
            expiry = old.expiry_seconds if clear.expiry_seconds is None else clear.expiry_seconds
            self.entries[key] = replace(
                old, expiry_seconds=expiry, cas=number, is_stale=True, is_token_sent=False
            )
        else:
            del self.entries[key]
        return Outcome.DELETED

    def arith(self, key: bytes, count: Count, new_cas: int | None = None) -> Outcome:
        """Counts up modulo 2^64 or down to 0; a shorter number keeps the old length."""
        old = self.find(key)
        if old is None:
            if count.vivify_expiry_seconds is None:
                return Outcome.NOT_FOUND
            text = b"%d" % count.initial
            want = Write(expiry_seconds=count.vivify_expiry_seconds, cas_new=count.cas_new)
            return self.put(key, text, want, new_cas)
        if count.cas_compare is not None and count.cas_compare != old.cas:
            return Outcome.EXISTS
        number = parse_number(old.value)
        if number is None:
            return Outcome.NON_NUMERIC
        if count.decrement:
            number = max(0, number - count.delta)
        else:
            number = (number + count.delta) % NUMBER_MODULUS
        text = b"%d" % number
        is_longer = len(text) > len(old.value)
        expiry = old.expiry_seconds if count.expiry_seconds is None else count.expiry_seconds
        self.entries[key] = Entry(
            text.ljust(len(old.value)),
            old.flags,
            expiry,
            self._number(count.cas_new, new_cas),
            old.is_stale and not is_longer,
            old.is_token_sent and not is_longer,
        )
        return Outcome.STORED

    def touch(self, key: bytes, expiry_seconds: int) -> Outcome:
        """A new expiry and nothing else."""
        old = self.find(key)
        if old is None:
            return Outcome.NOT_FOUND
        self.entries[key] = replace(old, expiry_seconds=expiry_seconds)
        return Outcome.TOUCHED
