"""The form of `stats` lines."""

from collections.abc import Iterable

Pairs = Iterable[tuple[str, object]]


def stat_lines(pairs: Pairs) -> bytes:
    """`STAT key value` lines without the END."""
    return "".join(f"STAT {key} {value}\r\n" for key, value in pairs).encode("latin-1", "replace")


def stat_reply(pairs: Pairs) -> bytes:
    """A whole reply with its END."""
    return stat_lines(pairs) + b"END\r\n"
