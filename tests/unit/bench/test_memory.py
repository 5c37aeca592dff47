"""The memory rows' own parts: keys and values, what a client counts, and the printed table."""

import socket
import zlib
from collections.abc import Iterator

import pytest

from bench import memory

KEY = b"k000000001"


@pytest.fixture
def pair() -> Iterator[tuple[memory.Client, socket.socket]]:
    """A client and the server's end of its connection, on which replies are laid ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = memory.Client(listener.getsockname()[1])
        peer, _ = listener.accept()
        with client.sock, peer:
            yield client, peer


def value_reply(key: bytes, value: bytes) -> bytes:
    return b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value)


def test_keys_have_one_width_and_go_on_where_asked() -> None:
    keys = memory.keys_of("k", 3, 9)
    assert keys == [b"k000000009", b"k000000010", b"k000000011"]


@pytest.mark.parametrize("value_bytes", [0, 1, 20, 6000])
def test_a_value_follows_from_its_key(value_bytes: int) -> None:
    value = memory.value_of(KEY, value_bytes)
    seed = b"%s:%08x;" % (KEY, zlib.crc32(KEY))
    assert len(value) == value_bytes
    assert value == (seed * 400)[:value_bytes]
    assert value_bytes == 0 or value_bytes < 20 or value != memory.value_of(KEY + b"x", value_bytes)


def test_refused_sets_are_counted(pair: tuple[memory.Client, socket.socket]) -> None:
    client, peer = pair
    refusal = b"SERVER_ERROR out of memory storing object\r\n"
    peer.sendall(b"STORED\r\n" + refusal + b"STORED\r\nMN\r\n")
    client.put(memory.keys_of("k", 3), 10, ttl_seconds=7)
    assert (client.stored, client.refused, len(client.slowest)) == (2, 1, 1)
    sent = peer.recv(4096)
    assert sent.startswith(b"set k000000000 0 7 10\r\n")
    assert sent.count(b"set ") == 3
    assert sent.endswith(b"\r\nmn\r\n")


def test_what_is_held_is_counted_and_verified(pair: tuple[memory.Client, socket.socket]) -> None:
    client, peer = pair
    peer.sendall(value_reply(KEY, memory.value_of(KEY, 50)) + b"END\r\n")
    assert client.held([b"k000000000", KEY], 50) == 1
    peer.sendall(value_reply(KEY, memory.value_of(b"other", 50)) + b"END\r\n")
    with pytest.raises(memory.WrongValueError, match="k000000001"):
        client.held([KEY], 50)


def test_a_server_that_hangs_up_is_no_end_of_a_reply(
    pair: tuple[memory.Client, socket.socket],
) -> None:
    client, peer = pair
    peer.sendall(b"END")
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError):
        client.held([KEY], 50)


def test_statistics_are_read_by_name(pair: tuple[memory.Client, socket.socket]) -> None:
    client, peer = pair
    peer.sendall(b"STAT version 1 a\r\nSTAT curr_items 12\r\nEND\r\n")
    assert client.count("curr_items") == 12
    assert peer.recv(100) == b"stats\r\n"


def test_rows_are_chosen_by_name() -> None:
    assert memory.chosen_rows("drift,flush") == ["drift", "flush"]
    with pytest.raises(ValueError, match="no such row: flash; there are flush, expiry"):
        memory.chosen_rows("flush,flash")


def test_every_row_says_what_it_does() -> None:
    assert all((row.run.__doc__ or "").strip() for row in memory.ROWS.values())


def test_the_table_shows_every_figure_of_every_server() -> None:
    lines = memory.table({"a": {"held": 12345.6, "refused": 0}, "b": {"held": 7, "lost": 1}})
    assert [line.split() for line in lines] == [
        ["held", "a", "1.235e+04", "b", "7"],
        ["refused", "a", "0", "b", "-"],
        ["lost", "a", "-", "b", "1"],
    ]
    assert memory.table({}) == []
