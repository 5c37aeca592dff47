"""Administrative commands: exact answers, as memcached 1.6.38 gives them, and what they change."""

from pathlib import Path

import pytest

from pymc.core.arena import Note
from pymc.core.flash import Wanted
from pymc.messages import (
    CrawlerState,
    CrawlMessage,
    Message,
    MoveMessage,
    WakeMessage,
    receive,
    send,
)
from tests.support.inprocess import InProcess, in_process

BAD_FORMAT = "CLIENT_ERROR bad command line format"
PCTS = "ERROR hot and warm pcts must not exceed 80"
FACTORS = "ERROR hot/warm age factors must be greater than 0"
SLEEP = "CLIENT_ERROR sleep must be one second or less"
BAD_CLASS = "BADCLASS invalid class id"
NOT_NOW = "ERROR failed to start lru crawler thread"

ANSWERS = """
verbosity                       | ERROR
verbosity 1                     | OK
verbosity +1                    | OK
verbosity x                     | BAD_FORMAT
verbosity -1                    | BAD_FORMAT
verbosity 1x                    | BAD_FORMAT
verbosity 5                     | OK
verbosity 1 2                   | OK
verbosity 1 2 3                 | ERROR
verbosity 1 noreply             |
verbosity noreply               |
verbosity 1 noreply x           | ERROR
cache_memlimit                  | ERROR
cache_memlimit 7                | MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m
cache_memlimit 8                | OK
cache_memlimit x                | ERROR
cache_memlimit -1               | ERROR
cache_memlimit 100x             | ERROR
cache_memlimit 100 200          | OK
cache_memlimit 1 2 3            | ERROR
cache_memlimit 64 noreply       |
cache_memlimit 1000000001       | MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes
cache_memlimit 4294967304       | OK
slabs                           | ERROR
slabs x                         | ERROR
slabs noreply                   | ERROR
slabs reassign                  | ERROR
slabs reassign 1                | ERROR
slabs reassign 1 2 3            | ERROR
slabs reassign 1 2 noreply      | ERROR
slabs reassign a b              | BAD_FORMAT
slabs reassign 1 x              | BAD_FORMAT
slabs reassign 1 1              | SAME src and dst class are identical
slabs reassign 0 0              | SAME src and dst class are identical
slabs reassign 300 2            | BADCLASS invalid src or dst class id
slabs reassign 1 300            | BADCLASS invalid src or dst class id
slabs reassign 1 2              | NOSPARE source class has no spare pages
slabs reassign 0 2              | NOSPARE source class has no spare pages
slabs reassign -1 2             | NOSPARE source class has no spare pages
slabs automove                  | ERROR
slabs automove 0                | OK
slabs automove 2                | OK
slabs automove 3                | ERROR
slabs automove x                | BAD_FORMAT
slabs automove -1               | BAD_FORMAT
slabs automove 1 noreply        |
slabs automove noreply          |
slabs automove ratio            | ERROR
slabs automove ratio 0.5        | OK
slabs automove ratio x          | ERROR
slabs automove ratio 0.8 noreply|
slabs automove freeratio 0.1    | OK
slabs automove window 5         | OK
slabs automove window x         | BAD_FORMAT
slabs automove foo 5            | BAD_FORMAT
lru                             | ERROR
lru x                           | ERROR
lru tune                        | ERROR
lru tune 10 20 0.5 1            | OK
lru tune 10 20 0.5              | ERROR
lru tune 50 50 0.1 1            | PCTS
lru tune 10 20 0 1              | FACTORS
lru tune 10 20 -1 2             | FACTORS
lru tune 10 20 nan 2            | FACTORS
lru tune a b c d                | ERROR
lru tune 10 20 0.2 2.0 noreply  |
lru mode flat                   | OK
lru mode segmented              | OK
lru mode x                      | ERROR
lru temp_ttl 5                  | OK
lru temp_ttl -1                 | OK
lru temp_ttl x                  | ERROR
lru temp_ttl 7 noreply          |
lru_crawler                     | ERROR
lru_crawler enable              | NOT_NOW
lru_crawler enable x            | ERROR
lru_crawler crawl               | ERROR
lru_crawler crawl 300           | BAD_CLASS
lru_crawler crawl x             | BAD_CLASS
lru_crawler crawl 1,x           | BAD_CLASS
lru_crawler crawl 0             | BAD_CLASS
lru_crawler crawl all noreply   | ERROR
lru_crawler crawl hash          | ERROR an unknown error happened
lru_crawler sleep 5             | OK
lru_crawler sleep x             | BAD_FORMAT
lru_crawler sleep 1000001       | SLEEP
lru_crawler sleep 5 noreply     | ERROR
lru_crawler tocrawl 5           | OK
lru_crawler tocrawl -1          | BAD_FORMAT
lru_crawler tocrawl 4294967296  | OK
lru_crawler metadump            | ERROR
lru_crawler metadump 300        | BAD_CLASS
lru_crawler metadump all        | END
lru_crawler mgdump hash         | EN
lru_crawler mgdump x            | BAD_CLASS
watch nothing                   | ERROR
refresh_certs                   | Error TLS not enabled
refresh_certs noreply           | Error TLS not enabled
extstore                        | ERROR
extstore x 1                    | ERROR
extstore item_size              | ERROR
extstore item_size 5            | OK
extstore item_size x            | ERROR
extstore item_size 6 noreply    |
extstore noreply                |
extstore max_sleep 5 6          | OK
extstore max_frag 0.5           | OK
extstore max_frag x             | ERROR
extstore drop_unread 2          | OK
extstore compress 300           | OK
extstore compress x             | ERROR
extstore compact_rate 5         | OK
extstore compact_rate x         | ERROR
extstore admit fetched          | OK
extstore admit some             | ERROR
extstore rescue all             | OK
extstore rescue 1               | ERROR
extstore free_memchunks 1 2     | OK
extstore free_memchunks 1       | ERROR
extstore free_memchunks 300 2   | ERROR
shutdown                        | ERROR: shutdown not enabled
shutdown x                      | ERROR: shutdown not enabled
misbehave                       | ERROR
stats foo                       | ERROR
stats noreply                   | ERROR
stats reset                     | RESET
stats reset x                   | RESET
stats detail                    | CLIENT_ERROR usage: stats detail on|off|dump
stats detail x                  | CLIENT_ERROR usage: stats detail on|off|dump
stats detail on                 | OK
stats detail off noreply        | OK
stats detail dump               | END
stats cachedump                 | CLIENT_ERROR bad command line
stats cachedump 1               | CLIENT_ERROR bad command line
stats cachedump 1 x             | BAD_FORMAT
stats cachedump x 1             | BAD_FORMAT
stats cachedump 1 -1            | BAD_FORMAT
stats cachedump 300 0           | CLIENT_ERROR Illegal slab id
stats cachedump 0 1             | END
stats cachedump 1 0             | END
stats extstore                  | END
"""
ROWS = [tuple(map(str.strip, row.split("|", 1))) for row in ANSWERS.strip().splitlines()]


@pytest.mark.parametrize(("line", "answer"), ROWS, ids=[row[0] for row in ROWS])
def test_answer(line: str, answer: str) -> None:
    wanted = globals().get(answer, answer) if answer.isupper() else answer
    with in_process() as server:
        assert server.ask(line).decode() == (f"{wanted}\r\n" if wanted else "")


def received(server: InProcess) -> Message:
    return receive(server.context.keeper_inbox.reader)[0]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("verbosity 9", "verbosity", 2),
        ("cache_memlimit 100", "memory_limit_bytes", 100 << 20),
        ("slabs automove 2", "slab_automove", 2),
        ("slabs automove ratio 0.5", "slab_automove_ratio_millionths", 500_000),
        ("slabs automove freeratio 2", "slab_automove_freeratio_millionths", 2_000_000),
        ("slabs automove window 5", "slab_automove_window_seconds", 5),
        ("lru tune 11 20 0.5 1", "hot_lru_percent", 11),
        ("lru tune 11 21 0.5 1", "warm_lru_percent", 21),
        ("lru tune 11 21 0.5 1", "hot_max_factor_millionths", 500_000),
        ("lru tune 11 21 0.5 1", "warm_max_factor_millionths", 1_000_000),
        ("lru mode flat", "lru_segmented", 0),
        ("lru temp_ttl 9", "temporary_ttl_seconds", 9),
        ("lru temp_ttl 9", "temp_lru", 1),
        ("lru_crawler disable", "lru_crawler", 0),
        ("lru_crawler sleep 9", "lru_crawler_sleep_us", 9),
        ("lru_crawler tocrawl 9", "lru_crawler_to_crawl", 9),
        ("stats detail on", "detail_enabled", 1),
        ("extstore item_age 9", "ext_item_age_seconds", 9),
        ("extstore max_frag 0.25", "ext_max_frag_millionths", 250_000),
        ("extstore drop_unread 7", "ext_drop_unread", 1),
        ("extstore compress 77", "ext_compress_min_bytes", 77),
        ("extstore compact_rate 2", "ext_compact_rate_bytes", 2 << 20),
        ("extstore read_timeout 250", "ext_read_timeout_ms", 250),
        ("extstore read_timeout 0", "ext_read_timeout_ms", 1000),
        ("extstore admit 70", "ext_admit_unread_percent", 70),
        ("extstore admit fetched", "ext_admit_unread_percent", 0),
        ("extstore rescue all", "ext_compact_unread", 1),
    ],
)
def test_change_is_seen_by_all(line: str, name: str, value: int) -> None:
    with in_process() as server:
        server.ask(line)
        assert server.context.arena.live(name) == value


def test_a_path_in_and_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    paths = [f"ext_path={tmp_path}/{name}:4m" for name in ("a", "b")]
    with in_process(["-o", ",".join(["ext_page_size=2,ext_wbuf_size=2", *paths])]) as server:
        flash = server.context.flash
        assert flash is not None
        for line in ("path", "path 1", "path 2 in", "path -1 in", "path a in", "path 1 off"):
            assert server.ask(f"extstore {line}") == b"ERROR\r\n"
        assert server.ask("extstore path 1 out") == b"OK\r\n"
        assert [flash.path(n).wanted for n in (0, 1)] == [Wanted.JUDGED, Wanted.OUT]
        assert server.ask("extstore path 1 in noreply") == b""
        assert flash.path(1).wanted is Wanted.IN
    with in_process() as server:
        assert server.ask("extstore path 0 out") == b"ERROR\r\n"


def test_limit_reaches_slabs_and_wakes_the_keeper() -> None:
    with in_process() as server:
        server.ask("cache_memlimit 32")
        assert received(server) == WakeMessage()
        assert server.ask("cache_memlimit 1000000000").startswith(b"MEMLIMIT_ADJUST_FAILED out of")


def test_large_pages_keep_their_limit() -> None:
    with in_process(["-L", "-m", "8", "-I", "512k"]) as server:
        answer = b"MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n"
        assert server.ask("cache_memlimit 100") == answer


def test_crawl_is_the_keepers_work() -> None:
    with in_process() as server:
        assert server.ask("lru_crawler crawl 1,3") == b"OK\r\n"
        assert received(server) == CrawlMessage((1, 3))
        busy = b"BUSY currently processing crawler request\r\n"
        assert server.ask("lru_crawler crawl all") == busy
        server.context.arena.set_note(Note.CRAWLER, CrawlerState.OWN)
        assert server.ask("lru_crawler crawl all") == b"OK\r\n"
        assert received(server) == CrawlMessage(None)
        server.ask("lru_crawler disable")
        assert server.ask("lru_crawler crawl 1") == b"CLIENT_ERROR lru crawler disabled\r\n"
        assert server.ask("lru_crawler mgdump all") == b"CLIENT_ERROR lru crawler disabled\r\n"
        assert server.ask("lru_crawler enable") == b"OK\r\n"


def test_reassign_is_the_keepers_work() -> None:
    with in_process() as server:
        server.fill("k", 30_000, 50)
        answer = server.ask("slabs reassign -1 100")
        assert answer == b"OK\r\n"
        message = received(server)
        assert isinstance(message, MoveMessage)
        assert message.to_class == 100
        busy = b"BUSY currently processing reassign request\r\n"
        assert server.ask("slabs reassign 1 2") == busy


def test_reassign_can_be_off() -> None:
    with in_process(["-o", "no_slab_reassign"]) as server:
        disabled = b"CLIENT_ERROR slab reassignment disabled\r\n"
        assert server.ask("slabs reassign 1 2") == disabled


def test_a_full_inbox_is_busy() -> None:
    with in_process() as server:
        while send(server.context.keeper_inbox.writer, WakeMessage()):
            pass
        assert server.ask("lru_crawler crawl all").startswith(b"BUSY")
        assert server.context.arena.note(Note.CRAWLER) == CrawlerState.IDLE


@pytest.mark.parametrize(
    ("args", "line", "answer"),
    [
        (["-X"], "lru_crawler metadump all", b"ERROR metadump not allowed\r\n"),
        (["-X"], "lru_crawler mgdump all", b"ERROR key dump not allowed\r\n"),
        (["-X"], "stats cachedump", b"CLIENT_ERROR stats cachedump not allowed\r\n"),
        (["-A"], "shutdown x", b"CLIENT_ERROR invalid shutdown mode\r\n"),
        (["-A"], "shutdown graceful x", b"CLIENT_ERROR invalid shutdown mode\r\n"),
        (["-o", "no_lru_maintainer"], "lru mode flat", b"ERROR\r\n"),
        (["-o", "no_lru_maintainer"], "lru temp_ttl 5", b"ERROR\r\n"),
        (["-o", "no_lru_maintainer"], "lru tune 1 2 3 4", b"OK\r\n"),
        (["-o", "no_lru_crawler"], "lru_crawler enable", b"OK\r\n"),
    ],
)
def test_what_flags_forbid(args: list[str], line: str, answer: bytes) -> None:
    with in_process(args) as server:
        assert server.ask(line) == answer


@pytest.mark.parametrize("what", ["lru_crawler metadump all", "lru_crawler mgdump all"])
def test_not_behind_other_commands(what: str) -> None:
    with in_process() as server:
        name = what.split(" ")[1]
        answer = f"ERROR cannot pipeline other commands before {name}\r\n".encode()
        assert server.ask(what, is_pipelined=True) == answer


def test_dumps_name_each_key() -> None:
    with in_process() as server:
        server.fill("k", 500, 10)
        lines = server.ask("lru_crawler metadump all").split(b"\n")
        assert len([line for line in lines if line.startswith(b"key=k")]) == 500
        assert server.ask("lru_crawler mgdump all").endswith(b"\r\nEN\r\n")
        class_id = int(lines[0].partition(b"cls=")[2].split()[0])
        assert server.ask(f"stats cachedump {class_id} 3").count(b"ITEM k") == 3
        assert server.ask(f"stats cachedump {class_id} 0").count(b"ITEM k") == 500
