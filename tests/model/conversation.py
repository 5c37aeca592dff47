"""A small grammar of commands, and what memcached answers to each, by the reference."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.model.reference import Clear, Count, Entry, Reference
from tests.support.core.driver import Mode, Outcome, Write

# Numbers below this are given by the store; those that clients choose are above.
CAS_CHOSEN_MIN = 1_000_000
TEXT_OUTCOMES = {
    Outcome.STORED: b"STORED\r\n",
    Outcome.NOT_STORED: b"NOT_STORED\r\n",
    Outcome.EXISTS: b"EXISTS\r\n",
    Outcome.NOT_FOUND: b"NOT_FOUND\r\n",
    Outcome.DELETED: b"DELETED\r\n",
    Outcome.TOUCHED: b"TOUCHED\r\n",
}
META_OUTCOMES = {
    Outcome.STORED: b"HD",
    Outcome.DELETED: b"HD",
    Outcome.NOT_STORED: b"NS",
    Outcome.EXISTS: b"EX",
    Outcome.NOT_FOUND: b"NF",
}
NON_NUMERIC = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
META_MODES = dict(
    zip("SEAPR", [*Mode][:2] + [Mode.APPEND, Mode.PREPEND, Mode.REPLACE], strict=True)
)


@dataclass(frozen=True)
class Command:
    """What the client sends, and what it must get."""

    sent: bytes
    answer: Callable[[Reference], bytes] = field(compare=False)

    def __repr__(self) -> str:
        return repr(self.sent if len(self.sent) < 200 else self.sent[:200] + b"...")


@dataclass(frozen=True)
class Flags:
    """The flags of a meta command in their order; each letter once."""

    words: tuple[str, ...]

    def has(self, letter: str) -> bool:
        """True when the flag is there."""
        return any(word[0] == letter for word in self.words)

    def number(self, letter: str) -> int | None:
        """The flag's number, None without it."""
        return next((int(word[1:]) for word in self.words if word[0] == letter), None)

    def text(self) -> bytes:
        """All flags as they are sent."""
        return "".join(f" {word}" for word in self.words).encode()

    def returned(self, key: bytes, **known: int) -> bytes:
        """The flags that come back: opaque and key always, others where they are known."""
        out = b""
        for word in self.words:
            if word[0] == "O":
                out += b" " + word.encode()
            elif word[0] == "k":
                out += b" k" + key
            elif word[0] in known:
                out += b" %s%d" % (word[0].encode(), known[word[0]])
        return out


def mask_cas(reply: bytes) -> bytes:
    """The reply with the numbers that the store gave replaced by their rank in it."""
    pattern = re.compile(rb"(VALUE \S+ \d+ \d+ | c)(\d+)")
    found = {int(match.group(2)) for match in pattern.finditer(reply)}
    ranks = {number: rank for rank, number in enumerate(sorted(found - {0}), 1)}

    def rank(match: re.Match[bytes]) -> bytes:
        number = int(match.group(2))
        if number >= CAS_CHOSEN_MIN:
            return match.group()
        return match.group(1) + b"#%d" % ranks.get(number, 0)

    return pattern.sub(rank, reply)


def expiry(reference: Reference, sent: int | None) -> int:
    """A relative lifetime as it was sent, on the cache's clock."""
    if not sent:
        return 0
    return 1 if sent < 0 else reference.now_seconds + sent


def put(reference: Reference, key: bytes, value: bytes, want: Write) -> Outcome:
    """Stores with the next number."""
    new_cas = reference.cas_highest + 1 if want.cas_new is None else None
    return reference.put(key, value, want, new_cas)


def cas_of(reference: Reference, key: bytes) -> int:
    """The item's CAS."""
    entry = reference.entries[key]
    assert entry.cas is not None
    return entry.cas


def update(
    word: bytes, key: bytes, value: bytes, flags: int, sent_expiry: int, cas: int, quiet: bool
) -> Command:
    """set, add, replace, append, prepend, cas."""
    mode = Mode.SET if word == b"cas" else Mode[word.decode().upper()]
    number = b" %d" % cas if word == b"cas" else b""
    line = b"%s %s %d %d %d%s" % (word, key, flags, sent_expiry, len(value), number)
    end = b" noreply\r\n" if quiet else b"\r\n"

    def answer(reference: Reference) -> bytes:
        want = Write(mode, flags, expiry(reference, sent_expiry))
        want.cas_compare = cas if word == b"cas" else None
        outcome = put(reference, key, value, want)
        return b"" if quiet else TEXT_OUTCOMES[outcome]

    return Command(line + end + value + b"\r\n", answer)


def bad_update(key: bytes, value: bytes) -> Command:
    """A value without its line end; nothing is stored."""
    sent = b"set %s 0 0 %d\r\n%sxx" % (key, len(value), value)
    return Command(sent, lambda _reference: b"CLIENT_ERROR bad data chunk\r\n")


def get(word: bytes, keys: list[bytes], sent_expiry: int) -> Command:
    """get, gets, gat, gats."""
    touches = word.startswith(b"gat")
    middle = b" %d" % sent_expiry if touches else b""

    def answer(reference: Reference) -> bytes:
        reply = b""
        for key in keys:
            entry = reference.find(key)
            if entry is None:
                continue
            if touches:
                reference.touch(key, expiry(reference, sent_expiry))
            number = b" %d" % cas_of(reference, key) if word.endswith(b"s") and entry else b""
            head = b"VALUE %s %d %d%s\r\n" % (key, entry.flags, len(entry.value), number)
            reply += head + entry.value + b"\r\n"
        return reply + b"END\r\n"

    return Command(word + middle + b" " + b" ".join(keys) + b"\r\n", answer)


def simple(word: bytes, key: bytes, number: int, quiet: bool) -> Command:
    """delete, touch, incr, decr, flush_all."""
    argument = {b"delete": b" " + key, b"flush_all": b""}.get(word, b" %s %d" % (key, number))
    end = b" noreply\r\n" if quiet else b"\r\n"

    def act(reference: Reference) -> bytes:
        if word == b"flush_all":
            reference.flush_all()
            return b"OK\r\n"
        if word == b"delete":
            return TEXT_OUTCOMES[reference.delete(key, Clear())]
        if word == b"touch":
            return TEXT_OUTCOMES[reference.touch(key, expiry(reference, number))]
        want = Count(number, word == b"decr")
        outcome = reference.arith(key, want, reference.cas_highest + 1)
        if outcome == Outcome.NON_NUMERIC:
            return NON_NUMERIC
        if outcome == Outcome.STORED:
            return reference.entries[key].value.rstrip() + b"\r\n"
        return TEXT_OUTCOMES[outcome]

    def answer(reference: Reference) -> bytes:
        reply = act(reference)
        return b"" if quiet else reply

    return Command(word + argument + end, answer)


def meta_set(key: bytes, value: bytes, mode: str, flags: Flags) -> Command:
    """ms with T F C E I N q and what is returned."""
    sent = b"ms %s %d M%s%s\r\n%s\r\n" % (key, len(value), mode.encode(), flags.text(), value)

    def answer(reference: Reference) -> bytes:
        want = Write(META_MODES[mode], flags.number("F") or 0)
        want.expiry_seconds = expiry(reference, flags.number("T"))
        want.cas_compare, want.cas_new = flags.number("C"), flags.number("E")
        want.invalidate = flags.has("I")
        if flags.has("N"):
            want.vivify_expiry_seconds = expiry(reference, flags.number("N"))
        outcome = put(reference, key, value, want)
        is_stored = outcome == Outcome.STORED
        if is_stored and flags.has("q"):
            return b""
        cas = cas_of(reference, key) if is_stored else 0
        size = len(reference.entries[key].value) if is_stored else len(value)
        return META_OUTCOMES[outcome] + flags.returned(key, c=cas, s=size) + b"\r\n"

    return Command(sent, answer)


def meta_delete(key: bytes, flags: Flags) -> Command:
    """md with I x T F C E q."""

    def answer(reference: Reference) -> bytes:
        sent = flags.number("T")
        clear = Clear(
            flags.number("C"),
            flags.has("I"),
            flags.has("x"),
            None if sent is None else expiry(reference, sent),
            flags.number("F"),
            flags.number("E"),
        )
        outcome = reference.delete(key, clear)
        entry = reference.entries.get(key)
        if entry and entry.cas is None:
            reference.entries[key] = reference.numbered(entry, reference.cas_highest + 1)
        if outcome == Outcome.DELETED and flags.has("q"):
            return b""
        return META_OUTCOMES[outcome] + flags.returned(key) + b"\r\n"

    return Command(b"md %s%s\r\n" % (key, flags.text()), answer)


def meta_arith(key: bytes, mode: str, flags: Flags) -> Command:
    """ma with D J N T C E v t q."""

    def answer(reference: Reference) -> bytes:
        sent, vivify, delta = (flags.number(letter) for letter in "TND")
        is_new = reference.find(key) is None
        want = Count(
            1 if delta is None else delta,
            mode == "D",
            flags.number("C"),
            flags.number("E"),
            None if sent is None else expiry(reference, sent),
            None if vivify is None else expiry(reference, vivify),
            flags.number("J") or 0,
        )
        new_cas = reference.cas_highest + 1 if want.cas_new is None else None
        outcome = reference.arith(key, want, new_cas)
        if outcome == Outcome.NON_NUMERIC:
            return NON_NUMERIC
        if outcome != Outcome.STORED:
            return META_OUTCOMES[outcome] + flags.returned(key) + b"\r\n"
        if flags.has("q") and not is_new:
            return b""
        entry = reference.entries[key]
        text = entry.value.rstrip()
        head = b"VA %d" % len(text) if flags.has("v") else b"HD"
        head += flags.returned(key, c=cas_of(reference, key), t=ttl(reference, entry)) + b"\r\n"
        return head + (text + b"\r\n" if flags.has("v") else b"")

    return Command(b"ma %s M%s%s\r\n" % (key, mode.encode(), flags.text()), answer)


def ttl(reference: Reference, entry: Entry) -> int:
    """Seconds left, -1 for ever."""
    return entry.expiry_seconds - reference.now_seconds if entry.expiry_seconds else -1
