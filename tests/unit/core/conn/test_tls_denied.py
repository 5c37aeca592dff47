"""A client whose identity is not listed: what it hears, and that nobody else notices."""

import ssl
from pathlib import Path

import pytest

from pymc.core.tls import Verify
from tests.support.core.conn_rig import Rig
from tests.support.core.tls_conn import TlsClient, client_context, server_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_the_denied_and_their_neighbours(rig: Rig, tmp_path: Path, version: ssl.TLSVersion) -> None:
    strict = server_context(rig, Verify.REQUIRED, allowed_ids=b"spiffe://example.org/other")
    lax = server_context(rig, Verify.REQUIRED, allowed_ids=b"spiffe://example.org/web")
    named = client_context(version, tmp_path)
    before = TlsClient(rig, lax, named).greet()
    denied = TlsClient(rig, strict, named)
    with pytest.raises(ssl.SSLError) as heard:
        denied.pump()
    assert heard.value.reason == "TLSV1_ALERT_ACCESS_DENIED"
    assert (denied.state, denied.view.is_closed) == ("CLOSED", True)
    assert rig.counter("ssl_denied") == rig.counter("ssl_handshake_errors") == 1
    # All connections of a worker write by the same means.
    after = TlsClient(rig, lax, named).greet()
    for client in (before, after):
        assert client.ask(b"mn\r\n") == b"MN\r\n"
    strict.release()
    lax.release()
