"""The reader of transcripts: what its directives mean and what it refuses."""

from pathlib import Path

import pytest

from tests.support.transcript import (
    Kind,
    TranscriptError,
    bytes_of,
    pattern_of,
    read_transcript,
)


def check_bytes(text: str, expected: bytes, **names: str) -> None:
    assert bytes_of(text, names) == expected


def check_refused(folder: Path, text: str, message: str) -> None:
    path = folder / "wrong.txt"
    path.write_text(text)
    with pytest.raises(TranscriptError, match=message):
        read_transcript(path)


def test_bytes_of_a_line() -> None:
    check_bytes("get a", b"get a")
    check_bytes(r"\x00\xff\r\n\t\0\s\\", b"\x00\xff\r\n\t\0 \\")
    check_bytes("${'ab' * 3}!", b"ababab!")
    check_bytes(r"${'\r\n' * 2}", b"\r\n\r\n")
    check_bytes("cas ${first} $(id)", b"cas 7 $(id)", first="7")
    with pytest.raises(KeyError):
        bytes_of("${nothing}", {})


def test_names_stand_for_themselves_in_patterns() -> None:
    assert pattern_of(r"c${first}( W)?", {"first": "1+"}).fullmatch(b"c1+ W")


def test_a_tag_selects_servers(tmp_path: Path) -> None:
    path = tmp_path / "tags.txt"
    path.write_text(
        "# args: -M  -m 8\n# oracle: why\n<<<[1.6.18] a\n<<<[!1.6.18] b\n<<<[memcached] c\n<<< d\n"
    )
    transcript = read_transcript(path)
    assert transcript.args == ("-M", "-m", "8")

    def lines(release: str) -> str:
        return "".join(step.text for step in transcript.steps if step.counts_for(release))

    assert lines("1.6.18") == "acd"
    assert lines("1.6.38") == "bcd"
    assert lines("pymc") == "bd"


def test_kinds_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "kinds.txt"
    path.write_text(">>> get a\n>>>\n>>|\n<<<\n<<~ x\n+++ cmd_get +1\n~~~ 5s\n@@@ b\n!!! close\n")
    transcript = read_transcript(path)
    assert [step.kind for step in transcript.steps] == [
        Kind.SEND_LINE,
        Kind.SEND_LINE,
        Kind.CUT,
        Kind.LINE,
        Kind.PATTERN,
        Kind.COUNTER,
        Kind.CLOCK,
        Kind.SWITCH,
        Kind.CLOSE,
    ]
    assert transcript.moves_clock


def test_wrong_transcripts_are_refused(tmp_path: Path) -> None:
    check_refused(tmp_path, "get a\n", "wrong.txt:1: not a directive")
    check_refused(tmp_path, "<<<[1.6.18] a\n", "wants a `# oracle:` reason")
    check_refused(tmp_path, "# oracle: why\n\n<<<[1.6.18] a\n", "wants a `# oracle:` reason")
    check_refused(tmp_path, "+++ cmd_get\n", "not a counter")
    check_refused(tmp_path, "~~~ 5\n", "not a time")
    check_refused(tmp_path, "!!! open\n", "only `close`")
    check_refused(tmp_path, "??? 1 ~ 2\n", "not a comparison")
    check_refused(tmp_path, "# not: 1.6.18\n", "wants a reason")
