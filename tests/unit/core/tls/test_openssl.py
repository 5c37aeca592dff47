"""The program `openssl s_client`: what it sees of refusals, tickets, renegotiation, early data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import Authority, Pair
from tests.support.core.tls_relay import Relay, s_client
from tests.support.core.tls_rig import Material, World


class Site:
    """A served port, and a client's files."""

    def __init__(self, world: World, root: Authority, server_pair: Pair, folder: Path) -> None:
        self.world, self.root, self.server_pair, self.folder = world, root, server_pair, folder
        self.relays: list[Relay] = []
        self.ca = root.write(folder, "ca")

    def serve(self, door: str = "DEFAULT", **more: Any) -> Relay:
        material = Material.of(self.server_pair, **({"ca": self.root.pem} | more))
        relay = Relay(self.world, self.world.context(material), door)
        self.relays.append(relay)
        return relay

    def client(self, uri: str) -> list[str | Path]:
        chain, key = self.root.client(uri).write(self.folder, "client")
        return ["-cert", chain, "-key", key]


@pytest.fixture
def site(world: World, root: Authority, server_pair: Pair, tmp_path: Path) -> Iterator[Site]:
    made = Site(world, root, server_pair, tmp_path)
    yield made
    for relay in made.relays:
        relay.close()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("resumes", [True, False])
def test_the_denied_see_access_denied(site: Site, version: str, resumes: bool) -> None:
    relay = site.serve(verify="REQUIRED", allowed_ids=b"spiffe://td/good", resumes=resumes)
    seen = s_client(
        relay.port, version, *site.client("spiffe://td/bad"), until="SSL alert number 49"
    )
    assert "access denied" in seen
    seen = s_client(relay.port, version, *site.client("spiffe://td/good"))
    assert "alert" not in seen
    assert [rig.failure for rig in relay.rigs] == ["DENIED", "NOT"]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_ticket_of_a_lax_port_opens_no_strict_one(site: Site, version: str) -> None:
    lax, strict = site.serve("BASIC"), site.serve("MUTUAL")
    session = site.folder / "session"
    s_client(lax.port, version, "-sess_out", session, sent=["hello"])
    seen = s_client(lax.port, version, "-sess_in", session)
    assert "Reused, TLS" in seen
    seen = s_client(strict.port, version, "-sess_in", session, until="alert number")
    assert "Reused, TLS" not in seen
    assert strict.rigs[0].failure == "NO_CERTIFICATE"


def test_connecting_again_with_a_certificate(site: Site) -> None:
    relay = site.serve(verify="REQUIRED")
    options = ["-tls1_2", "-reconnect", *site.client("spiffe://td/good")]
    seen = s_client(relay.port, *options)
    assert seen.count("Reused, TLSv1.2") == 5
    assert [rig.identity for rig in relay.rigs] == ["spiffe://td/good"] * 6


def test_renegotiation_is_refused(site: Site) -> None:
    relay = site.serve()
    seen = s_client(relay.port, "-tls1_2", sent=["hello", "R"], until="no renegotiation")
    assert "no renegotiation" in seen


def test_early_data_is_not_taken(site: Site) -> None:
    relay = site.serve()
    session, early = site.folder / "session", site.folder / "early"
    early.write_bytes(b"get a\r\n")
    seen = s_client(relay.port, "-tls1_3", "-sess_out", session, sent=["hello"])
    assert "Max Early Data: 0" in seen
    seen = s_client(relay.port, "-tls1_3", "-sess_in", session, "-early_data", early)
    assert "Early data was accepted" not in seen


def test_the_chain_is_shown(site: Site) -> None:
    between = site.root.intermediate("first").intermediate("second")
    site.server_pair = between.server()
    relay = site.serve()
    seen = s_client(relay.port, "-showcerts", "-CAfile", site.ca)
    assert seen.count("BEGIN CERTIFICATE") >= 3
    assert "Verify return code: 0 (ok)" in seen
