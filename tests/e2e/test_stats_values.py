"""The values of `stats`: the same as memcached's after the same conversation."""

import pytest

from tests.support.connection import Connection
from tests.support.programs import Program
from tests.support.server import Server

# One line sent, and how many lines come back.
CONVERSATION: list[tuple[bytes, int]] = [
    # What was said until it was ready is not counted: it names the version.
    (b"stats reset", 1),
    *((b"set key%d 0 0 %d\r\n%s" % (n, n + 1, b"x" * (n + 1)), 1) for n in range(20)),
    (b"get key1", 3),
    (b"get key1 gone key2 gone2", 5),
    (b"gets key3", 3),
    (b"gat 100 key1 gone", 3),
    (b"gats 100 key2", 3),
    (b"touch key3 100", 1),
    (b"touch gone 100", 1),
    (b"add key1 0 0 1\r\nx", 1),
    (b"add fresh 0 0 1\r\nx", 1),
    (b"replace gone 0 0 1\r\nx", 1),
    (b"replace key1 0 0 2\r\nxy", 1),
    (b"append key1 0 0 2\r\nab", 1),
    (b"prepend gone 0 0 2\r\nab", 1),
    (b"cas gone 0 0 1 1\r\nx", 1),
    (b"cas key5 0 0 1 1\r\nx", 1),
    (b"ms casitem 1 C77\r\nx", 1),
    (b"ms number 2\r\n41", 1),
    (b"incr number 5", 1),
    (b"incr gone 5", 1),
    (b"decr number 2", 1),
    (b"decr number 2", 1),
    (b"decr gone 2", 1),
    (b"ma number", 1),
    (b"ma gone MD", 1),
    (b"mg key4 v t", 2),
    (b"mg key4 T100", 1),
    (b"mg gone v", 1),
    (b"mn", 1),
    (b"md key7", 1),
    (b"md gone", 1),
    (b"delete key8", 1),
    (b"delete gone", 1),
    (b"delete key9 noreply", 0),
    (b"set key1 0 0 2\r\nxyz", 2),
    (b"nonsense", 1),
    (b"set large 0 0 70000\r\n" + b"x" * 70000, 1),
    (b"set huge 0 0 2000000\r\n" + b"x" * 2000000, 1),
    (b"get large", 3),
    (b"verbosity 0", 1),
    (b"set late 0 -1 1\r\nx", 1),
    (b"get late", 1),
    (b"flush_all", 1),
    (b"get key11 key12", 1),
    (b"set after 0 0 5\r\nhello", 1),
    (b"get after", 3),
]
# What cannot be compared, and why.
APART = {
    "another process and program": "pid uptime time version libevent rusage_user rusage_system",
    "items and buffers of another form": "bytes hash_bytes response_obj_count response_obj_bytes "
    "read_buf_count read_buf_bytes read_buf_bytes_free",
    "memcached keeps structures of connections that are over": "connection_structures",
    "memcached takes the flushed away in the background": "get_flushed reclaimed",
    "pymc yields after some bytes, memcached after some requests": "conn_yields",
}
# What background threads do at times of their own; only with the modern defaults.
BACKGROUND = """
    lru_crawler_running lru_crawler_starts lru_maintainer_juggles crawler_reclaimed
    crawler_items_checked expired_unfetched moves_to_cold moves_to_warm moves_within_lru
    direct_reclaims lrutail_reflocked
"""
# Of `stats items` and `stats slabs`, over all classes: classes are others, and so are ages.
OF_ITEMS = """
    number evicted evicted_nonzero evicted_time outofmemory tailrepairs evicted_unfetched
"""
OF_SLABS = """
    get_hits cmd_set delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits free_chunks_end
"""


def talk(connection: Connection) -> None:
    for sent, lines in CONVERSATION:
        connection.send(sent + b"\r\n")
        for _ in range(lines):
            connection.read_line()
    assert connection.ask("mn") == b"MN"


def over_classes(connection: Connection, sub: str, names: str) -> dict[str, int]:
    shown = connection.stats(sub).items()
    return {
        name: sum(int(value) for key, value in shown if key.rpartition(":")[2] == name)
        for name in names.split()
    }


@pytest.mark.parametrize("args", [[], ["-o", "no_modern"], ["-C", "-o", "no_maxconns_fast"]])
def test_values_are_memcacheds(pymc: Program, newest_oracle: Program, args: list[str]) -> None:
    args = ["-t", "2", "-m", "100", "-c", "77", *args]
    with (
        Server(pymc, args) as my_server,
        Server(newest_oracle, args) as their_server,
        my_server.connect() as mine,
        their_server.connect() as theirs,
    ):
        talk(mine)
        talk(theirs)
        # Before anything else is answered: that would count in bytes_written.
        shown, wanted = mine.stats(), theirs.stats()
        apart = {key for keys in APART.values() for key in keys.split()}
        assert apart <= set(wanted)
        compared = set(wanted) - apart - set(BACKGROUND.split())
        assert {key: shown[key] for key in compared} == {key: wanted[key] for key in compared}
        # It would say little if all of that were 0.
        assert len([key for key in compared if wanted[key] != "0"]) >= 30
        assert over_classes(mine, "items", OF_ITEMS) == over_classes(theirs, "items", OF_ITEMS)
        assert over_classes(mine, "slabs", OF_SLABS) == over_classes(theirs, "slabs", OF_SLABS)
