"""Wrong command lines: the hint that comes after memcached's words."""

import shlex

import pytest

from pymc.cli import parse
from pymc.config import StartupStop


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("-o slab_automov=1", 'did you mean "slab_automove"?'),
        ("-o ext_paht=/x:64m", 'did you mean "ext_path"?'),
        ("-o 'modern, idle_timeout=3'", 'did you mean "idle_timeout"?'),
        ("-o Modern", 'did you mean "modern"?'),
        ("-o frobnicate", ""),
        ("--memory-limt=5", 'did you mean "memory-limit"?'),
        ("-B Ascii", 'did you mean "ascii"?'),
        ("-o hash_algorithm=murmur", 'did you mean "murmur3"?'),
        ("-t 0", "threads takes 1 or more, not 0"),
        ("-f 1", "slab-growth-factor takes more than 1, not 1"),
        ("-o ext_io_depth=5000", "ext_io_depth takes 1 to 4096, not 5000"),
        ("-o tcp_fastopen=65536", "tcp_fastopen takes 0 to 65535, not 65536"),
    ],
)
def test_what_memcached_leaves_out_is_a_hint(line: str, hint: str) -> None:
    with pytest.raises(StartupStop) as caught:
        parse(shlex.split(line), "memcached", {}, lambda: 0, {"nobody": 1}.__getitem__)
    assert caught.value.hint == hint
    assert ("\nhint: " in caught.value.error_text) == bool(hint)
