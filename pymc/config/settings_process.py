"""The table of settings, first part: process, listening, connections, commands and logging."""

from pymc.config.c_numbers import atoi, atoi_unsigned, octal, whole_unsigned
from pymc.config.errors import EXIT_USAGE
from pymc.config.readers import (
    KILOBYTE,
    MEGABYTE,
    Choice,
    Names,
    Number,
    read_first_char,
    read_listen,
    read_one_more,
)
from pymc.config.row import READ, Live, setting
from pymc.config.shared import SHARED, shared_as
from pymc.record import Record

INT_MAX = 2**31 - 1
PROTOCOLS = {"ascii": "ascii", "binary": "binary", "auto": "auto"}


def _shown_octal(mode: int) -> str:
    return f"{mode:o}"


def _shown_joined(texts: tuple[str, ...]) -> str:
    return ",".join(texts) or "NULL"


def _shown_protocol(protocol: str) -> str:
    return "auto-negotiate" if protocol == "auto" else protocol


def _delimiter_byte(delimiter: str, is_given: bool) -> int:
    return ord(delimiter[:1] or ":") & 0xFF


def _shown_count(count: int) -> str:
    return str(count) if count else "(null)"


class ProcessSettings(Record):
    """Who the server is, where it listens and what it lets clients do."""

    port: int = setting(
        11211,
        "TCP port to listen on; 0 is off, -1 lets the system choose",
        reader=Number(atoi),
        flag="p",
        long="port",
        argument="num",
        stats=("tcpport", 30),
    )
    udp_port: int = setting(
        0,
        "UDP port to listen on; without -p also the TCP port",
        reader=Number(atoi),
        flag="U",
        long="udp-port",
        argument="num",
        default_text="0, off",
        stats=("udpport", 40),
    )
    udp_unlimited: bool = setting(
        False,
        "pymc only: answers by UDP may be of any length, also to addresses that were not seen over"
        " TCP; never on a network that others reach",
        options={"udp_unlimited": True},
        default_text="",
        shared=SHARED,
    )
    unix_socket_path: str | None = setting(
        None,
        "UNIX socket to listen on; turns TCP and UDP off",
        flag="s",
        long="unix-socket",
        argument="file",
        stats=("domain_socket", 90),
    )
    unix_and_tcp: bool = setting(
        False,
        "pymc only: with -s, listen on TCP and UDP ports as well",
        options={"unix_and_tcp": True},
        default_text="",
    )
    unix_socket_mode: int = setting(
        0o700,
        "permissions of the UNIX socket, in octal",
        reader=Number(octal),
        flag="a",
        long="unix-mask",
        argument="mask",
        default_text="700",
        stats=("umask", 100),
        shown=_shown_octal,
    )
    shutdown_command: bool = setting(
        False,
        'obey the "shutdown" command',
        flag="A",
        flag_value=True,
        long="enable-shutdown",
        stats=("shutdown_command", 110),
    )
    listen: tuple[str, ...] = setting(
        (),
        "address to listen on: host, host:port, [v6]:port or *; several with commas or a repeated"
        " -l. Prefixes: notls: (no TLS here), mtls: (clients' certificates are required), btls:"
        " (none is asked for), proto[ascii]:, tag[name]:",
        reader=read_listen,
        flag="l",
        long="listen",
        argument="addr",
        default_text="all addresses",
        stats=("inter", 50),
        shown=_shown_joined,
    )
    daemon: bool = setting(False, "run in the background", flag="d", flag_value=True, long="daemon")
    core_dumps: bool = setting(
        False,
        "let a crash leave the largest core file allowed",
        flag="r",
        flag_value=True,
        long="enable-coredumps",
    )
    user: str | None = setting(
        None, "become this user; needed when root", flag="u", long="user", argument="user"
    )
    connections_max: int = setting(
        1024,
        "connections the whole server keeps at once",
        reader=Number(atoi, 1, INT_MAX, outside="Maximum connections must be greater than 0"),
        flag="c",
        long="conn-limit",
        argument="num",
        stats=("maxconns", 20),
        shared=SHARED,
    )
    verbosity: int = setting(
        0,
        "print errors and warnings; -vv also commands and replies, -vvv also inner states",
        reader=read_one_more,
        flag="v",
        long="verbose",
        stats=("verbosity", 60),
        shared=SHARED,
        live=Live("verbosity", (0, 2)),
    )
    pidfile_path: str | None = setting(
        None, "write the process id here; only with -d", flag="P", long="pidfile", argument="file"
    )
    stat_prefix_delimiter: str = setting(
        ":",
        "the character that ends a key's prefix in `stats detail`; giving it starts the counting",
        reader=read_first_char,
        flag="D",
        argument="char",
        also={"detail_enabled": True},
        stats=("stat_key_prefix", 160),
        shared=shared_as(_delimiter_byte, "prefix_delimiter"),
    )
    detail_enabled: bool = setting(
        False,
        "count commands by the prefix of their key, for `stats detail dump`",
        stats=("detail_enabled", 170),
        shared=SHARED,
        live=Live("stats detail"),
    )
    workers: int = setting(
        4,
        "worker processes",
        reader=Number(atoi, 1, INT_MAX, outside="Number of threads must be greater than 0"),
        flag="t",
        long="threads",
        argument="num",
        stats=("num_threads", 140),
    )
    requests_per_event: int = setting(
        20,
        "requests of one connection that are served before others get their turn; unless given,"
        " a turn ends after 32 KiB of input",
        reader=Number(
            atoi, 1, INT_MAX, outside="Number of requests per event must be greater than 0"
        ),
        flag="R",
        long="max-reqs-per-event",
        argument="num",
        stats=("reqs_per_event", 180),
        shared=shared_as(lambda requests, is_given: requests if is_given else 0),
    )
    listen_backlog: int = setting(
        1024,
        "connections that may wait to be accepted",
        reader=Number(atoi),
        flag="b",
        long="listen-backlog",
        argument="num",
        stats=("tcp_backlog", 200),
    )
    protocol: str = setting(
        "auto",
        "ascii, binary or auto",
        reader=Choice(
            PROTOCOLS,
            "Invalid value for binding protocol: {value}\n"
            " -- should be one of auto, binary, or ascii",
            EXIT_USAGE,
        ),
        flag="B",
        long="protocol",
        argument="name",
        stats=("binding_protocol", 210),
        shown=_shown_protocol,
    )
    sasl_enabled: bool = setting(
        False,
        "ask for SASL authentication",
        flag="S",
        flag_value=True,
        long="enable-sasl",
        stats=("auth_enabled_sasl", 220),
        shared=SHARED,
    )
    flush_enabled: bool = setting(
        True,
        "refuse flush_all",
        flag="F",
        flag_value=False,
        long="disable-flush-all",
        stats=("flush_enabled", 360),
        shared=SHARED,
    )
    dump_enabled: bool = setting(
        True,
        "refuse stats cachedump, stats detail and lru_crawler metadump",
        flag="X",
        flag_value=False,
        long="disable-dumping",
        stats=("dump_enabled", 370),
        shared=SHARED,
    )
    watch_enabled: bool = setting(
        True, "refuse watch", flag="W", flag_value=False, long="disable-watch"
    )
    disabled_commands: tuple[str, ...] = setting(
        (),
        "pymc only: commands that nobody may use, as flush_all,watch; suboptions behind them that"
        " have no value come before or in another -o",
        reader=Names("disabled_commands"),
        options={"disable_commands": READ},
        default_text="none",
    )
    auth_file_path: str | None = setting(
        None,
        "file of user:password lines; text clients have to log in",
        flag="Y",
        long="auth-file",
        argument="file",
        shared=shared_as(lambda path, is_given: int(path is not None), "auth_required"),
    )
    napi_ids_count: int = setting(
        0,
        "number of NAPI ids; accepted and not used",
        reader=Number(
            atoi, 1, INT_MAX, outside="Maximum number of NAPI IDs must be greater than 0"
        ),
        flag="N",
        long="napi-ids",
        argument="num",
        default_text="",
        stats=("num_napi_ids", 900),
        shown=_shown_count,
        idle="workers do not choose connections by the queue they came from",
    )
    maxconns_fast: bool = setting(
        True,
        "connections above the limit are answered with an error and closed; with no_ they wait",
        options={"maxconns_fast": True, "no_maxconns_fast": False},
        default_text="enabled",
        stats=("maxconns_fast", 250),
        shared=SHARED,
    )
    read_buffer_limit_bytes: int = setting(
        0,
        "megabytes that connections' buffers may take; 0 is no limit",
        unit="bytes",
        reader=Number(whole_unsigned, 0, 2**32 - 1, MEGABYTE),
        options={"read_buf_mem_limit": READ},
        stats=("read_buf_mem_limit", 500),
        shared=SHARED,
    )
    idle_timeout_seconds: int = setting(
        0,
        "seconds after which a silent client is closed; 0 or less is never",
        unit="seconds",
        reader=Number(atoi, missing="Missing numeric argument for {name}"),
        options={"idle_timeout": READ},
        stats=("idle_timeout", 470),
        shared=shared_as(lambda seconds, is_given: max(seconds, 0)),
    )
    log_format: str = setting(
        "plain",
        "pymc only: plain lines on standard error as memcached's, or full ones with time and"
        " process in front",
        reader=Choice(
            {"plain": "plain", "full": "full"}, "log_format must be plain or full, not {value}"
        ),
        options={"log_format": READ},
    )
    announce: bool = setting(
        False,
        "pymc only: say where the server listens and how to try it, once it does",
        options={"announce": True},
        default_text="",
    )
    value_timeout_seconds: int = setting(
        60,
        "pymc only: seconds after which a client that stops within a large value, or within a "
        "TLS record, is closed; 0 is never, and a tenth of it is enough while memory is short",
        unit="seconds",
        reader=Number(whole_unsigned, 0, 2**31 - 1),
        options={"value_timeout": READ},
        shared=SHARED,
    )
    watchdog_seconds: int = setting(
        5,
        "pymc only: seconds after which a process that does not go on is killed and replaced, more "
        "while the machine stalls; 0 is never, as a debugger wants it",
        unit="seconds",
        reader=Number(whole_unsigned, 0, 2**31 - 1),
        options={"watchdog": READ},
    )
    watcher_logbuf_bytes: int = setting(
        256 * KILOBYTE,
        "kilobytes of buffer for each watcher",
        unit="bytes",
        reader=Number(whole_unsigned, 0, 2**32 - 1, KILOBYTE),
        options={"watcher_logbuf_size": READ},
        stats=("watcher_logbuf_size", 480),
        shared=SHARED,
    )
    worker_logbuf_bytes: int = setting(
        64 * KILOBYTE,
        "kilobytes of log buffer in each worker",
        unit="bytes",
        reader=Number(whole_unsigned, 0, 2**32 - 1, KILOBYTE),
        options={"worker_logbuf_size": READ},
        stats=("worker_logbuf_size", 490),
    )
    socket_cookie_id: int = setting(
        0,
        "number that firewalls may tell this server's sockets by; accepted and not used",
        reader=Number(atoi_unsigned),
        options={"sock_cookie_id": READ},
        default_text="",
        idle="sockets are not marked for firewalls",
    )
    tcp_fastopen_queue: int = setting(
        0,
        "pymc only: connections that may wait in TCP Fast Open; 0 is off",
        reader=Number(whole_unsigned, 0, 65535, outside="tcp_fastopen must be at most 65535"),
        options={"tcp_fastopen": READ},
    )
    port_file_path: str | None = setting(
        None, "file that gets the ports listened on", env="MEMCACHED_PORT_FILENAME"
    )
    sasl_password_path: str | None = setting(
        None,
        "file of SASL users and passwords",
        env="MEMCACHED_SASL_PWDB",
    )
    sasl_config_path: str | None = setting(
        None,
        "folder of the SASL configuration",
        env="SASL_CONF_PATH",
        idle="the one mechanism, PLAIN, has nothing to configure",
    )
