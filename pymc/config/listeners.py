"""Where to listen: the parts of `-l`, as `host`, `host:port`, `[v6]:port` or `*` with prefixes."""

import re
from collections.abc import Sequence
from enum import Enum

from pymc.config.c_numbers import whole_signed
from pymc.config.errors import EXIT_OS_ERROR, StartupError
from pymc.record import Record

PORT_MAX = 65535
TAG_CHARS_MAX = 8
_PROTOCOLS = {"ascii": "ascii", "binary": "binary", "negotiating": "auto"}


class Tls(Enum):
    """Whether clients of a listener speak TLS, and whether certificates are asked of them."""

    NONE = "notls"
    # As ssl_verify_mode says.
    SERVER = ""
    # A good certificate is required, whatever ssl_verify_mode says.
    MUTUAL = "mtls"
    # None is asked for.
    BASIC = "btls"


class Listener(Record):
    """One TCP address; a `host` of None is all of them, a `port` of 0 lets the system choose."""

    host: str | None
    port: int
    tls: Tls = Tls.NONE
    protocol: str = "auto"
    tag: str = ""


class _SpecError(Exception):
    """One part of `-l` cannot be understood; the message is memcached's."""


def parse_listeners(
    texts: Sequence[str], port: int, *, is_tls: bool, protocol: str
) -> tuple[Listener, ...]:
    """The addresses of all `-l` together; parts without a port use `port`.

    Raises StartupError with memcached's message and exit code.
    """
    parts = [part for text in texts for part in re.split("[,;]", text) if part]
    try:
        if not parts:
            raise _SpecError("No address given")
        default = Listener(None, port, Tls.SERVER if is_tls else Tls.NONE, protocol)
        return tuple(_parse(part, default) for part in parts)
    except _SpecError as error:
        joined = ",".join(texts)
        raise StartupError(
            f"{error}\nfailed to listen on one of interface(s) {joined}: Success", EXIT_OS_ERROR
        ) from None


def _parse(text: str, default: Listener) -> Listener:
    tls, text = _tls(text, default.tls)
    protocol, tag = default.protocol, default.tag
    if text.startswith("proto["):
        name, text = _bracketed(text, "proto", "Invalid protocol spec")
        if name == "proxy":
            raise _SpecError('Proxy must be enabled to use: "proto[proxy"')
        if name not in _PROTOCOLS:
            raise _SpecError(f'Invalid protocol spec: "[{name}"')
        protocol = _PROTOCOLS[name]
    if text.startswith("tag["):
        tag, text = _bracketed(text, "tag", "Invalid tag in socket config")
        if not 1 <= len(tag) <= TAG_CHARS_MAX:
            raise _SpecError(
                f'Listener tags must be between 1 and {TAG_CHARS_MAX} characters: "{tag}"'
            )
    host, port = _host_and_port(text, default.port)
    return Listener(None if host == "*" else host, max(port, 0), tls, protocol, tag)


def _tls(text: str, default: Tls) -> tuple[Tls, str]:
    """What a prefix about TLS says, and the text behind it. memcached needs no `:` there."""
    for found in (Tls.NONE, Tls.MUTUAL, Tls.BASIC):
        # A host may begin like the two that memcached's older versions do not know.
        if text.startswith(found.value if found is Tls.NONE else f"{found.value}:"):
            if default is Tls.NONE:
                raise _SpecError(f"'{found.value}' option is valid only when SSL is enabled")
            return found, text[len(found.value) :].removeprefix(":")
    return default, text


def _bracketed(text: str, prefix: str, message: str) -> tuple[str, str]:
    """What stands in brackets behind `prefix`, and what follows with its `:` taken off."""
    inside, bracket, rest = text[len(prefix) + 1 :].partition("]")
    if not bracket:
        raise _SpecError(f'{message}: "{text[len(prefix) :]}"')
    return inside, rest.removeprefix(":")


def _host_and_port(text: str, port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _SpecError(f'Invalid IPV6 address: "{text}"')
        return host, _port(rest[1:]) if rest else port
    # More than one colon outside brackets: an IPv6 address without a port.
    if text.count(":") == 1:
        host, _, number = text.partition(":")
        return host, _port(number)
    return text, port


def _port(text: str) -> int:
    number = whole_signed(text)
    if number is None or not -1 <= number <= PORT_MAX:
        raise _SpecError(f'Invalid port number: "{text}"')
    return number
