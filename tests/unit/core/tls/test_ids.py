"""The list of identities: which lines can be used, and for whom they are."""

import pytest

from pymc.core.ffi import lib
from tests.support.core.tls_rig import ADMIN, ALL, READ, WRITE, said


def check(lines: bytes) -> str:
    """Why a list cannot be used, "" if it can."""
    status, reason = said(lib.tls_ids_check, lines, len(lines))
    assert (status == lib.PYMC_OK) == (reason == "")
    return reason


def rights(lines: str, identity: str) -> int:
    assert check(lines.encode()) == ""
    who = identity.encode()
    return int(lib.tls_ids_rights(lines.encode(), len(lines), who, len(who)))


@pytest.mark.parametrize(
    "lines",
    [
        b"spiffe://td/a",
        b"spiffe://td/a/b.c/D_e-f/*",
        b"spiffe://td/*",
        b"# a comment\n\n  client.example.com\tread  # another\r\n*.example.com read, write",
        b"host",
        b"a read,write,admin",
        b"a ,read,,write,",
        b"spiffe://td/" + b"p" * (2048 - 12),
    ],
)
def test_lists_that_can_be_used(lines: bytes) -> None:
    assert check(lines) == ""


@pytest.mark.parametrize(
    "line",
    [
        b"spiffe://td",
        b"spiffe://td/",
        b"spiffe:///a",
        b"spiffe://",
        b"SPIFFE://td/a",
        b"spiffe://Td/a",
        b"spiffe://td:80/a",
        b"spiffe://user@td/a",
        b"spiffe://td/a/",
        b"spiffe://td//a",
        b"spiffe://td/a/../b",
        b"spiffe://td/./b",
        b"spiffe://td/a%2eb",
        b"spiffe://td/a?b",
        b"spiffe://td/a#b",
        b"spiffe://td/*/b",
        b"spiffe://td/a*",
        b"spiffe://*/a",
        b"spiffe://td*",
        b"spiffe://td/\xc3\xa4",
        b"spiffe://td/a\0b",
        b"spiffe://td/" + b"p" * (2049 - 12),
        b"https://td/a",
        b"*",
        b"*.",
        b"*.*.example.com",
        b"a.*.com",
        b"a*.example.com",
        b"example.com.",
        b".example.com",
        b"a..b",
        b"-a.example.com",
        b"a-.example.com",
        b"l" * 64 + b".com",
        b".".join([b"l" * 60] * 5),
        b"exa mple.com/x",
        b"host reed",
        b"host READ",
        b"host read;write",
        b"host#read",
    ],
)
def test_a_bad_line_is_named(line: bytes) -> None:
    reason = check(b"# one\ngood.example.com\n" + line + b"\n")
    assert reason.startswith("line 3: ")
    assert reason.isprintable()


def test_a_list_without_names() -> None:
    assert check(b"") == check(b"# nobody\n\n") == "no line names anybody"


@pytest.mark.parametrize(
    ("line", "identity", "fits"),
    [
        ("spiffe://td/a", "spiffe://td/a", True),
        ("spiffe://td/a", "spiffe://td/A", False),
        ("spiffe://td/a", "spiffe://td/ab", False),
        ("spiffe://td/ab", "spiffe://td/a", False),
        ("spiffe://td/a", "spiffe://td/a/", False),
        ("spiffe://td/a", "spiffe://td2/a", False),
        ("spiffe://td/a/*", "spiffe://td/a/b", True),
        ("spiffe://td/a/*", "spiffe://td/a/b/c", False),
        ("spiffe://td/a/*", "spiffe://td/a/", False),
        ("spiffe://td/a/*", "spiffe://td/a", False),
        ("spiffe://td/a/*", "spiffe://td/ab/c", False),
        ("spiffe://td/*", "spiffe://td/a", True),
        ("spiffe://td/*", "spiffe://td", False),
        ("spiffe://td/*", "spiffe://td/a%2fb", False),
        ("Client.Example.com", "cLIENT.eXAMPLE.com", True),
        ("client.example.com", "client.example.con", False),
        ("client.example.com", "client.example.com.", False),
        ("*.example.com", "a.example.com", True),
        ("*.Example.com", "A.eXample.com", True),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "*.example.com", False),
        ("*.example.com", "a.example.org", False),
        # Case is folded for letters only: `@` and a back-tick are one bit apart as well.
        ("a_b", "a\x7fb", False),
        ("td", "spiffe://td/a", False),
    ],
)
def test_whom_a_line_is_for(line: str, identity: str, fits: bool) -> None:
    assert rights(f"other.example.org\n{line}\n", identity) == (ALL if fits else 0)


@pytest.mark.parametrize(
    ("words", "granted"),
    [
        ("", ALL),
        (" read", READ),
        (" write", WRITE),
        (" admin", ADMIN),
        (" read write", READ | WRITE),
        ("\tadmin,read", READ | ADMIN),
        (" read, read # admin", READ),
    ],
)
def test_rights(words: str, granted: int) -> None:
    assert rights(f"host{words}", "host") == granted


def test_the_first_line_that_fits_counts() -> None:
    lines = "spiffe://td/a read\nspiffe://td/* write\nspiffe://td/a admin\n"
    assert rights(lines, "spiffe://td/a") == READ
    assert rights(lines, "spiffe://td/b") == WRITE
