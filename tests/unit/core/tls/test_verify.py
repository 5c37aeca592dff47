"""Verification of clients: chains, dates by the cache's clock, revocation, what is too large."""

import datetime
import ssl

import pytest

from pymc.core.ffi import lib
from tests.support.certs import Authority, Names, Pair, Span, utc_now
from tests.support.core.tls_rig import ALL, Client, Material, Rig, Talk, World

HOUR = datetime.timedelta(hours=1)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Site:
    """A server that wants certificates, and clients for it."""

    def __init__(self, world: World, root: Authority, server_pair: Pair) -> None:
        self.world, self.root, self.server_pair = world, root, server_pair
        self.version = ssl.TLSVersion.TLSv1_3
        self.door = "DEFAULT"
        self.open()

    def open(self, **more: object) -> None:
        more = {"ca": self.root.pem, "verify": "REQUIRED"} | more
        self.context = self.world.context(Material.of(self.server_pair, **more))

    def meet(self, pair: Pair | None) -> tuple[Rig, Talk]:
        rig = self.world.rig(self.context, self.door)
        talk = Client(self.root, pair, self.version).begin()
        talk.meet(rig)
        return rig, talk

    def outcome(self, pair: Pair | None) -> str:
        """NOT for one that is admitted, else why its handshake failed."""
        rig, talk = self.meet(pair)
        assert (rig.failure == "NOT") == (talk.error == "")
        return rig.failure


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def site(request: pytest.FixtureRequest, world: World, root: Authority, server_pair: Pair) -> Site:
    made = Site(world, root, server_pair)
    made.version = request.param
    return made


def deep(root: Authority, levels: int) -> Authority:
    """The last of so many authorities below a root."""
    found = root
    for level in range(levels):
        found = found.intermediate(f"level {level}")
    return found


def test_two_intermediates(site: Site) -> None:
    assert site.outcome(deep(site.root, 2).client("spiffe://a/b")) == "NOT"


def test_who_must_have_a_certificate(site: Site) -> None:
    client = site.root.client("spiffe://a/b")
    for verify, door, without in [
        ("NONE", "DEFAULT", "NOT"),
        ("NONE", "BASIC", "NOT"),
        ("NONE", "MUTUAL", "NO_CERTIFICATE"),
        ("OPTIONAL", "DEFAULT", "NOT"),
        ("OPTIONAL", "MUTUAL", "NO_CERTIFICATE"),
        ("REQUIRED", "DEFAULT", "NO_CERTIFICATE"),
        ("REQUIRED", "BASIC", "NOT"),
        ("ONCE", "DEFAULT", "NO_CERTIFICATE"),
    ]:
        site.door = door
        site.open(verify=verify)
        assert site.outcome(None) == without, (verify, door)
        rig, _ = site.meet(client)
        is_asked = door == "MUTUAL" or (door == "DEFAULT" and verify != "NONE")
        assert (rig.failure, rig.identity) == ("NOT", "spiffe://a/b" if is_asked else "")
        assert rig.rights == ALL


def test_nobody_without_a_name_comes_by_a_list(site: Site) -> None:
    site.open(verify="OPTIONAL", allowed_ids=b"spiffe://a/b")
    assert site.outcome(None) == "NO_CERTIFICATE"
    assert site.outcome(site.root.client("spiffe://a/b")) == "NOT"


def test_an_optional_certificate_is_verified(site: Site) -> None:
    site.open(verify="OPTIONAL")
    assert site.outcome(Authority.root().client("spiffe://a/b")) == "UNKNOWN_CA"


def test_a_certificate_for_something_else(site: Site) -> None:
    assert site.outcome(site.root.issue(Names("x"), "server")) == "BAD_CERTIFICATE"


def test_a_leaf_is_no_authority(site: Site) -> None:
    leaf = site.root.client("spiffe://a/b")
    false = Authority(leaf.certificate, leaf.key, [leaf.certificate])
    assert site.outcome(false.client("spiffe://a/c")) in ("BAD_CERTIFICATE", "UNKNOWN_CA")


def test_one_that_signed_itself(site: Site) -> None:
    own = Authority.root("client")
    assert site.outcome(Pair(own.certificate, own.key, [])) == "UNKNOWN_CA"


def test_dates_go_by_the_clock_of_the_cache(site: Site) -> None:
    now = utc_now()
    pair = site.root.client("spiffe://a/b", span=Span(now - HOUR, now + HOUR))
    assert site.outcome(pair) == "NOT"
    site.world.move_to(3590)
    assert site.outcome(pair) == "NOT"
    site.world.move_to(3700)
    assert site.outcome(pair) == "EXPIRED"
    site.world.move_to(0)
    late = site.root.client("spiffe://a/b", span=Span(now + HOUR, now + 2 * HOUR))
    assert site.outcome(late) == "NOT_YET_VALID"
    site.world.move_to(3700)
    assert site.outcome(late) == "NOT"
    for name in ("expired", "not_yet_valid"):
        assert site.world.count(f"tls_failed_{name}") == 1


def test_an_intermediate_that_expired(site: Site) -> None:
    between = site.root.intermediate(span=Span.past())
    assert site.outcome(between.client("spiffe://a/b")) == "EXPIRED"


def test_revoked(site: Site) -> None:
    root = Authority.root()
    site.root = root
    between = root.intermediate()
    good, bad = between.client("spiffe://a/b"), between.client("spiffe://a/b")
    direct = root.client("spiffe://a/c")
    between.revoke(bad)
    site.open(crl=between.crl_pem() + root.crl_pem())
    site.server_pair = root.server()
    outcomes = {"good": good, "bad": bad, "direct": direct}
    site.open(crl=between.crl_pem() + root.crl_pem())
    assert {name: site.outcome(pair) for name, pair in outcomes.items()} == {
        "good": "NOT",
        "bad": "REVOKED",
        "direct": "NOT",
    }
    # The list of the CA that signed the client is needed, others are looked at if they are there.
    site.open(crl=between.crl_pem())
    assert site.outcome(good) == "NOT"
    assert site.outcome(bad) == "REVOKED"
    assert site.outcome(direct) == "NO_CRL"
    site.open(crl=between.crl_pem(Span.past()))
    assert site.outcome(good) == "NO_CRL"
    stranger = Authority.root()
    site.open(crl=stranger.crl_pem())
    assert site.outcome(good) == "NO_CRL"
    root.revoke(Pair(between.certificate, between.key, []))
    site.open(crl=between.crl_pem() + root.crl_pem())
    assert site.outcome(good) == "REVOKED"


def test_what_is_too_large_is_not_read(site: Site) -> None:
    large = site.root.issue(Names("x", uris=["spiffe://a/b"]), "client", padding_bytes=64 * 1024)
    assert site.outcome(large) == "LARGE_CERTIFICATE"
    many = site.root.client("spiffe://a/b")
    many.between = [site.root.intermediate(f"level {n}").certificate for n in range(100)]
    assert site.outcome(many) == "LARGE_CERTIFICATE"
    assert site.world.count("tls_failed_large_certificate") == 2


def test_a_chain_that_is_too_deep(site: Site) -> None:
    assert site.outcome(deep(site.root, 4).client("spiffe://a/b")) == "NOT"
    failure = site.outcome(deep(site.root, 6).client("spiffe://a/b"))
    assert failure in ("LARGE_CERTIFICATE", "UNKNOWN_CA", "BAD_CERTIFICATE")


def test_six_hundred_authorities(site: Site) -> None:
    others = b"".join(Authority.root(f"root {n:050}").pem for n in range(600))
    for ca in (others + site.root.pem, site.root.pem + others):
        site.open(ca=ca)
        rig = site.world.rig(site.context)
        talk = Client(site.root, site.root.client("spiffe://a/b"), site.version).begin()
        talk.step()
        rig.feed(talk.outgoing.read())
        rig.step()
        hello = rig.drain()
        assert len(hello) < 16384
        talk.incoming.write(hello)
        assert talk.meet(rig) == lib.TLS_RIG_DONE


def test_an_authority_that_was_taken_away(site: Site) -> None:
    """A new context trusts nothing of an older one."""
    old, new = Authority.root("one"), Authority.root("one")
    site.open(ca=old.pem + new.pem)
    pairs = [old.client("spiffe://a/b"), new.client("spiffe://a/b")]
    assert [site.outcome(pair) for pair in pairs] == ["NOT", "NOT"]
    site.open(ca=new.pem)
    assert [site.outcome(pair) for pair in pairs] == ["UNKNOWN_CA", "NOT"]
