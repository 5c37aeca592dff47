"""The table of commands: what C and Python know of each, and how its words are counted."""

import pytest

from pymc.control.commands import HANDLERS
from pymc.core.ffi import ffi, lib
from tests.support.core.driver import LADDER, MIB, Cache
from tests.support.core.talk import Talk

NUMBERS = range(lib.commands_count())
WORDS = {ffi.string(lib.commands_word(number)): number for number in NUMBERS}
ADMINISTRATIVE = {word for word, number in WORDS.items() if lib.commands_is_administrative(number)}
# The one name that clients are not told of: what control answers to a line that is no command.
HIDDEN = {b"misbehave"}
KEY = b"key"
# The fewest and most words of a line that is not an error by their number alone.
COUNTS = {
    **dict.fromkeys((b"get", b"gets", b"bget", b"gat", b"gats"), (2, None)),
    **dict.fromkeys((b"set", b"add", b"replace", b"append", b"prepend"), (5, 6)),
    b"cas": (6, 7),
    **dict.fromkeys((b"incr", b"decr", b"touch"), (3, 4)),
    b"delete": (2, 4),
    b"flush_all": (1, 3),
    **dict.fromkeys((b"mg", b"ms", b"md", b"ma"), (2, None)),
}


def _answer(line: bytes) -> bytes:
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        return Talk(cache.open(0)).ask(line + b"\r\n")


def test_python_answers_what_the_table_leaves_to_it() -> None:
    assert set(HANDLERS) - HIDDEN == ADMINISTRATIVE


def test_each_word_is_there_once() -> None:
    assert len(WORDS) == len(NUMBERS)
    assert WORDS.keys() >= COUNTS.keys()


def test_rights() -> None:
    rights = {word: lib.commands_rights(number) for word, number in WORDS.items()}
    read, write, admin = lib.SESSION_MAY_READ, lib.SESSION_MAY_WRITE, lib.SESSION_MAY_ADMIN
    only_admins = (ADMINISTRATIVE - {b"stats"}) | {b"flush_all"}
    assert {rights[word] for word in only_admins} == {admin}
    assert {rights[word] for word in (b"get", b"gets", b"bget", b"mg", b"me", b"stats")} == {read}
    changes = (b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"incr", b"decr")
    assert {rights[word] for word in (*changes, b"touch", b"delete", b"ms", b"md", b"ma")} == {
        write
    }
    assert {rights[word] for word in (b"gat", b"gats")} == {read | write}
    assert {rights[word] for word in (b"version", b"quit", b"mn")} == {0}


@pytest.mark.parametrize("word", sorted(ADMINISTRATIVE))
@pytest.mark.parametrize("rest", [b"", b" x", b" a b c d e f g h i"])
def test_administrative_lines_are_handed_over(word: bytes, rest: bytes) -> None:
    with Cache(limit_bytes=32 * MIB, chunk_bytes=LADDER) as cache:
        talk = Talk(cache.open(0))
        assert talk.ask(b"  " + word + rest + b"\r\nmn\r\n") == b"MN\r\n"
        assert talk.admin_lines == [word + rest]


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_word_that_only_begins_like_a_command_is_none(word: bytes) -> None:
    for other in (word + b"x", word[:-1], word.upper(), word + b"\t", word + b"-and-more"):
        if other not in WORDS:
            assert _answer(other) == b"ERROR\r\n"
            assert _answer(other + b" key 0 0 1") == b"ERROR\r\n"


@pytest.mark.parametrize("word", sorted(COUNTS))
def test_the_number_of_words_is_checked(word: bytes) -> None:
    fewest, most = COUNTS[word]
    # "x" is no number, so a line with the right number of words is another error, or a miss.
    for words in range(1, 9):
        is_error = _answer(b" ".join([word, *[KEY, *[b"x"] * 8][: words - 1]])) == b"ERROR\r\n"
        assert is_error == (words < fewest or (most is not None and words > most))
