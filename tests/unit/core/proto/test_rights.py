"""What a client without a right, or a disabled command, is answered; and that nothing happens."""

from collections.abc import Iterator

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, Cache
from tests.support.core.talk import Talk

WORDS = {ffi.string(lib.commands_word(at)): at for at in range(lib.commands_count())}
ADMINISTRATIVE = {word for word, at in WORDS.items() if lib.commands_is_administrative(at)}
READ, WRITE, ADMIN = lib.SESSION_MAY_READ, lib.SESSION_MAY_WRITE, lib.SESSION_MAY_ADMIN
REFUSED = b"CLIENT_ERROR not permitted\r\n"
KEPT = b"VALUE k 0 1\r\nv\r\nEND\r\n"
# What changes something, with what follows its line; none of them has an argument that is wrong.
WRITES = (
    b"set k 0 0 3\r\nnew\r\n",
    b"add n 0 0 3\r\nnew\r\n",
    b"replace k 0 0 3\r\nnew\r\n",
    b"append k 0 0 3\r\nnew\r\n",
    b"prepend k 0 0 3\r\nnew\r\n",
    b"cas k 0 0 3 1\r\nnew\r\n",
    b"incr k 1\r\n",
    b"decr k 1\r\n",
    b"touch k 1\r\n",
    b"delete k\r\n",
    b"gat 1 k\r\n",
    b"gats 1 k\r\n",
    b"ms k 3\r\nnew\r\n",
    b"ms k 3 T0 q\r\nnew\r\n",
    b"md k q\r\n",
    b"ma n N0\r\n",
    b"mg k v T1\r\n",
    b"mg n v N1\r\n",
    b"mg k v R30\r\n",
    b"mg n v N0 E5\r\n",
)
READS = (b"get k\r\n", b"gets k\r\n", b"bget k\r\n", b"mg k v\r\n", b"me k\r\n", b"gat 0 k\r\n")
QUIET = (
    b"set k 0 0 3 noreply\r\nnew\r\n",
    b"cas k 0 0 3 1 noreply\r\nnew\r\n",
    b"incr k 1 noreply\r\n",
    b"touch k 1 noreply\r\n",
    b"delete k noreply\r\n",
)


@pytest.fixture
def talk() -> Iterator[Talk]:
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        talk = Talk(cache.open(0), answers_admin=False)
        assert talk.ask(b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n"
        yield talk


def _may(talk: Talk, rights: int) -> None:
    lib.session_set_rights(talk.session, rights)


def _count(talk: Talk, name: str) -> int:
    return talk.handle.counters()[name]


@pytest.mark.parametrize("line", WRITES)
def test_who_may_only_read_changes_nothing(talk: Talk, line: bytes) -> None:
    _may(talk, READ | ADMIN)
    assert talk.ask(line + b"mn\r\n") == REFUSED + b"MN\r\n"
    _may(talk, READ)
    assert talk.ask(b"get k n\r\n") == KEPT
    assert talk.ask(b"mg k t\r\n") == b"HD t-1\r\n"
    assert _count(talk, "commands_not_permitted") == 1


@pytest.mark.parametrize("line", READS)
def test_who_may_only_write_sees_nothing(talk: Talk, line: bytes) -> None:
    _may(talk, WRITE | ADMIN)
    assert talk.ask(line + b"mn\r\n") == REFUSED + b"MN\r\n"


@pytest.mark.parametrize("line", QUIET)
def test_noreply_says_nothing(talk: Talk, line: bytes) -> None:
    _may(talk, READ)
    assert talk.ask(line + b"get k\r\n") == KEPT
    assert _count(talk, "commands_not_permitted") == 1


def test_a_key_called_noreply_is_a_key(talk: Talk) -> None:
    _may(talk, 0)
    for line in (b"delete noreply\r\n", b"get noreply\r\n", b"mg noreply\r\n", b"md k noreply\r\n"):
        assert talk.ask(line) == REFUSED


@pytest.mark.parametrize("word", sorted(ADMINISTRATIVE - {b"stats"} | {b"flush_all"}))
@pytest.mark.parametrize("rest", [b"", b" x y"])
def test_administration_is_for_administrators(talk: Talk, word: bytes, rest: bytes) -> None:
    _may(talk, READ | WRITE)
    assert talk.ask(word + rest + b"\r\n") == REFUSED
    assert talk.ask(word + rest + b" noreply\r\n") == b""
    assert talk.admin_lines == []
    assert talk.ask(b"get k\r\n") == KEPT


@pytest.mark.parametrize("rest", [b"reset", b"detail on", b"detail off", b"detail"])
def test_statistics_are_shown_and_not_changed(talk: Talk, rest: bytes) -> None:
    _may(talk, READ | WRITE)
    assert talk.ask(b"stats " + rest + b"\r\n") == REFUSED
    assert talk.admin_lines == []
    _may(talk, READ | ADMIN)
    talk.feed(b"stats " + rest + b"\r\n")
    assert talk.admin_lines == [b"stats " + rest]


@pytest.mark.parametrize("rest", [b"", b" items", b" settings", b" detail dump", b" cachedump 1 1"])
def test_statistics_are_for_readers(talk: Talk, rest: bytes) -> None:
    _may(talk, WRITE)
    assert talk.ask(b"stats" + rest + b"\r\n") == REFUSED
    _may(talk, READ)
    talk.feed(b"stats" + rest + b"\r\n")
    assert talk.admin_lines == [b"stats" + rest]


def test_anybody_may_leave(talk: Talk) -> None:
    _may(talk, 0)
    assert talk.ask(b"mn\r\nversion\r\n") == b"MN\r\nVERSION 9.9.9\r\n"
    talk.feed(b"quit\r\n")
    assert talk.is_closed


def test_a_get_that_does_not_fit_into_the_input(talk: Talk) -> None:
    _may(talk, WRITE)
    assert talk.ask(b"get " + b"k " * 1500) == REFUSED
    assert talk.ask(b"k k\r\nmn\r\n") == b"MN\r\n"
    _may(talk, READ)
    answer = talk.ask(b"gets " + b"x " * 1500 + b"k\r\n")
    assert answer.startswith(b"VALUE k 0 1 ") and answer.endswith(b"\r\nv\r\nEND\r\n")


def test_a_large_value_is_thrown_away(talk: Talk) -> None:
    _may(talk, READ)
    value = b"get k\r\n" * 20_000
    talk.feed(b"set k 0 0 %d\r\n" % len(value))
    for at in range(0, len(value), 5000):
        talk.feed(value[at : at + 5000])
    assert talk.ask(b"\r\nget k\r\n") == KEPT


def test_what_is_no_line_of_a_command_is_an_error_as_ever(talk: Talk) -> None:
    _may(talk, READ)
    assert talk.ask(b"unknown 1 2\r\n") == b"ERROR\r\n"
    assert talk.ask(b"set k 0 0 nonsense\r\n") == REFUSED
    assert talk.ask(b"set k 0 0 -1\r\n") == REFUSED
    assert talk.ask(b"mn\r\n") == b"MN\r\n"


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_disabled_command_is_refused_to_everybody(talk: Talk, word: bytes) -> None:
    lib.proto_disable_commands(talk.proto, b"nonsense " + word + b" other")
    assert not lib.session_permits(talk.session, WORDS[word])
    refused = b"CLIENT_ERROR " + word + b" not allowed\r\n"
    line = word + b" k 0 0 1" + (b" 1" if word == b"cas" else b"")
    line = b"ms k 1" if word == b"ms" else line
    has_value = word in (b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"ms")
    assert talk.ask(line + b"\r\n" + (b"x\r\n" if has_value else b"")) == refused
    assert _count(talk, "commands_disabled") == 1
    others = [other for other in WORDS if other != word]
    assert all(lib.session_permits(talk.session, WORDS[other]) for other in others)
    if word not in (b"get", b"version"):
        assert talk.ask(b"version\r\nget k\r\n") == b"VERSION 9.9.9\r\n" + KEPT


def test_nobody_gets_past_a_login_with_a_long_line(talk: Talk) -> None:
    lines = b"user:password"
    assert lib.proto_set_auth(talk.proto, lines, len(lines)) == 0
    talk.handle.cache.set_live("auth_required", 1)
    assert talk.ask(b"get " + b"k " * 1500) == b""
    assert talk.is_closed


def test_rights_are_bits_that_exist(talk: Talk) -> None:
    _may(talk, 0xFF)
    lib.proto_disable_commands(talk.proto, b"get")
    assert talk.ask(b"get k\r\n") == b"CLIENT_ERROR get not allowed\r\n"
