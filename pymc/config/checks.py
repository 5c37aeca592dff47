"""What settings have to do with each other: the checks that follow the command line.

They come in memcached's order, so that of several mistakes the same one is named.
"""

from collections.abc import Callable

from pymc.config.errors import (
    EXIT_NO_USER,
    EXIT_OS_ERROR,
    EXIT_USAGE,
    StartupError,
)
from pymc.config.features import FEATURES_NOT_BUILT, refuse
from pymc.config.listeners import PORT_MAX, Listener, Tls, parse_listeners
from pymc.config.readers import KILOBYTE, MEGABYTE, MEMORY_AUTO
from pymc.config.settings import Settings
from pymc.config.settings_memory import QUEUES_PERCENT_MAX, SLAB_PAGE_BYTES
from pymc.record import replace

ITEM_SIZE_MIN_BYTES = KILOBYTE
ITEM_SIZE_LIMIT_BYTES = 1024 * MEGABYTE
# pymc's own bounds: what its shared memory can address, and what fits its tables.
MEMORY_LIMIT_MAX_BYTES = 2**44
WORKERS_MAX = 250
SLAB_SIZES_MAX = 254
SLAB_ALIGN_BYTES = 8
FLASH_UNIT_BYTES = 2 * MEGABYTE
FLASH_PAGES_MAX = 65535
# Each way to log in belongs to one protocol; no listener may offer a way around it.
_NO_ASCII = "ERROR: You cannot allow the ASCII protocol while using SASL."
_NO_BINARY = "ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens."


def checked(
    settings: Settings, geteuid: Callable[[], int], find_user: Callable[[str], object]
) -> Settings:
    """Settings that agree with each other, with what follows from them filled in.

    `find_user` raises KeyError for a name the system does not know. Raises StartupError.
    """
    settings = _check_sizes(settings)
    _check_flash(settings)
    _check_slab_sizes(settings)
    _check_queues(settings)
    settings = _check_access(settings)
    _check_features(settings)
    _check_own_bounds(settings)
    _check_user(settings, geteuid, find_user)
    _check_flash_layout(settings)
    settings = _with_listeners(_with_flash_defaults(settings))
    _check_clients_certificates(settings)
    return settings


def _check_clients_certificates(settings: Settings) -> None:
    """A list of clients keeps nobody out where no listener asks who they are."""
    asks = settings.tls_verify_mode or any(one.tls is Tls.MUTUAL for one in settings.listeners)
    if settings.tls_enabled and settings.tls_allowed_ids_path is not None and not asks:
        raise _usage("ERROR: ssl_allowed_ids needs ssl_verify_mode=2, or -l with mtls:")


def _usage(message: str) -> StartupError:
    return StartupError(message, EXIT_USAGE)


def _check_sizes(settings: Settings) -> Settings:
    ids, workers = settings.napi_ids_count, settings.workers
    if ids > workers:
        raise _usage(
            f"Number of napi_ids({ids}) cannot be greater than number of threads({workers})"
        )
    item = settings.item_bytes_max
    if item < ITEM_SIZE_MIN_BYTES:
        raise _usage(f"Item max size cannot be less than {ITEM_SIZE_MIN_BYTES} bytes.")
    limit = settings.memory_limit_bytes
    if limit != MEMORY_AUTO and item > limit // 2:
        raise _usage("Cannot set item size limit higher than 1/2 of memory max.")
    if item > ITEM_SIZE_LIMIT_BYTES:
        raise _usage("Cannot set item size limit higher than a gigabyte.")
    if item > SLAB_PAGE_BYTES and "slab_chunk_max_bytes" not in settings.given:
        settings = replace(settings, slab_chunk_max_bytes=SLAB_PAGE_BYTES // 2)
    chunk = settings.slab_chunk_max_bytes
    if chunk > item:
        raise _usage(
            f"slab_chunk_max (bytes: {chunk}) cannot be larger than -I (item_size_max {item})"
        )
    if item % chunk:
        raise _usage(
            f"-I (item_size_max: {item}) must be evenly divisible by"
            f" slab_chunk_max (bytes: {chunk})"
        )
    if SLAB_PAGE_BYTES % chunk:
        raise _usage(
            f"slab_chunk_max (bytes: {chunk}) must divide evenly into"
            f" {SLAB_PAGE_BYTES} (slab_page_size)"
        )
    return settings


def _check_flash(settings: Settings) -> None:
    if not settings.ext_paths:
        return
    item, buffer = settings.item_bytes_max, settings.ext_wbuf_bytes
    if item > buffer:
        raise _usage(f"-I (item_size_max: {item}) cannot be larger than ext_wbuf_size: {buffer}")
    if settings.udp_port:
        raise _usage("Cannot use UDP with extstore enabled (-U 0 to disable)")


def _check_slab_sizes(settings: Settings) -> None:
    last = 0
    for number, size in enumerate(settings.slab_sizes, start=1):
        if not settings.slab_min_bytes <= size <= settings.slab_chunk_max_bytes:
            raise _usage(f"slab size {max(size, 0)} is out of valid range")
        if size <= last:
            raise _usage(f"slab size {size} cannot be lower than or equal to a previous class size")
        if size <= last + SLAB_ALIGN_BYTES:
            raise _usage(
                f"slab size {size} must be at least {SLAB_ALIGN_BYTES} bytes"
                " larger than previous class"
            )
        if number > SLAB_SIZES_MAX:
            raise _usage("too many slab classes specified")
        last = size


def _check_queues(settings: Settings) -> None:
    if settings.hot_lru_percent + settings.warm_lru_percent > QUEUES_PERCENT_MAX:
        raise _usage(
            f"hot_lru_pct + warm_lru_pct cannot be more than {QUEUES_PERCENT_MAX}% combined"
        )
    if settings.temp_lru and not settings.lru_maintainer:
        raise _usage("temporary_ttl requires lru_maintainer to be enabled")


def _check_access(settings: Settings) -> Settings:
    """Authentication, protocols and ports; the UDP port may stand for both."""
    is_chosen = "protocol" in settings.given
    if settings.sasl_enabled:
        if is_chosen and settings.protocol != "binary":
            raise _usage(_NO_ASCII)
        if settings.udp_port:
            raise _usage("ERROR: Cannot enable UDP while using binary SASL authentication.")
        if settings.sasl_password_path is None and settings.auth_file_path is None:
            raise _usage(
                "ERROR: SASL needs users: name a file of user:password lines with"
                " MEMCACHED_SASL_PWDB or -Y."
            )
        settings = replace(settings, protocol="binary")
    if settings.auth_file_path is not None:
        if is_chosen and settings.protocol != "ascii":
            raise _usage(_NO_BINARY)
        # With -S as well both protocols are there, each with a login of its own.
        settings = replace(settings, protocol="auto" if settings.sasl_enabled else "ascii")
    if settings.udp_port and "port" not in settings.given:
        settings = replace(settings, port=settings.udp_port)
    for port in (settings.port, settings.udp_port):
        if port > PORT_MAX:
            raise _usage(f"ERROR: Invalid port number {port}.")
    if settings.udp_port and settings.auth_file_path is not None:
        raise _usage("Cannot use UDP with ascii authentication enabled (-U 0 to disable)")
    if settings.tls_enabled and not settings.port:
        raise _usage("ERROR: You cannot enable SSL without a TCP port.")
    return settings


def _check_features(settings: Settings) -> None:
    for feature in FEATURES_NOT_BUILT:
        if getattr(settings, feature.setting) not in feature.allowed:
            raise refuse(feature)


def _check_own_bounds(settings: Settings) -> None:
    if settings.memory_limit_bytes > MEMORY_LIMIT_MAX_BYTES:
        megabytes = MEMORY_LIMIT_MAX_BYTES // MEGABYTE
        raise _usage(f"Memory limit must be between 0 and {megabytes} megabytes.")
    if settings.workers > WORKERS_MAX:
        raise _usage(f"Number of threads must be at most {WORKERS_MAX}")


def _check_user(
    settings: Settings, geteuid: Callable[[], int], find_user: Callable[[str], object]
) -> None:
    if geteuid() != 0:
        return
    if not settings.user:
        raise _usage("must add '-u root' to start as root")
    try:
        find_user(settings.user)
    except KeyError:
        raise StartupError(
            f"can't find the user {settings.user} to switch to", EXIT_NO_USER
        ) from None


def _check_flash_layout(settings: Settings) -> None:
    if not settings.ext_paths:
        return
    page, buffer = settings.ext_page_bytes, settings.ext_wbuf_bytes
    wrong = ""
    if page % buffer:
        wrong = "page_size must be divisible by wbuf_size"
    elif page % FLASH_UNIT_BYTES or buffer % FLASH_UNIT_BYTES:
        wrong = "page_size and wbuf_size must be divisible by 1024*1024*2"
    elif sum(path.page_count for path in settings.ext_paths) > FLASH_PAGES_MAX:
        wrong = (
            f"page_count must total to < {FLASH_PAGES_MAX + 1}."
            " Increase page_size or lower path sizes"
        )
    if wrong:
        raise StartupError(f"Failed to initialize external storage: {wrong}")


def _with_flash_defaults(settings: Settings) -> Settings:
    """Both thresholds are a hundredth of the default bucket's pages unless given.

    memcached overwrites ext_drop_under when only that one is given, and leaves it 0 when only
    ext_compact_under is. That is a trap, not a behaviour to keep: here each keeps what was said,
    and 0 always means a hundredth.
    """
    if not settings.ext_paths:
        return settings
    pages = sum(path.page_count for path in settings.ext_paths if path.bucket == "default")
    hundredth = max(1, pages // 100)
    return replace(
        settings,
        ext_compact_under_pages=settings.ext_compact_under_pages or hundredth,
        ext_drop_under_pages=settings.ext_drop_under_pages or hundredth,
    )


def _with_listeners(settings: Settings) -> Settings:
    """Works out the addresses: none with port 0, and with a UNIX socket only if asked for."""
    if settings.unix_socket_path is not None and not settings.unix_and_tcp:
        return settings
    if settings.port < -1:
        raise StartupError(
            "getaddrinfo(): Servname not supported for ai_socktype\n"
            f"failed to listen on TCP port {settings.port}: Success",
            EXIT_OS_ERROR,
        )
    return replace(
        settings,
        listeners=_listeners(settings, settings.port),
        udp_listeners=_listeners(settings, settings.udp_port),
    )


def _listeners(settings: Settings, port: int) -> tuple[Listener, ...]:
    if port == 0:
        return ()
    listeners = parse_listeners(
        settings.listen or ("*",), port, is_tls=settings.tls_enabled, protocol=settings.protocol
    )
    has_tokens = settings.auth_file_path is not None
    for listener in listeners:
        if settings.sasl_enabled and listener.protocol != "binary" and not has_tokens:
            raise _usage(_NO_ASCII)
        if has_tokens and listener.protocol != "ascii" and not settings.sasl_enabled:
            raise _usage(_NO_BINARY)
    return listeners
