"""getopt_long's habits: each row is a command line and the options that come out of it."""

import pytest

from pymc.config import StartupError
from pymc.config.getopt import CommandLine, Option

OPTIONS = [
    Option("p", "port", True),
    Option("P", "pidfile", True),
    Option("v", "verbose", False, allows_value=True),
    Option("V", "version", False),
    Option("d", "daemon", False),
    Option("D", "", True),
]
LINE = CommandLine("prog", OPTIONS)


def check(words: str | list[str], *expected: str, **keywords: bool) -> None:
    """Compares the walk with letters and values written as `p=5` or `v`."""
    split = words.split() if isinstance(words, str) else words
    walked = [
        letter if value is None else f"{letter}={value}"
        for letter, value in LINE.walk(split, **keywords)
    ]
    assert walked == list(expected)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ""),
        ("-v -v", "v v"),
        ("-vvd", "v v d"),
        ("-p5", "p=5"),
        ("-p 5", "p=5"),
        ("-dp5", "d p=5"),
        ("-dp 5", "d p=5"),
        ("-p-1V", "p=-1V"),
        ("-p -d", "p=-d"),
        ("-p -- -d", "p=-- d"),
        ("--port=5", "p=5"),
        ("--port 5", "p=5"),
        ("--port=", "p="),
        ("--por 5 --ver --dae", None),
        ("--por 5 --vers --dae", "p=5 V d"),
        ("--port=a=b", "p=a=b"),
        ("--verb=3", "v"),
        ("one -d two -v", "d v"),
        ("- -d", "d"),
        ("-d -- -v", "d"),
    ],
)
def test_walk(words: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(StartupError, match="ambiguous"):
            list(LINE.walk(words.split()))
    else:
        check(words, *expected.split())


def test_one_word_with_a_blank_keeps_it() -> None:
    check(["-p 5"], "p= 5")


def test_operands_end_the_walk_when_asked() -> None:
    check("-d one -v", "d", stops_at_operand=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-q", "invalid option -- 'q'"),
        ("-vq", "invalid option -- 'q'"),
        ("-p", "option requires an argument -- 'p'"),
        ("-vp", "option requires an argument -- 'p'"),
        ("--port", "option '--port' requires an argument"),
        ("--por", "option '--port' requires an argument"),
        ("--daemon=1", "option '--daemon' doesn't allow an argument"),
        ("--dae=1", "option '--daemon' doesn't allow an argument"),
        ("--nothing=1", "unrecognized option '--nothing=1'"),
        ("--p=1", "option '--p=1' is ambiguous; possibilities: '--port' '--pidfile'"),
    ],
)
def test_messages(words: str, message: str) -> None:
    with pytest.raises(StartupError) as caught:
        list(LINE.walk(words.split()))
    assert caught.value.message == f'prog: {message}\nIllegal argument "?"'
    assert caught.value.exit_code == 1


def test_what_comes_before_a_mistake_has_its_effect() -> None:
    walk = LINE.walk(["-V", "-q"])
    assert next(walk) == ("V", None)
    with pytest.raises(StartupError):
        next(walk)
