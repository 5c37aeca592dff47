"""Addresses of `-l`: each row is a text and the listeners it means."""

import pytest

from pymc.config import Listener, StartupError, Tls
from pymc.config.listeners import parse_listeners


def parsed(*texts: str, is_tls: bool = False) -> tuple[Listener, ...]:
    """Listeners of several `-l` with the port 11211."""
    return parse_listeners(texts, 11211, is_tls=is_tls, protocol="auto")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 11211),
        ("127.0.0.1:5", "127.0.0.1", 5),
        ("127.0.0.1:-1", "127.0.0.1", 0),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("*", None, 11211),
        ("*:7", None, 7),
        ("::1", "::1", 11211),
        ("::", "::", 11211),
        ("fe80::1:2", "fe80::1:2", 11211),
        ("[::1]", "::1", 11211),
        ("[::1]:7", "::1", 7),
    ],
)
def test_host_and_port(text: str, host: str | None, port: int) -> None:
    assert parsed(text) == (Listener(host, port),)


def test_several_in_one_and_in_many() -> None:
    hosts = [listener.host for listener in parsed("a,b;c,", "d")]
    assert hosts == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("notls:a:5", Listener("a", 5, Tls.NONE)),
        ("mtls:a:5", Listener("a", 5, Tls.MUTUAL)),
        ("btls:[::1]:5", Listener("::1", 5, Tls.BASIC)),
        ("btls", Listener("btls", 11211, Tls.SERVER)),
        ("mtls:proto[ascii]:tag[t]:a", Listener("a", 11211, Tls.MUTUAL, "ascii", "t")),
        ("proto[ascii]:a", Listener("a", 11211, Tls.SERVER, "ascii")),
        ("proto[binary]:[::1]:5", Listener("::1", 5, Tls.SERVER, "binary")),
        ("proto[negotiating]:*", Listener(None, 11211, Tls.SERVER, "auto")),
        ("tag[api]:a", Listener("a", 11211, Tls.SERVER, tag="api")),
        ("tag[12345678]:a", Listener("a", 11211, Tls.SERVER, tag="12345678")),
        ("notls:proto[ascii]:tag[t]:a:5", Listener("a", 5, Tls.NONE, "ascii", "t")),
    ],
)
def test_prefixes(text: str, expected: Listener) -> None:
    assert parsed(text, is_tls=True) == (expected,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:", 'Invalid port number: ""'),
        ("a:junk", 'Invalid port number: "junk"'),
        ("a:65536", 'Invalid port number: "65536"'),
        ("a:-2", 'Invalid port number: "-2"'),
        ("[::1", 'Invalid IPV6 address: "[::1"'),
        ("[::1]x", 'Invalid IPV6 address: "[::1]x"'),
        ("notls:a", "'notls' option is valid only when SSL is enabled"),
        ("mtls:a", "'mtls' option is valid only when SSL is enabled"),
        ("btls:a", "'btls' option is valid only when SSL is enabled"),
        ("proto[ascii", 'Invalid protocol spec: "[ascii"'),
        ("proto[http]:a", 'Invalid protocol spec: "[http"'),
        ("proto[proxy]:a", 'Proxy must be enabled to use: "proto[proxy"'),
        ("tag[x", 'Invalid tag in socket config: "[x"'),
        ("tag[]:a", 'Listener tags must be between 1 and 8 characters: ""'),
        ("tag[123456789]:a", 'Listener tags must be between 1 and 8 characters: "123456789"'),
        (",", "No address given"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(StartupError) as caught:
        parsed(text)
    listed = f"failed to listen on one of interface(s) {text}: Success"
    assert caught.value.message == f"{message}\n{listed}"
    assert caught.value.exit_code == 71
