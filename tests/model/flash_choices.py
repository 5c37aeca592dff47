"""Commands that the state machines of the flash tier choose from."""

from hypothesis import strategies as st

from tests.model import choices
from tests.model.conversation import (
    CAS_CHOSEN_MIN,
    Command,
    Flags,
    get,
    meta_arith,
    meta_delete,
    meta_set,
    simple,
    update,
)
from tests.model.meta_read import meta_get
from tests.support.core.flash_keeper import ADMIT_ALL, ADMIT_COMPRESSED, Admission

KEYS = [b"a", b"b", b"x" * 250]
CROWD = [b"crowd-%d" % number for number in range(40)]
keys = st.sampled_from(KEYS)
lifetimes = st.sampled_from([0, 0, 0, 100, 3, -1])
cas_numbers = st.sampled_from([CAS_CHOSEN_MIN, CAS_CHOSEN_MIN + 5, 1 << 48, (1 << 64) - 1])
small_numbers = st.sampled_from([0, 1, 7, 1000])
# Some cannot be compressed, some can; the largest are in parts.
bodies = st.one_of(
    st.sampled_from([0, 1, 50, 900, 4000, 9000]).map(lambda size: choices.filler(size, size)),
    st.sampled_from([70, 300, 5000, 12_000]).map(lambda size: b"<%d>" % size * (size // 5)),
)
values = st.one_of(choices.numbers, choices.numbers, bodies)


def flag_words(**letters: st.SearchStrategy[object] | None) -> st.SearchStrategy[Flags]:
    """Some of the letters, each at most once, in any order, with their arguments."""
    words = [
        st.just(letter) if argument is None else st.builds("{}{}".format, st.just(letter), argument)
        for letter, argument in letters.items()
    ]
    some = st.lists(st.integers(0, len(words) - 1), unique=True, max_size=4)
    chosen = some.flatmap(lambda picks: st.tuples(*(words[pick] for pick in picks)))
    return chosen.map(Flags)


get_flags = flag_words(
    v=None, f=None, s=None, t=None, c=None, k=None, q=None, N=lifetimes, R=small_numbers,
    T=lifetimes, E=cas_numbers,
)  # fmt: skip
set_flags = flag_words(
    T=lifetimes, F=small_numbers, C=cas_numbers, E=cas_numbers, I=None, N=lifetimes, q=None, c=None
)
delete_flags = flag_words(
    I=None, x=None, T=lifetimes, F=small_numbers, C=cas_numbers, E=cas_numbers, q=None
)
count_flags = flag_words(
    v=None, t=None, c=None, q=None, N=lifetimes, J=small_numbers, D=small_numbers, T=lifetimes,
    C=cas_numbers, E=cas_numbers,
)  # fmt: skip
stores = st.builds(
    update,
    st.sampled_from([b"set", b"set", b"set", b"add", b"replace", b"append", b"prepend", b"cas"]),
    keys,
    values,
    small_numbers,
    lifetimes,
    cas_numbers,
    st.booleans(),
)
changes = st.one_of(
    st.builds(simple, st.sampled_from([b"incr", b"decr"]), keys, small_numbers, st.booleans()),
    st.builds(simple, st.sampled_from([b"touch"]), keys, st.sampled_from([0, 50]), st.booleans()),
    st.builds(meta_set, keys, values, st.sampled_from("SEAPR"), set_flags),
    st.builds(meta_arith, keys, st.sampled_from("ID"), count_flags),
)
deletes = st.one_of(
    st.builds(simple, st.just(b"delete"), keys, st.just(0), st.booleans()),
    st.builds(meta_delete, keys, delete_flags),
)
reads = st.one_of(
    st.builds(get, st.sampled_from([b"get", b"gets"]), keys.map(lambda key: [key]), st.just(0)),
    st.builds(get, st.sampled_from([b"gat", b"gats"]), keys.map(lambda key: [key]), lifetimes),
    st.builds(meta_get, keys, get_flags),
)
multigets = st.builds(
    get, st.sampled_from([b"get", b"gats"]), st.lists(keys, min_size=2, max_size=6), st.just(0)
)
# What is stored first where nothing is, so that the command to come meets an item.
fillings = st.sampled_from([b"10", b"99", b"text" * 50, choices.filler(1, 6000)])
# Each of one key only.
commands = st.one_of(stores, stores, changes, changes, reads, reads, deletes)
admissions = st.sampled_from(
    [
        ADMIT_ALL,
        ADMIT_COMPRESSED,
        Admission(low_ttl_seconds=50),
        Admission(item_bytes_min=1000),
        Admission(unread_percent=0),
        Admission(active_too=False),
        Admission(ttl_seconds_min=50, compress_bytes_min=200),
    ]
)


def crowd(value: bytes, lifetime: int) -> list[Command]:
    """One set for each key of the crowd."""
    return [update(b"set", key, value, 3, lifetime, 0, False) for key in CROWD]


def fill(value: bytes, word: bytes = b"add") -> list[Command]:
    """Something under each key, by default only where nothing is."""
    return [update(word, key, value, 9, 200, 0, False) for key in KEYS]


def look(key: bytes) -> Command:
    """All that a read says of a key."""
    return meta_get(key, Flags(("v", "f", "t", "c", "s", "k")))
