"""`stats settings`: order, spelling and live values, compared with memcached's own lines."""

import re
from pathlib import Path

import pytest

from pymc import cli
from pymc.config import ROWS, FlashPath, Settings, settings_lines
from tests.support.programs import Program
from tests.support.server import Server

# What memcached has and pymc leaves out: proxies, and TLS as long as it is off.
LEFT_OUT = re.compile("proxy_|ssl_")
# Defaults that are not memcached's, on purpose: theirs and ours.
OWN_DEFAULTS = {("ext_item_size", "512"): ("ext_item_size", "64")}


def shown(key: str, settings: Settings, live: dict[str, int | float | str] | None = None) -> str:
    return dict(settings_lines(settings, live or {}))[key]


@pytest.mark.parametrize(
    ("key", "text", "settings"),
    [
        ("maxbytes", "67108864", Settings()),
        ("inter", "NULL", Settings()),
        ("inter", "a,b", Settings(listen=("a", "b"))),
        ("num_threads_per_udp", "4", Settings(listen=("a",))),
        ("num_threads_per_udp", "1", Settings(listen=("a,b",))),
        ("domain_socket", "NULL", Settings()),
        ("evictions", "off", Settings(evictions_enabled=False)),
        ("umask", "751", Settings(unix_socket_mode=0o751)),
        ("growth_factor", "3.14", Settings(slab_growth_factor=3.14159)),
        ("slab_automove_freeratio", "0.778", Settings(slab_automove_freeratio=0.7777)),
        ("binding_protocol", "auto-negotiate", Settings()),
        ("binding_protocol", "ascii", Settings(protocol="ascii")),
        ("auth_enabled_ascii", "/x", Settings(auth_file_path="/x")),
        ("memory_file", "(null)", Settings()),
        ("num_napi_ids", "(null)", Settings()),
        ("num_napi_ids", "3", Settings(napi_ids_count=3)),
        ("ext_item_age", "4294967295", Settings()),
    ],
)
def test_spelling(key: str, text: str, settings: Settings) -> None:
    assert shown(key, settings) == text


@pytest.mark.parametrize(
    ("key", "text", "live"),
    [
        ("maxbytes", "1024", {"memory_limit_bytes": 1024}),
        ("verbosity", "2", {"verbosity": 2}),
        ("detail_enabled", "yes", {"detail_enabled": 1}),
        ("lru_segmented", "no", {"lru_segmented": 0}),
        ("slab_automove_ratio", "0.50", {"slab_automove_ratio": 0.5}),
        ("oldest", "7", {"oldest_live_seconds": 7}),
        ("tcpport", "11211", {"port": 5}),
    ],
)
def test_live_values_count(key: str, text: str, live: dict[str, int | float | str]) -> None:
    assert shown(key, Settings(), live) == text


def test_tls_keys_come_with_tls() -> None:
    keys = [key for key, _ in settings_lines(Settings(tls_enabled=True), {})]
    assert " ".join(key for key in keys if key.startswith("ssl_")) == (
        "ssl_enabled ssl_chain_cert ssl_key ssl_verify_mode ssl_keyformat ssl_ciphers ssl_ca_cert "
        "ssl_wbuf_size ssl_session_cache ssl_kernel_tls ssl_min_version "
        "ssl_allowed_ids ssl_crl ssl_handshake_timeout ssl_ticket_seconds"
    )
    assert keys.index("ssl_enabled") == keys.index("ext_drop_unread") + 1
    assert shown("ssl_min_version", Settings(tls_enabled=True)) == "tlsv1.2"
    assert not [key for key, _ in settings_lines(Settings(), {}) if key.startswith("ssl_")]


def test_own_keys_come_behind_with_a_flash_tier() -> None:
    without = settings_lines(Settings(), {})
    path = FlashPath("/x", 1 << 30, 16)
    keys = [key for key, _ in settings_lines(Settings(ext_paths=(path,)), {})]
    assert keys[: len(without)] == [key for key, _ in without]
    own = [row for row in ROWS.values() if row.shown_with == "ext_paths"]
    own.sort(key=lambda row: row.stats_position)
    assert keys[len(without) :] == [row.stats_key for row in own]
    assert {"ext_engine", "ext_compress", "ext_read_timeout"} <= {*keys}
    assert shown("ext_rescue", Settings(ext_paths=(path,)), {"ext_rescue": "all"}) == "all"


FLAGS = "-m 100 -c 500 -v -M -a 0751 -A -f 1.5 -n 33 -t 2 -R 3 -C -b 7 -B ascii -I 2m -F -X"
OPTIONS = (
    "-o no_maxconns_fast,hashpower=20,no_lru_crawler,slab_automove=2,slab_chunk_max=256 "
    "-o lru_crawler_sleep=7,hot_lru_pct=10,hot_max_factor=0.333,temporary_ttl=5,track_sizes "
    "-o idle_timeout=-9,watcher_logbuf_size=1,read_buf_mem_limit=5,ext_drop_unread"
)
OLDER = "-D xyz -vvv -o no_modern,ext_item_size=1,ext_wbuf_size=6,ext_max_frag=0.555"


@pytest.mark.slow
@pytest.mark.parametrize("line", ["", f"{FLAGS} {OPTIONS}", OLDER])
def test_memcached_shows_the_same(newest_oracle: Program, line: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    words = [*line.split(), "-s", str(tmp_path / "socket")]
    with Server(newest_oracle, words) as server:
        theirs = server.stats("settings")
    ours = settings_lines(cli.parse(words, "memcached", {}, lambda: 1000), {})
    wanted = [OWN_DEFAULTS.get(pair, pair) for pair in theirs.items()]
    assert ours == [(key, text) for key, text in wanted if not LEFT_OUT.match(key)]
