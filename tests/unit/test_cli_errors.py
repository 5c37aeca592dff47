"""Wrong command lines: message and exit code, compared with the newest memcached where it is here.

Each case is a message with the lines that bring it up, as a shell would split them. Lines that
memcached gets as far as binding a port with do not belong here.
"""

import os
import re
import shlex
import subprocess

import pytest

from pymc.cli import parse
from pymc.config import StartupStop
from tests.support.deadline import scaled
from tests.support.programs import Program

LIMIT_SECONDS = scaled(20)


def words(text: str) -> list[str]:
    """The names in a text."""
    return text.split()


ILLEGAL = '\nIllegal argument "?"'
NEEDS = "memcached: option requires an argument -- "
CHOOSE = '\nChoose a value based on "STAT hash_power_level" from a running instance'
MANY = (
    "WARNING: Setting a high number of workerthreads is not recommended.\n"
    " Set this value to the number of cores in your machine or less.\n"
)
LISTEN = "\nfailed to listen on one of interface(s) "
FACTOR = "Factor must be greater than 1"
SIZE = "\nfailed to parse ext_path argument"
NO_SIZE = "must supply size to ext_path, ie: ext_path=/f/e:64m (M|G|T|P supported)" + SIZE
MISSING = words(
    """hash_algorithm hot_lru_pct warm_lru_pct hot_max_factor warm_max_factor temporary_ttl
    slab_chunk_max slab_automove_ratio slab_automove_window slab_automove_freeratio
    watcher_logbuf_size worker_logbuf_size read_buf_mem_limit ext_page_size ext_wbuf_size
    ext_threads ext_io_depth ext_item_size ext_item_age ext_low_ttl ext_recache_rate
    ext_compact_under ext_drop_under ext_max_sleep ext_max_frag ssl_chain_cert ssl_key
    ssl_verify_mode ssl_keyformat ssl_ciphers ssl_ca_cert ssl_wbuf_size ssl_min_version"""
)
STRICT = words(
    """slab_chunk_max slab_automove_freeratio watcher_logbuf_size worker_logbuf_size
    read_buf_mem_limit ext_page_size ext_wbuf_size ext_threads ext_io_depth ext_item_size
    ext_item_age ext_low_ttl ext_recache_rate ext_compact_under ext_drop_under ext_max_sleep
    ext_max_frag ssl_verify_mode ssl_keyformat ssl_wbuf_size ssl_min_version"""
)


def ambiguous(text: str, *names: str) -> str:
    """getopt's complaint about an abbreviation."""
    listed = " ".join(f"'--{name}'" for name in names)
    return f"memcached: option '--{text}' is ambiguous; possibilities: {listed}{ILLEGAL}"


CASES: list[tuple[int, str, list[str]]] = [
    # Flags.
    (1, "Number of threads must be greater than 0", ["-t 0", "-t junk", "-t 0x10", "-t ''"]),
    (1, MANY + FACTOR, ["-t 65 -f 1", "-t 99999999999 -f 1"]),
    (1, FACTOR, ["-f 1", "-f 1.0", "-f junk", "-f 1,5", "-f -2", "-f ' 1'", "-t ' 4' -f 1"]),
    (1, FACTOR, ["-p junk -f 1", "-p -2 -f 1", "-b 0 -f 1", "-b junk -f 1", "-D ab -f 1"]),
    (1, FACTOR, ["foo -f 1", "-N 5 -t 6 -f 1", "-U 0 -f 1", "-a 999 -f 1", "--verb=3 -f 1"]),
    (1, "Maximum connections must be greater than 0", ["-c 0", "-c junk", "-c -1"]),
    (1, "Number of requests per event must be greater than 0", ["-R 0", "-R junk", "-R -1"]),
    (1, "Number of requests per event must be greater than 0", ["-R 999999999999"]),
    (1, "Chunk size must be greater than 0", ["-n 0", "-n junk", "-n -1"]),
    (1, "Maximum number of NAPI IDs must be greater than 0", ["-N 0", "-N junk", "-N -1"]),
    (1, "No delimiter specified", ["-D ''", "-D ' '", "-D '' -V"]),
    (
        64,
        "Invalid value for binding protocol: foo\n -- should be one of auto, binary, or ascii",
        ["-B foo", "-B ' foo'", "-d -B foo"],
    ),
    (64, "Number of napi_ids(5) cannot be greater than number of threads(4)", ["-N 5 -I 1"]),
    (64, "ERROR: Invalid port number 70000.", ["-p 70000", "-U 70000", "-p 70000 -s /x"]),
    (
        64,
        "ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.",
        ["-Y /x -B binary", "-Y /x -B auto", "-p 70000 -Y /x -B auto"],
    ),
    # Item sizes.
    (64, "Item max size cannot be less than 1024 bytes.", ["-I 1", "-I 1023", "-I 2g", "-I junk"]),
    (64, "Item max size cannot be less than 1024 bytes.", ["-I '2k '", "-I 2kb", "-I ''", "-I k"]),
    (
        64,
        "Item max size cannot be less than 1024 bytes.",
        ["-I 2147483648", "-o slab_sizes=1 -I 1"],
    ),
    (64, "Cannot set item size limit higher than 1/2 of memory max.", ["-I 40m", "-I 1025m"]),
    (64, "Cannot set item size limit higher than 1/2 of memory max.", ["-I 33m -m 64", "-m 0"]),
    (64, "Cannot set item size limit higher than 1/2 of memory max.", ["-m junk", "-m 1", "-m -V"]),
    (64, "Cannot set item size limit higher than a gigabyte.", ["-I 1073741825 -m 8000"]),
    (64, "Cannot set item size limit higher than a gigabyte.", ["-I 1025m -m 8000"]),
    (
        64,
        "slab_chunk_max (bytes: 524288) cannot be larger than -I (item_size_max 2048)",
        ["-I 2048", "-I 2k", "-I 2K", "-I ' 2k'", "--max-item-size=2k"],
    ),
    (
        64,
        "-I (item_size_max: 1024000) must be evenly divisible by slab_chunk_max (bytes: 524288)",
        ["-I 1000k", "-I 1024000"],
    ),
    (
        64,
        "slab_chunk_max (bytes: 256000) must divide evenly into 1048576 (slab_page_size)",
        ["-I 1024000 -o slab_chunk_max=250"],
    ),
    (1, "slab_chunk_max must be >= 0", ["-o slab_chunk_max=0", "-o slab_chunk_max=-1"]),
    (1, "slab_chunk_max must be specified in kilobytes.", ["-o slab_chunk_max=1025"]),
    (64, "slab size 0 is out of valid range", ["-o slab_sizes=a-b", "-o slab_sizes=100x-200"]),
    (64, "slab size 500 is out of valid range", ["-n 600 -o slab_sizes=500"]),
    (64, "slab size 500 is out of valid range", ["-o slab_sizes=500 -n 600"]),
    (64, "slab size 524289 is out of valid range", ["-o slab_sizes=524289"]),
    (
        64,
        "slab size 50 cannot be lower than or equal to a previous class size",
        ["-o slab_sizes=100-50", "-o slab_sizes=60-50"],
    ),
    (
        64,
        "slab size 108 must be at least 8 bytes larger than previous class",
        ["-o slab_sizes=100-108", "-o slab_sizes=100,slab_sizes=104-108"],
    ),
    # Suboptions.
    (1, 'Illegal suboption "foo"', ["-o foo", "-o foo,bar", "--extended=foo", "-o modern,foo"]),
    (1, 'Illegal suboption "foo=1"', ["-o foo=1", "-o ' foo=1'"]),
    (1, 'Illegal suboption ""', ["-o ,", "-o ,,", "-o ,modern", "-o modern,,modern"]),
    (1, 'Illegal suboption " modern"', ["-o 'modern, modern'"]),
    (1, 'Illegal suboption "Modern"', ["-o Modern"]),
    (1, 'Illegal suboption "200"', ["-o slab_sizes=100,200"]),
    (1, "Missing numeric argument for hashpower", ["-o hashpower"]),
    (1, "Initial hashtable multiplier of 0 is too low", ["-o hashpower=", "-o hashpower=junk"]),
    (1, "Initial hashtable multiplier of 11 is too low", ["-o hashpower=11"]),
    (1, "Initial hashtable multiplier of 33 is too high" + CHOOSE, ["-o hashpower=33"]),
    (1, "Missing numeric argument for tail_repair_time", ["-o tail_repair_time"]),
    (
        1,
        "Cannot set tail_repair_time to less than 10 seconds",
        ["-o tail_repair_time=9", "-o tail_repair_time=junk", "-o tail_repair_time="],
    ),
    (1, "Missing numeric argument for idle_timeout", ["-o idle_timeout"]),
    (
        1,
        "Unknown hash_algorithm option (jenkins, murmur3, xxh3)",
        ["-o hash_algorithm=foo", "-o hash_algorithm=", "-o hash_algorithm=jenkins2"],
    ),
    (1, "Missing lru_crawler_sleep value", ["-o lru_crawler_sleep"]),
    (
        1,
        "LRU crawler sleep must be between 0 and 1 second",
        ["-o lru_crawler_sleep=-1", "-o lru_crawler_sleep=1000001"],
    ),
    (1, "Missing lru_crawler_tocrawl value", ["-o lru_crawler_tocrawl"]),
    (
        1,
        "lru_crawler_tocrawl takes a numeric 32bit value",
        ["-o lru_crawler_tocrawl=12x", "-o lru_crawler_tocrawl=-1", "-o lru_crawler_tocrawl="],
    ),
    (1, "hot_lru_pct must be > 1 and < 80", ["-o hot_lru_pct=0", "-o hot_lru_pct=80,foo"]),
    (1, "warm_lru_pct must be > 1 and < 80", ["-o warm_lru_pct=junk", "-o warm_lru_pct=81"]),
    (1, "hot_max_factor must be > 0", ["-o hot_max_factor=0", "-o hot_max_factor=junk"]),
    (1, "warm_max_factor must be > 0", ["-o warm_max_factor=-0.1"]),
    (
        64,
        "hot_lru_pct + warm_lru_pct cannot be more than 80% combined",
        ["-o hot_lru_pct=41", "-o hot_lru_pct=79,no_lru_maintainer,temporary_ttl=4"],
    ),
    (
        64,
        "temporary_ttl requires lru_maintainer to be enabled",
        ["-o no_lru_maintainer,temporary_ttl=5", "-o temporary_ttl=5 -o no_modern"],
    ),
    (1, "slab_automove must be between 0 and 2", ["-o slab_automove=3", "-o slab_automove=-1"]),
    (
        1,
        "slab_automove_ratio must be > 0 and < 1",
        ["-o slab_automove_ratio=0", "-o slab_automove_ratio=1.01"],
    ),
    (1, "slab_automove_window must be > 2", ["-o slab_automove_window=2"]),
    *[(1, f"Missing {name} argument", [f"-o {name}"]) for name in MISSING],
    *[
        (1, f"could not parse argument to {name}", [f"-o {name}=", f"-o {name}=x"])
        for name in STRICT
    ],
    (
        1,
        "DEPRECATED: resp_obj_mem_limit no longer used. See read_buf_mem_limit,\n" + FACTOR,
        ["-o resp_obj_mem_limit=5 -f 1", "-o resp_obj_mem_limit -f 1"],
    ),
    # Flash and TLS.
    (1, "missing argument to ext_path, ie: ext_path=/d/file:5G", ["-o ext_path"]),
    (1, "failed to parse ext_path argument", ["-o ext_path=", "-o ext_path=::"]),
    (1, NO_SIZE, ["-o ext_path=/x", "-o ext_path=/x:1", "-o ext_path=/x:1GB", "-o ext_path=:64m"]),
    (
        1,
        "supplied ext_path has zero size, cannot use" + SIZE,
        ["-o ext_path=/x:0m", "-o ext_path=/x:63m", "-o ext_path=/x:junkm", "-o ext_path=/x::t"],
    ),
    (1, "Unknown extstore bucket: foo" + SIZE, ["-o ext_path=/x:64m:foo"]),
    (
        1,
        "Must specify ext_page_size before any ext_path arguments",
        ["-o ext_path=/x:64m,ext_page_size=64", "-o ext_path=/x:64m -o ext_page_size=2"],
    ),
    (
        64,
        "-I (item_size_max: 8388608) cannot be larger than ext_wbuf_size: 4194304",
        ["-o ext_path=/x:64m -I 8m"],
    ),
    (
        64,
        "Cannot use UDP with extstore enabled (-U 0 to disable)",
        ["-o ext_path=/x:64m -U 5"],
    ),
    (
        1,
        "Invalid ssl_verify_mode. Use help to see valid options.",
        ["-o ssl_verify_mode=4", "-o ssl_verify_mode=-1"],
    ),
    (1, "Invalid ssl_min_version. Use help to see valid options.", ["-o ssl_min_version=4"]),
    # getopt.
    (1, "memcached: invalid option -- 'q'" + ILLEGAL, ["-q", "-vq", "-q -V", "foo -q", "-q -h"]),
    (1, "memcached: unrecognized option '--foo'" + ILLEGAL, ["--foo"]),
    (1, "memcached: unrecognized option '--napi_ids=1'" + ILLEGAL, ["--napi_ids=1"]),
    (1, NEEDS + "'o'" + ILLEGAL, ["-o", "-vo"]),
    (1, NEEDS + "'N'" + ILLEGAL, ["-N"]),
    (1, "memcached: option '--port' requires an argument" + ILLEGAL, ["--po", "--port"]),
    (1, "memcached: option '--auth-file' requires an argument" + ILLEGAL, ["--auth"]),
    (1, "memcached: option '--enable-ssl' doesn't allow an argument" + ILLEGAL, ["--enable-ssl=3"]),
    (1, ambiguous("p=3", "port", "pidfile", "protocol"), ["--p=3"]),
    (1, ambiguous("v", "version", "verbose"), ["--v"]),
    (1, ambiguous("li", "license", "listen", "listen-backlog"), ["--li"]),
    (1, ambiguous("u", "unix-mask", "unix-socket", "udp-port", "user"), ["--u"]),
    (1, ambiguous("l", "lock-memory", "license", "listen", "listen-backlog"), ["--l"]),
    (
        1,
        ambiguous("m", "memory-limit", "max-reqs-per-event", "max-item-size", "memory-file"),
        ["--m"],
    ),
]

# These depend on being root, or on having a user to become.
ROOT_CASES: list[tuple[int, str, list[str]]] = [
    (
        64,
        "Cannot use UDP with ascii authentication enabled (-U 0 to disable)",
        ["-u root -Y /x -U 1", "-u root -B ascii -U 1 -Y /x"],
    ),
    (64, "must add '-u root' to start as root", ["-p 0", "-u ''", "foo", "-- -V", "-o ''"]),
    (64, "must add '-u root' to start as root", ["-o lru_crawler_sleep=junk"]),
    (67, "can't find the user nosuchuser to switch to", ["-u nosuchuser", "-u ' nosuchuser'"]),
    (67, "can't find the user 0 to switch to", ["-u 0"]),
    (
        71,
        'Invalid port number: "junk"' + LISTEN + "127.0.0.1:junk: Success",
        ["-u root -l 127.0.0.1:junk"],
    ),
    (71, 'Invalid port number: ""' + LISTEN + "[::1]:: Success", ["-u root -l '[::1]:'"]),
    (
        71,
        "'notls' option is valid only when SSL is enabled" + LISTEN + "notls:a,b: Success",
        ["-u root -l notls:a -l b"],
    ),
    (
        71,
        'Proxy must be enabled to use: "proto[proxy"' + LISTEN + "proto[proxy]:a: Success",
        ["-u root -l 'proto[proxy]:a'"],
    ),
    (
        71,
        "getaddrinfo(): Servname not supported for ai_socktype\n"
        "failed to listen on TCP port -5: Success",
        ["-u root -p -5"],
    ),
]

# Where pymc says no on purpose and memcached starts, crashes or says less.
OWN_CASES: list[tuple[int, str, list[str]]] = [
    (1, "could not parse argument to ssl_keyformat", ["-o ssl_keyformat=ENGINE"]),
    (1, "ssl_handshake_timeout is out of range", ["-o ssl_handshake_timeout=0"]),
    (1, "ssl_ticket_seconds is out of range", ["-o ssl_ticket_seconds=0"]),
    (1, "Missing ssl_allowed_ids argument", ["-o ssl_allowed_ids"]),
    (
        64,
        "ERROR: ssl_allowed_ids needs ssl_verify_mode=2, or -l with mtls:",
        ["-u nobody -Z -o ssl_allowed_ids=/x", "-u nobody -Z -o ssl_allowed_ids=/x -l btls:a"],
    ),
    (
        64,
        "ERROR: SASL needs users: name a file of user:password lines with MEMCACHED_SASL_PWDB or"
        " -Y.",
        ["-S", "-S -B binary", "--enable-sasl"],
    ),
    (64, "This server is not built with restartable memory (-e).", ["-e /x", "--memory-file=/x"]),
    (1, "ext_admit must be all, fetched or 1 to 99 percent", ["-o ext_admit=x", "-o ext_admit="]),
    (1, "Missing ext_rescue argument", ["-o ext_rescue"]),
    (1, "ext_engine must be auto, io_uring or threads", ["-o ext_engine=aio"]),
    (1, "ext_io_depth is out of range", ["-o ext_io_depth=0", "-o ext_io_depth=4097"]),
    (1, "ext_threads is out of range", ["-o ext_threads=0", "-o ext_threads=65"]),
    (1, "ext_read_timeout is out of range", ["-o ext_read_timeout=0"]),
    (64, "Memory limit must be between 0 and 16777216 megabytes.", ["-m -1", "-m 16777217"]),
    (1, MANY + FACTOR, ["-t 251 -f 1"]),
    (64, MANY + "Number of threads must be at most 250", ["-t 251"]),
    (1, FACTOR, ["-f nan", "-f inf"]),
    (1, "Missing slab_sizes argument", ["-o slab_sizes"]),
    (1, "Missing sock_cookie_id argument", ["-o sock_cookie_id"]),
    (64, "slab_sizes needs at least one size", ["-o slab_sizes="]),
    (1, "tcp_fastopen must be at most 65535", ["-o tcp_fastopen=65536"]),
    (1, 'Illegal suboption "proxy_config=/x"', ["-o proxy_config=/x"]),
    (1, "Missing disable_commands argument", ["-o disable_commands", "-o disable_commands="]),
    # memcached starts, and whoever speaks the other protocol on that port needs no password.
    (
        64,
        "ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.",
        ["-u nobody -Y /x -l proto[negotiating]:a", "-u nobody -Y /x -l a,proto[negotiating]:b:5"],
    ),
]


def check(line: str, exit_code: int, message: str) -> None:
    """Compares what parse() says, as root on a system with the users root and nobody."""
    users = {"root": 0, "nobody": 1}
    with pytest.raises(StartupStop) as caught:
        parse(shlex.split(line), "memcached", {}, lambda: 0, users.__getitem__)
    # What was understood otherwise than meant is said first; memcached does not say it.
    own = re.compile(r"WARNING: (.*: understood as .*|no option, passed over: .*)|hint: .*")
    said = [each for each in caught.value.error_text.splitlines() if not own.fullmatch(each)]
    assert (caught.value.exit_code, said) == (exit_code, message.splitlines()), line


@pytest.mark.parametrize(("exit_code", "message", "lines"), CASES + ROOT_CASES + OWN_CASES)
def test_message_and_exit_code(exit_code: int, message: str, lines: list[str]) -> None:
    for line in lines:
        check(line, exit_code, message)


def check_oracle(oracle: Program, cases: list[tuple[int, str, list[str]]]) -> None:
    """Runs the newest memcached with each line of the cases."""
    different = []
    for exit_code, message, lines in cases:
        for line in lines:
            command = [oracle.path, *shlex.split(line)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
            )
            # The loader that starts it may be named with its folder.
            error = re.sub(r"^\S*memcached: ", "memcached: ", done.stderr, flags=re.M)
            if (done.returncode, error) != (exit_code, message + "\n"):
                different.append((line, done.returncode, error))
    assert not different


# Split in parts so that no test takes long.
@pytest.mark.parametrize("part", range(8))
def test_memcached_says_the_same(newest_oracle: Program, part: int) -> None:
    check_oracle(newest_oracle, CASES[part::8])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused this: memcached would start")
def test_memcached_says_the_same_to_root(newest_oracle: Program) -> None:
    check_oracle(newest_oracle, ROOT_CASES)


def no_users(name: str) -> object:
    raise KeyError(name)


@pytest.mark.parametrize("line", ["-p 0", "-u nosuchuser"])
def test_only_root_needs_a_user(line: str) -> None:
    settings = parse(shlex.split(line), "memcached", {}, lambda: 1000, no_users)
    assert settings.user == ("nosuchuser" if "-u" in line else None)
