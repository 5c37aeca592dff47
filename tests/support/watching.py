"""Clients of `watch`: the lines of its streams."""

import re

from tests.support.connection import Connection

_FIELD = re.compile(rb"(\w+)=(\S*)")


def watching(client: Connection, *streams: str) -> None:
    """From here on the client gets the lines of these streams."""
    assert client.ask(" ".join(("watch", *streams))) == b"OK"


def fields(line: bytes) -> dict[bytes, bytes]:
    """The words of a line by their names."""
    return dict(_FIELD.findall(line))
