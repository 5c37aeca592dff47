"""Connections that an older context admitted, judged by a newer one."""

import datetime
from typing import Any

import pytest

from pymc.core.ffi import lib
from tests.support.certs import Authority, Pair, Span, utc_now
from tests.support.core.tls_rig import ALL, READ, Client, Material, Rig, World

HOUR = datetime.timedelta(hours=1)
NAME = "spiffe://a/b"


class Site:
    """A CA of its own, and connections of its clients."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.root = Authority.root()
        self.between = self.root.intermediate()
        self.server_pair = self.root.server()

    def context(self, **more: Any) -> Any:
        more = {"ca": self.root.pem, "verify": "REQUIRED"} | more
        return self.world.context(Material.of(self.server_pair, **more))

    def connect(self, context: Any, client: Client) -> Rig:
        rig = self.world.rig(context)
        talk = client.begin()
        assert talk.meet(rig) == lib.TLS_RIG_DONE
        talk.keep_session()
        return rig


@pytest.fixture(params=["full", "resumed"])
def connected(request: pytest.FixtureRequest, world: World) -> tuple[Site, Rig, Pair]:
    """A connection for an hour: one that showed its certificate, or has it from a ticket."""
    site = Site(world)
    pair = site.between.client(NAME, span=Span(utc_now() - HOUR, utc_now() + HOUR))
    client = Client(site.root, pair)
    context = site.context()
    rig = site.connect(context, client)
    if request.param == "resumed":
        rig = site.connect(context, client)
        assert rig.is_resumed
    return site, rig, pair


def test_the_same_material_admits_it(connected: tuple[Site, Rig, Pair]) -> None:
    site, rig, _ = connected
    assert rig.still_admitted(site.context()) == ALL


def test_it_expires(connected: tuple[Site, Rig, Pair]) -> None:
    site, rig, _ = connected
    context = site.context()
    site.world.move_to(3500)
    assert rig.still_admitted(context) == ALL
    site.world.move_to(3700)
    assert rig.still_admitted(context) == 0
    # The clock was set back.
    site.world.move_to(-7300)
    assert rig.still_admitted(context) == 0


def test_its_authority_is_gone(connected: tuple[Site, Rig, Pair]) -> None:
    site, rig, _ = connected
    assert rig.still_admitted(site.context(ca=Authority.root("test root").pem)) == 0
    both = site.context(ca=Authority.root().pem + site.root.pem)
    assert rig.still_admitted(both) == ALL


def test_it_is_revoked(connected: tuple[Site, Rig, Pair]) -> None:
    site, rig, pair = connected
    for _ in range(20):
        site.between.revoke(site.between.client(NAME))
    assert rig.still_admitted(site.context(crl=site.between.crl_pem())) == ALL
    site.between.revoke(pair)
    assert rig.still_admitted(site.context(crl=site.between.crl_pem())) == 0


def test_one_above_it_is_revoked(connected: tuple[Site, Rig, Pair]) -> None:
    site, rig, _ = connected
    site.root.revoke(Pair(site.between.certificate, site.between.key, []))
    assert rig.still_admitted(site.context(crl=site.root.crl_pem())) == 0


def test_its_identity_is_listed_no_more(connected: tuple[Site, Rig, Pair]) -> None:
    site, rig, _ = connected
    assert rig.still_admitted(site.context(allowed_ids=b"spiffe://a/c\nspiffe://a/* read")) == READ
    assert rig.still_admitted(site.context(allowed_ids=b"spiffe://a/c")) == 0


def test_a_client_without_a_certificate_stays(world: World) -> None:
    site = Site(world)
    rig = site.connect(site.context(verify="OPTIONAL"), Client(site.root))
    assert rig.still_admitted(site.context(verify="OPTIONAL", ca=Authority.root().pem)) == ALL


def test_one_without_a_name_is_on_no_list(world: World) -> None:
    site = Site(world)
    client = Client(site.root, site.root.client())
    rig = site.connect(site.context(), client)
    assert rig.identity == "client"
    assert rig.still_admitted(site.context(allowed_ids=b"client")) == 0
