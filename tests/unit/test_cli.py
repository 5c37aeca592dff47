"""The command line: what each way of writing an option makes of the settings; help and version."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pymc import VERSION, cli
from pymc.config import (
    ROWS,
    FlashPath,
    Listener,
    Settings,
    StartupAnswer,
    StartupError,
    Tls,
    features,
)
from tests.support.deadline import scaled
from tests.support.programs import Program

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1 << 20


def parsed(line: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings of a command line as a shell would split it, for a user who is not root."""
    return cli.parse(shlex.split(line), "pymc", environ or {}, lambda: 1000)


def answer(line: str, program: str = "memcached") -> StartupAnswer:
    """The text that the line asks for."""
    with pytest.raises(StartupAnswer) as caught:
        cli.parse(shlex.split(line), program, {}, lambda: 1000)
    assert caught.value.exit_code == 0
    return caught.value


FLAG_CASES: list[tuple[str, dict[str, Any]]] = [
    ("-p 5", {"port": 5}),
    ("-p junk", {"port": 0, "listeners": ()}),
    ("-p -1", {"port": -1, "listeners": (Listener(None, 0),)}),
    ("-s /x -a 0751", {"unix_socket_path": "/x", "unix_socket_mode": 0o751, "listeners": ()}),
    ("-s /x -p 5 -l 127.0.0.1", {"listeners": ()}),
    ("-s /x -p 5 -o unix_and_tcp", {"listeners": (Listener(None, 5),)}),
    ("-s /x -p 0 -o unix_and_tcp", {"listeners": ()}),
    ("-s /x -a 999", {"unix_socket_mode": 0}),
    ("-A -d -r -k -L", {"shutdown_command": True, "daemon": True, "core_dumps": True}),
    ("-k -L", {"lock_memory": True, "large_pages": True}),
    ("-u ' nobody'", {"user": "nobody"}),
    ("-m 100", {"memory_limit_bytes": 100 * MEGABYTE}),
    ("-m100", {"memory_limit_bytes": 100 * MEGABYTE}),
    ("'-m 100'", {"memory_limit_bytes": 100 * MEGABYTE}),
    ("--memory-limit=100", {"memory_limit_bytes": 100 * MEGABYTE}),
    ("--memory-limit 100", {"memory_limit_bytes": 100 * MEGABYTE}),
    ("--memory-l 100", {"memory_limit_bytes": 100 * MEGABYTE}),
    ("-m 100g", {"memory_limit_bytes": 100 * MEGABYTE}),
    ("-m 1 -m 100", {"memory_limit_bytes": 100 * MEGABYTE}),
    ("-M -C -F -X -W", {"evictions_enabled": False, "cas_enabled": False, "flush_enabled": False}),
    ("-FXW", {"flush_enabled": False, "dump_enabled": False, "watch_enabled": False}),
    ("-c 5 -R 7 -b -5 -t 2", {"connections_max": 5, "requests_per_event": 7, "workers": 2}),
    ("-b -5", {"listen_backlog": -5}),
    ("-v", {"verbosity": 1}),
    ("-vv -v --verbose", {"verbosity": 4}),
    ("-P /x", {"pidfile_path": "/x"}),
    ("-f 1.5 -n 33", {"slab_growth_factor": 1.5, "slab_min_bytes": 33}),
    ("-D xyz", {"stat_prefix_delimiter": "x", "detail_enabled": True}),
    ("-B ascii", {"protocol": "ascii"}),
    ("-B auto", {"protocol": "auto"}),
    ("-Y /x", {"auth_file_path": "/x", "protocol": "ascii"}),
    ("-I 2m", {"item_bytes_max": 2 * MEGABYTE, "slab_chunk_max_bytes": MEGABYTE // 2}),
    ("'-I 512k'", {"item_bytes_max": MEGABYTE // 2}),
    ("-N 2", {"napi_ids_count": 2}),
    ("-l a -l b:5,c -l a", {"listen": ("a", "b:5,c")}),
    ("-l '*' -p 7", {"listeners": (Listener(None, 7),)}),
    ("-l a -p 0", {"listeners": ()}),
    ("one -p 5 two", {"port": 5}),
    ("-p 5 -- -p 6", {"port": 5}),
]
OPTION_CASES: list[tuple[str, dict[str, Any]]] = [
    ("-o ''", {}),
    ("-o no_maxconns_fast", {"maxconns_fast": False}),
    ("-o no_maxconns_fast,maxconns_fast", {"maxconns_fast": True}),
    ("-o disable_commands=flush_all,watch", {"disabled_commands": ("flush_all", "watch")}),
    ("-o disable_commands=get,lru_crawler,get", {"disabled_commands": ("get", "lru_crawler")}),
    (
        "-o disable_commands=get,idle_timeout=3,lru_crawler -o disable_commands=set",
        {"disabled_commands": ("get", "set"), "idle_timeout_seconds": 3},
    ),
    ("-o hashpower=20 -o tail_repair_time=10,", {"hash_power_start": 20}),
    ("-o ' tail_repair_time=77'", {"tail_repair_time_seconds": 77}),
    ("-o hash_algorithm=xxh3", {"hash_algorithm": "xxh3"}),
    ("-o no_lru_crawler", {"lru_crawler": False}),
    ("-o lru_crawler_sleep=7,lru_crawler_tocrawl=9", {"lru_crawler_sleep_us": 7}),
    ("-o read_buf_mem_limit=5", {"read_buffer_limit_bytes": 5 * MEGABYTE}),
    ("-o no_lru_maintainer", {"lru_maintainer": False, "lru_segmented": False}),
    ("-o no_lru_maintainer,lru_maintainer", {"lru_maintainer": True, "lru_segmented": True}),
    ("-o hot_lru_pct=79,warm_lru_pct=1", {"hot_lru_percent": 79, "warm_lru_percent": 1}),
    ("-o hot_max_factor=0.3x", {"hot_max_factor": 0.3}),
    ("-o temporary_ttl=-5", {"temporary_ttl_seconds": 2**32 - 5, "temp_lru": True}),
    ("-o idle_timeout=-9", {"idle_timeout_seconds": -9}),
    ("-o watcher_logbuf_size=1", {"watcher_logbuf_bytes": 1024}),
    ("-o worker_logbuf_size=8", {"worker_logbuf_bytes": 8192, "slab_sizes": ()}),
    ("-o track_sizes,no_hashexpand", {"track_sizes": True, "hash_expand": False}),
    ("-o slab_automove", {"slab_automove": 1}),
    ("-o slab_automove=2", {"slab_automove": 2}),
    ("-o no_slab_automove,no_slab_reassign", {"slab_automove": 0, "slab_reassign": False}),
    ("-o slab_automove_window=-1", {"slab_automove_window_seconds": 2**32 - 1}),
    ("-o slab_sizes=100-200--300-", {"slab_sizes": (100, 200, 300)}),
    ("-o slab_sizes=100 -o slab_sizes=200", {"slab_sizes": (200,)}),
    ("-o slab_chunk_max=256", {"slab_chunk_max_bytes": 256 << 10}),
    ("-o slab_chunk_max=256 -I 2m", {"slab_chunk_max_bytes": 256 << 10}),
    ("-o no_chunked_items", {"slab_chunk_max_bytes": MEGABYTE}),
    ("-o no_chunked_items -I 2m", {"slab_chunk_max_bytes": MEGABYTE // 2}),
    ("-o no_modern", {"slab_chunk_max_bytes": MEGABYTE, "lru_segmented": False}),
    ("-o slab_chunk_max=512,no_modern", {"slab_chunk_max_bytes": MEGABYTE // 2}),
    ("-o no_modern,lru_crawler", {"lru_crawler": True, "hash_algorithm": "jenkins"}),
    ("-o modern=3,inline_ascii_resp,no_drop_privileges,relaxed_privileges", {}),
    ("-o sock_cookie_id=junk", {"socket_cookie_id": 0}),
    ("-o tcp_fastopen=256", {"tcp_fastopen_queue": 256}),
    ("-o ext_item_age=2,ext_max_frag=0.5", {"ext_item_age_seconds": 2, "ext_max_frag": 0.5}),
    ("-o ext_wbuf_size=8,ext_drop_unread", {"ext_wbuf_bytes": 8 * MEGABYTE}),
    ("-o ssl_key=/x,ssl_min_version=3", {"tls_key_path": "/x", "tls_version_min": 3}),
]


@pytest.mark.parametrize(("line", "expected"), FLAG_CASES + OPTION_CASES)
def test_settings(line: str, expected: dict[str, Any]) -> None:
    settings = parsed(line)
    assert {name: getattr(settings, name) for name in expected} == expected


def test_nothing_given_is_the_defaults() -> None:
    settings = parsed("")
    assert settings == Settings(listeners=(Listener(None, 11211),))
    assert settings.program == "pymc"


def test_what_was_given_is_known() -> None:
    settings = parsed("-f 1.25 -o no_lru_crawler,no_modern")
    assert settings.given == {"slab_growth_factor", "lru_crawler"}


def test_warnings_do_not_stop() -> None:
    settings = parsed("-t 65 -o resp_obj_mem_limit=3")
    assert [line.split()[0] for line in settings.warnings] == ["WARNING:", "DEPRECATED:"]


def test_environment() -> None:
    settings = parsed("", {"MEMCACHED_PORT_FILENAME": "/x", "MEMCACHED_HASH_BULK_MOVE": "4"})
    assert settings.port_file_path == "/x"
    assert settings.hash_bulk_move == 4
    assert parsed("one -p 5", {"POSIXLY_CORRECT": ""}).port == 11211


def test_features_are_there_once_their_row_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pymc.config.features", "pymc.config.checks"):
        monkeypatch.setattr(f"{module}.FEATURES_NOT_BUILT", ())
    assert parsed("-U 5").port == 5
    assert parsed("-U 5 -p 7").port == 7
    assert parsed("-U 5 -p 7").udp_listeners == (Listener(None, 5),)
    assert parsed("-U -1 -l a,b:9").udp_listeners == (Listener("a", 0), Listener("b", 9))
    assert parsed("-U 5 -p 0 -l a").listeners == ()
    assert parsed("-U 5 -s /x").udp_listeners == ()
    assert parsed("-U 5 -s /x -o unix_and_tcp").udp_listeners == (Listener(None, 5),)
    assert parsed("-p 5").udp_listeners == ()
    assert parsed("-S", {"MEMCACHED_SASL_PWDB": "/x"}).protocol == "binary"
    assert parsed("-S -Y /x").protocol == "auto"
    assert [one.protocol for one in parsed("-S -Y /x -l a,proto[binary]:b").listeners] == [
        "auto",
        "binary",
    ]
    assert parsed("-Z -l a,notls:b").listeners == (
        Listener("a", 11211, Tls.SERVER),
        Listener("b", 11211, Tls.NONE),
    )
    settings = parsed("-o ext_path=/x:64g:compact,ext_path=/y:64000m,ext_drop_under=3")
    assert settings.ext_paths == (
        FlashPath("/x", 64 << 30, 1024, "compact"),
        FlashPath("/y", 64000 << 20, 1000, "default"),
    )
    assert (settings.ext_compact_under_pages, settings.ext_drop_under_pages) == (10, 3)
    for line, message in [
        ("-S -B ascii", "You cannot allow the ASCII protocol"),
        ("-S -U 1", "Cannot enable UDP while using binary SASL"),
        ("-Z -p 0", "You cannot enable SSL without a TCP port"),
        ("-o ext_page_size=8,ext_wbuf_size=6,ext_path=/x:1g", "divisible by wbuf_size"),
        ("-o ext_page_size=3,ext_wbuf_size=3,ext_path=/x:1g", "divisible by 1024"),
        ("-o ext_page_size=2,ext_wbuf_size=2,ext_path=/x:200g", "must total to < 65536"),
    ]:
        with pytest.raises(StartupError, match=message):
            parsed(line)


def test_each_missing_feature_names_a_setting() -> None:
    for feature in features.FEATURES_NOT_BUILT:
        assert getattr(Settings(), feature.setting) in feature.allowed


@pytest.mark.parametrize(
    "line", ["-V", "-vV", "--version", "--vers", "foo -V -q", "-m64x -V", "-V=3"]
)
def test_version_is_one_line(line: str) -> None:
    assert answer(line).output == f"memcached {VERSION}\n"
    assert answer(line, "pymc").output == f"pymc {VERSION}\n"


def test_version_says_its_release() -> None:
    assert re.fullmatch(r"1\.6\.38\S*", VERSION)


@pytest.mark.parametrize("line", ["-h", "-vvh", "-hq", "--he", "-p 5 -h -q"])
def test_help_comes_before_later_mistakes(line: str) -> None:
    assert answer(line).output.startswith(f"memcached {VERSION}\n-p, --port=<num> ")


def test_answers_carry_earlier_warnings() -> None:
    assert answer("-t 65 -V").error_text.startswith("WARNING: Setting a high number")


def test_help_names_everything_in_the_table() -> None:
    lines = answer("-h").output.splitlines()
    for row in ROWS.values():
        if row.flag:
            start = f"-{row.flag}, --{row.long}" if row.long else f"-{row.flag} <"
            assert [line for line in lines if line.startswith(start)], start
        for option in row.options:
            shown = option.removeprefix("no_")
            found = [line for line in lines if re.match(rf"   - (no_)?{shown}: ", line)]
            assert found, option
    assert [line for line in lines if line.startswith("certs dev <dir>")]
    assert all(len(line) <= 110 for line in lines)


def test_help_is_honest() -> None:
    for start in ("-e,",):
        _, _, entry = answer("-h").output.partition(f"\n{start}")
        words = re.split(r"\n(?: {3})?-", entry)[0].split()
        assert words[-3:] == ["[not", "built", "yet]"], start


def test_help_has_what_memcached_has(oracle: Program) -> None:
    shown = subprocess.run([oracle.path, "-h"], capture_output=True, text=True, check=True).stdout
    ours = answer("-h").output
    for pattern in (r"^(-\w), --[a-z-]+", r"^-\w, (--[a-z-]+)", r"^   - (\w+):"):
        missing = set(re.findall(pattern, shown, re.M)) - set(re.findall(pattern, ours, re.M))
        assert {name for name in missing if not name.startswith("proxy")} <= {"--napi"}


def test_licence() -> None:
    assert answer("-i").output.startswith(f"memcached {VERSION}\n\npymc is a work of its own.")


def run(words: list[str], **keywords: Any) -> "subprocess.CompletedProcess[str]":
    """Runs a program from the repository's root."""
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=environ, timeout=scaled(60), **keywords
    )


@pytest.mark.parametrize(
    ("words", "exit_code", "output", "error"),
    [
        (["-V"], 0, f"pymc {VERSION}\n", ""),
        (
            ["-t", "0"],
            1,
            "",
            "Number of threads must be greater than 0\nhint: threads takes 1 or more, not 0\n",
        ),
        (["-p", "70000"], 64, "", "ERROR: Invalid port number 70000.\n"),
        (["-q"], 1, "", "pymc: invalid option -- 'q'\nIllegal argument \"?\"\n"),
    ],
)
def test_program(words: list[str], exit_code: int, output: str, error: str) -> None:
    done = run([sys.executable, "-m", "pymc", *words])
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, output, error)


def test_program_called_memcached(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/memcached", "-V"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"memcached {VERSION}\n"


def test_reading_options_loads_no_c() -> None:
    code = "import sys, pymc.cli; print([m for m in sys.modules if m.startswith('pymc.core')])"
    assert run([sys.executable, "-c", code], check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("-m 10g", "WARNING: -m 10g: understood as 10 MiB"),
        ("-m abc", "WARNING: -m abc: understood as 0 bytes"),
        ("-p abc", "WARNING: -p abc: understood as 0"),
        ("--port=5x", "WARNING: -p 5x: understood as 5"),
        ("-a 999", "WARNING: -a 999: understood as 0"),
        ("-a 0758", "WARNING: -a 0758: understood as 75"),
        ("-f 1.5x", "WARNING: -f 1.5x: understood as 1.5"),
        ("-I 2048b", "WARNING: -I 2048b: understood as 2 KiB"),
        ("-o idle_timeout=5m", "WARNING: -o idle_timeout=5m: understood as 5 seconds"),
        ("-o slab_automove=1,hashpower=20z", "WARNING: -o hashpower=20z: understood as 20"),
        ("-c 4294967300", "WARNING: -c 4294967300: understood as 4"),
        ("one -m 64 two", "WARNING: no option, passed over: one two"),
        ("-m 64 -- -p 6", "WARNING: no option, passed over: -p 6"),
    ],
)
def test_what_is_understood_otherwise_is_said(line: str, warning: str) -> None:
    try:
        warnings = parsed(line).warnings
    except StartupError as error:
        warnings = error.warnings
    assert warnings == (warning,)


@pytest.mark.parametrize(
    "line",
    [
        "-m ' 64'",
        "-m auto -I 8m",
        "-p 5 -a 0700 -b -5 -c 10 -f 1.25 -I 2M -n 48",
        "-o hot_max_factor=.5",
    ],
)
def test_what_is_understood_is_not_remarked_on(line: str) -> None:
    assert parsed(line).warnings == ()


def test_what_stands_behind_an_operand_may_be_no_option() -> None:
    warnings = parsed("-p 5 one -p 6", {"POSIXLY_CORRECT": ""}).warnings
    assert warnings == ("WARNING: no option, passed over: one -p 6",)
