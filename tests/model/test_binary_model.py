"""Conversations of binary requests in any pieces, against the small reference."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.reference import Clear, Count, Reference
from tests.support.core.driver import MIB, Cache, Mode, Outcome, Write
from tests.support.core.talk import Talk
from tests.support.packets import (
    OPCODES,
    Response,
    counting,
    error,
    request,
    responses,
    storing,
    touching,
)

NOW_SECONDS = 1000
MAKES_NONE = 0xFFFFFFFF
MODES = {
    "set": Mode.SET,
    "add": Mode.ADD,
    "replace": Mode.REPLACE,
    "append": Mode.APPEND,
    "prepend": Mode.PREPEND,
}
# What a mode calls it that nothing was stored.
NOT_STORED = {"add": "exists", "replace": "not_found"}


@dataclass(frozen=True)
class Request:
    """What the client sends, and what it must get; CAS numbers are only told from 0."""

    sent: bytes
    answer: Callable[[Reference], list[Response]] = field(compare=False)

    def __repr__(self) -> str:
        return repr(self.sent if len(self.sent) < 200 else self.sent[:200] + b"...")


def expiry_of(reference: Reference, sent: int) -> int:
    return reference.now_seconds + sent if sent else 0


def done(name: str, *, cas: int = 0, opaque: int = 0, **more: bytes) -> list[Response]:
    """The answer to what went well; a quiet one has none, unless it is a read."""
    is_read = name.startswith(("get", "gat"))
    if name.endswith("q") and not is_read:
        return []
    return [Response(OPCODES[name], cas=cas, opaque=opaque, **more)]


def failed(name: str, what: str, opaque: int) -> list[Response]:
    return [error(name, what, opaque)]


def read(name: str, key: bytes, expiry: int, opaque: int) -> Request:
    """get, gat, touch and their forms."""
    touches = name.startswith(("gat", "touch"))
    returns_key = "k" in name[3:]
    make = touching if touches else None
    sent = make(name, key, expiry, opaque=opaque) if make else request(name, key, opaque=opaque)

    def answer(reference: Reference) -> list[Response]:
        entry = reference.find(key)
        if entry is None:
            if name.endswith("q"):
                return []
            if returns_key:
                return [Response(OPCODES[name], 1, key=key, opaque=opaque)]
            return failed(name, "not_found", opaque)
        if touches:
            reference.touch(key, expiry_of(reference, expiry))
        return done(
            name,
            cas=1,
            opaque=opaque,
            extras=entry.flags.to_bytes(4, "big"),
            key=key if returns_key else b"",
            value=b"" if name == "touch" else entry.value,
        )

    return Request(sent, answer)


def store(
    name: str, key: bytes, value: bytes, flags: int, expiry: int, cas: int, opaque: int
) -> Request:
    """set, add, replace, append, prepend and their quiet forms."""
    plain = name.removesuffix("q")
    joins = plain in ("append", "prepend")
    if joins:
        sent = request(name, key, value, cas=cas, opaque=opaque)
    else:
        sent = storing(name, key, value, flags, expiry, cas=cas, opaque=opaque)

    def answer(reference: Reference) -> list[Response]:
        mode = MODES[plain] if joins or not cas else Mode.SET
        want = Write(mode, 0 if joins else flags, 0 if joins else expiry_of(reference, expiry))
        want.cas_compare = cas or None
        outcome = reference.put(key, value, want, reference.cas_highest + 1)
        if outcome == Outcome.STORED:
            return done(name, cas=1, opaque=opaque)
        what = {Outcome.EXISTS: "exists", Outcome.NOT_FOUND: "not_found"}.get(outcome)
        return failed(name, what or NOT_STORED.get(plain, "not_stored"), opaque)

    return Request(sent, answer)


def count(
    name: str, key: bytes, delta: int, initial: int, expiry: int, cas: int, opaque: int
) -> Request:
    """incr, decr and their quiet forms."""
    sent = counting(name, key, delta, initial, expiry, cas=cas, opaque=opaque)

    def answer(reference: Reference) -> list[Response]:
        vivify = None if expiry == MAKES_NONE else expiry_of(reference, expiry)
        is_decr = name.startswith("decr")
        want = Count(delta, is_decr, cas or None, None, None, vivify, initial)
        outcome = reference.arith(key, want, reference.cas_highest + 1)
        if outcome == Outcome.STORED:
            number = int(reference.entries[key].value)
            return done(name, cas=1, opaque=opaque, value=number.to_bytes(8, "big"))
        what = {
            Outcome.NOT_FOUND: "not_found",
            Outcome.EXISTS: "exists",
            Outcome.NON_NUMERIC: "non_numeric",
        }[outcome]
        return failed(name, what, opaque)

    return Request(sent, answer)


def delete(name: str, key: bytes, cas: int, opaque: int) -> Request:
    """delete and its quiet form."""

    def answer(reference: Reference) -> list[Response]:
        outcome = reference.delete(key, Clear(cas or None))
        if outcome == Outcome.DELETED:
            return done(name, opaque=opaque)
        return failed(name, "exists" if outcome == Outcome.EXISTS else "not_found", opaque)

    return Request(request(name, key, cas=cas, opaque=opaque), answer)


def flush(name: str) -> Request:
    """flush and its quiet form."""

    def answer(reference: Reference) -> list[Response]:
        reference.flush_all()
        return done(name)

    return Request(request(name), answer)


keys = st.sampled_from([b"a", b"b", b"long-key-" * 20, b"with blank", b"\0\n"])
values = st.one_of(
    st.sampled_from([b"", b"7", b"1234", b"text", b"18446744073709551615"]),
    st.sampled_from([300, 9_000, 70_000]).map(lambda size: b"v" * size),
)
lifetimes = st.sampled_from([0, 50])
# A number that no item ever has, so that a comparison fails.
numbers = st.sampled_from([0, 0, 0, 1 << 40])
opaques = st.integers(0, 0xFFFFFFFF)
small = st.sampled_from([0, 1, 7, 1000])
FIXED = [
    Request(request("noop", opaque=5), lambda _: [Response(0x0A, opaque=5)]),
    Request(request("0x1b", b"k", b"body"), lambda _: failed("0x1b", "unknown", 0)),
    Request(request("sasl_list"), lambda _: failed("sasl_list", "unknown", 0)),
    Request(request("version"), lambda _: [Response(0x0B, value=b"9.9.9")]),
]


def names(plain: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name for one in plain.split() for name in (one, one + "q")])


requests = st.one_of(
    st.builds(read, names("get getk gat gatk"), keys, lifetimes, opaques),
    st.builds(read, st.sampled_from(["touch", "getq", "getkq"]), keys, lifetimes, opaques),
    st.builds(store, names(" ".join(MODES)), keys, values, small, lifetimes, numbers, opaques),
    st.builds(
        count,
        names("incr decr"),
        keys,
        small,
        small,
        st.sampled_from([0, 50, MAKES_NONE]),
        numbers,
        opaques,
    ),
    st.builds(delete, names("delete"), keys, numbers, opaques),
    st.builds(flush, names("flush")),
    st.sampled_from(FIXED),
)
cuts = st.lists(st.sampled_from([1, 2, 23, 24, 25, 40, 1000, 50_000]), max_size=40)


def without_numbers(found: list[Response]) -> list[Response]:
    return [replace(one, cas=min(one.cas, 1)) for one in found]


def in_pieces(talk: Talk, sent: bytes, steps: list[int], *, directly: bool) -> bytes:
    """Feeds pieces of these sizes, again from the first when all are used; the answers."""
    at = turn = 0
    while at < len(sent):
        step = steps[turn % len(steps)] if steps else 1000
        piece = sent[at : at + step]
        at += len(piece)
        turn += 1
        if directly and not talk.pending:
            piece = piece[talk.feed_directly(piece) :]
        talk.feed(piece, drains=turn % 3 == 0)
    talk.drain()
    return talk.received


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(requests, min_size=1, max_size=30), cuts, st.booleans())
def test_answers_are_the_references_in_any_pieces(
    asked: list[Request], steps: list[int], directly: bool
) -> None:
    sent = b"".join(one.sent for one in asked)
    if len(sent) > 100_000:
        steps = [max(step, 1000) for step in steps]
    with Cache(limit_bytes=64 * MIB) as cache:
        handle = cache.open()
        handle.set_now(NOW_SECONDS)
        talk = Talk(handle)
        found = responses(in_pieces(talk, sent, steps, directly=directly))
        assert not talk.pending and not talk.is_closed
        talk.close()
        handle.limbo_step()
        handle.check()
    reference = Reference(NOW_SECONDS)
    wanted = [packet for one in asked for packet in one.answer(reference)]
    assert without_numbers(found) == without_numbers(wanted)
