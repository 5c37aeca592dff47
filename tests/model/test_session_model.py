"""A conversation means what the reference says, and the same however its bytes arrive."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model import choices
from tests.model.conversation import (
    CAS_CHOSEN_MIN,
    Command,
    Flags,
    bad_update,
    get,
    mask_cas,
    meta_arith,
    meta_delete,
    meta_set,
    simple,
    update,
)
from tests.model.meta_read import meta_get
from tests.model.reference import Reference
from tests.support.core.driver import MIB, Cache
from tests.support.core.talk import Talk

NOW_SECONDS = 100
keys = st.sampled_from([b"a", b"b", b"x" * 250])
lifetimes = st.sampled_from([0, 0, 100, 1000, -1])
cas = st.sampled_from([CAS_CHOSEN_MIN, CAS_CHOSEN_MIN + 5, 1 << 48, (1 << 64) - 1])
bodies = st.sampled_from([0, 1, 50, 900, 4000, 17_000, 70_000]).map(
    lambda size: choices.filler(size, size)
)
values = st.one_of(choices.numbers, choices.texts, bodies)


def flag_words(**letters: st.SearchStrategy[object] | None) -> st.SearchStrategy[Flags]:
    """Some of the letters, each at most once, in any order, with their arguments."""
    words = [
        st.just(letter) if argument is None else st.builds("{}{}".format, st.just(letter), argument)
        for letter, argument in letters.items()
    ]
    some = st.lists(st.integers(0, len(words) - 1), unique=True, max_size=5)
    chosen = some.flatmap(lambda picks: st.tuples(*(words[pick] for pick in picks)))
    return chosen.map(Flags)


opaque = st.sampled_from(["1", "abcdef"])
small_numbers = st.sampled_from([0, 1, 7, 1000])
get_flags = flag_words(
    v=None, f=None, s=None, t=None, c=None, k=None, q=None, O=opaque, N=lifetimes, R=small_numbers,
    T=lifetimes, E=cas,
)  # fmt: skip
set_flags = flag_words(
    T=lifetimes, F=small_numbers, C=cas, E=cas, I=None, N=lifetimes, q=None, k=None, c=None,
    s=None, O=opaque,
)  # fmt: skip
delete_flags = flag_words(
    I=None, x=None, T=lifetimes, F=small_numbers, C=cas, E=cas, q=None, k=None, O=opaque
)
count_flags = flag_words(
    v=None, t=None, c=None, k=None, q=None, O=opaque, N=lifetimes, J=small_numbers,
    D=small_numbers, T=lifetimes, C=cas, E=cas,
)  # fmt: skip
updates = st.sampled_from([b"set", b"set", b"add", b"replace", b"append", b"prepend", b"cas"])
simples = st.sampled_from([b"delete", b"touch", b"incr", b"decr", b"incr", b"flush_all"])
fixed = st.sampled_from(
    [
        Command(b"bogus words\r\n", lambda _: b"ERROR\r\n"),
        Command(b"\r\n", lambda _: b"ERROR\r\n"),
        Command(b"get\r\n", lambda _: b"ERROR\r\n"),
        Command(b"version\n", lambda _: b"VERSION 9.9.9\r\n"),
        Command(b"mn\r\n", lambda _: b"MN\r\n"),
        Command(b"incr a x\r\n", lambda _: b"CLIENT_ERROR invalid numeric delta argument\r\n"),
        Command(b"set a 0 x 1\r\n", lambda _: b"CLIENT_ERROR bad command line format\r\n"),
        Command(b"mg a v v\r\n", lambda _: b"CLIENT_ERROR duplicate flag\r\n"),
        Command(b"ms a 2 !\r\nxx\r\n", lambda _: b"CLIENT_ERROR invalid flag\r\n"),
    ]
)
gets = st.builds(
    get,
    st.sampled_from([b"get", b"gets"]),
    st.lists(keys, min_size=1, max_size=40),
    st.just(0),
)
# Only get and gets may have lines above two kilobytes.
gats = st.builds(
    get, st.sampled_from([b"gat", b"gats"]), st.lists(keys, min_size=1, max_size=6), lifetimes
)
commands = st.one_of(
    st.builds(update, updates, keys, values, small_numbers, lifetimes, cas, st.booleans()),
    gets,
    gats,
    st.builds(simple, simples, keys, small_numbers, st.booleans()),
    st.builds(meta_get, keys, get_flags),
    st.builds(meta_set, keys, values, st.sampled_from("SEAPR"), set_flags),
    st.builds(meta_delete, keys, delete_flags),
    st.builds(meta_arith, keys, st.sampled_from("ID"), count_flags),
    st.builds(bad_update, keys, bodies),
    fixed,
)
conversations = st.lists(commands, min_size=1, max_size=30)
# Steps from one cut to the next: byte by byte, about a line, about a read buffer.
cuts = st.lists(st.sampled_from([1, 1, 2, 3, 10, 50, 1000, 16384, 50_000]), max_size=60)


def in_pieces(talk: Talk, sent: bytes, steps: list[int], directly: bool) -> bytes:
    """Feeds pieces of these sizes, again from the first when all are used; the answers."""
    at = 0
    turn = 0
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


def check_conversation(asked: list[Command], steps: list[int], directly: bool) -> None:
    """Three ways to the same answers."""
    sent = b"".join(command.sent for command in asked)
    with Cache(limit_bytes=64 * MIB) as whole, Cache(limit_bytes=64 * MIB) as parts:
        answers = []
        for cache in (whole, parts):
            handle = cache.open()
            handle.set_now(NOW_SECONDS)
            talk = Talk(handle)
            if cache is whole:
                answers.append(talk.ask(sent))
            else:
                if len(sent) > 100_000:
                    steps = [max(step, 1000) for step in steps]
                answers.append(in_pieces(talk, sent, steps, directly))
            assert not talk.pending and not talk.is_closed
            talk.close()
            handle.limbo_step()
            handle.check()
    assert answers[0] == answers[1]
    reference = Reference(NOW_SECONDS)
    expected = b"".join(command.answer(reference) for command in asked)
    assert mask_cas(answers[0]) == mask_cas(expected)


@pytest.mark.slow
@settings(max_examples=300)
@given(conversations, cuts, st.booleans())
def test_answers_are_the_references_in_any_pieces(
    asked: list[Command], steps: list[int], directly: bool
) -> None:
    check_conversation(asked, steps, directly)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=20_000)
@given(conversations, cuts, st.booleans())
def test_many_conversations(asked: list[Command], steps: list[int], directly: bool) -> None:
    check_conversation(asked, steps, directly)
