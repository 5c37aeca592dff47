"""Whom a certificate names: which of its names count, and how the refused are told."""

import ssl

import pytest

from pymc.core.ffi import lib
from tests.support.certs import Authority, Names, Pair, san_der_of
from tests.support.core.tls_rig import ALL, READ, Client, Material, Rig, Talk, World

DNS, URI, EMAIL = 2, 6, 1
GOOD = b"spiffe://td/good"
LIST = b"spiffe://td/good read\n*.good.org\ngood\n"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def meet(
    world: World,
    root: Authority,
    server_pair: Pair,
    names: Names,
    ids: bytes | None = LIST,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    resumes: bool = True,
) -> tuple[Rig, Talk, int]:
    material = Material.of(
        server_pair, ca=root.pem, allowed_ids=ids, verify="REQUIRED", resumes=resumes
    )
    rig = world.rig(world.context(material))
    talk = Client(root, root.issue(names, "client"), version).begin()
    return rig, talk, talk.meet(rig)


@pytest.mark.parametrize(
    ("sans", "identity", "rights"),
    [
        ([(URI, GOOD)], "spiffe://td/good", READ),
        ([(DNS, b"a.good.org")], "a.good.org", ALL),
        ([(DNS, b"other"), (EMAIL, b"x@y"), (DNS, b"GOOD")], "GOOD", ALL),
        # The list decides, not the certificate.
        ([(DNS, b"good"), (URI, GOOD)], "spiffe://td/good", READ),
        ([(DNS, b"good"), (URI, b"spiffe://td/bad")], "good", ALL),
    ],
)
def test_names_that_are_listed(
    world: World,
    root: Authority,
    server_pair: Pair,
    sans: list[tuple[int, bytes]],
    identity: str,
    rights: int,
) -> None:
    rig, talk, result = meet(world, root, server_pair, Names("x", san_der=san_der_of(*sans)))
    assert (result, talk.error) == (lib.TLS_RIG_DONE, "")
    assert (rig.identity, rig.rights) == (identity, rights)


@pytest.mark.parametrize(
    "sans",
    [
        [(URI, GOOD + b"\0.evil")],
        [(URI, GOOD + b"\0")],
        [(URI, GOOD), (URI, GOOD)],
        [(URI, GOOD), (URI, b"https://example.com")],
        [(URI, b"https://example.com"), (URI, GOOD)],
        [(URI, GOOD + b"/")],
        [(URI, b"spiffe://td//good")],
        [(URI, b"spiffe://td/x/../good")],
        [(URI, b"spiffe://td/g%6fod")],
        [(URI, b"spiffe://TD/good")],
        [(URI, b"SPIFFE://td/good")],
        [(URI, b"spiffe://td/Good")],
        [(URI, GOOD + b"?x")],
        [(URI, GOOD + b"#x")],
        [(URI, b"")],
        [(DNS, GOOD)],
        [(EMAIL, GOOD)],
        [(URI, b"good")],
        [(EMAIL, b"good")],
        [(DNS, b"good\0.evil.org")],
        [(DNS, b"good.")],
        [(DNS, b"*.good.org")],
        [(DNS, b"a.b.good.org")],
        [(DNS, b"")],
        # So many names are looked at and no more.
        [*[(DNS, b"x")] * 64, (DNS, b"good")],
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_names_that_are_not_listed(
    world: World,
    root: Authority,
    server_pair: Pair,
    sans: list[tuple[int, bytes]],
    version: ssl.TLSVersion,
) -> None:
    names = Names("good", san_der=san_der_of(*sans))
    rig, talk, result = meet(world, root, server_pair, names, version=version)
    assert (result, rig.failure) == (lib.TLS_RIG_FAILED, "DENIED")
    assert talk.error == "TLSV1_ALERT_ACCESS_DENIED"
    assert world.count("ssl_denied") == world.count("ssl_handshake_errors") == 1
    assert world.count("tls_handshakes_full") == 0
    assert rig.line.isprintable()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resumes", [True, False])
def test_the_denied_see_the_alert_also_without_tickets(
    world: World, root: Authority, server_pair: Pair, version: ssl.TLSVersion, resumes: bool
) -> None:
    names = Names("x", dns=["bad.org"])
    rig, talk, _ = meet(world, root, server_pair, names, version=version, resumes=resumes)
    assert talk.error == "TLSV1_ALERT_ACCESS_DENIED"
    assert rig.line == "the client's identity is not allowed: bad.org"
    # Nothing comes behind the alert.
    rig.feed(talk.outgoing.read())
    assert rig.step() == lib.TLS_RIG_FAILED
    assert rig.drain() == b""


@pytest.mark.parametrize(
    ("names", "identity"),
    [
        (Names("cn", dns=["d.org", "e.org"], uris=["spiffe://a/b"]), "spiffe://a/b"),
        (Names("cn", dns=["d.org", "e.org"], uris=["spiffe://a/b", "x:y"]), "d.org"),
        (Names("cn", emails=["a@b"]), "cn"),
        (Names("c n\x1b[2J\n\u00e4", emails=["a@b"]), "c?n?[2J???"),
        (Names("", uris=["https://a/b"]), ""),
        (Names("c" * 64), "c" * 64),
        (Names("cn", uris=["spiffe://a/" + "b" * 400]), ("spiffe://a/" + "b" * 400)[:255]),
    ],
)
def test_without_a_list_the_first_name_is_shown(
    world: World, root: Authority, server_pair: Pair, names: Names, identity: str
) -> None:
    rig, _, result = meet(world, root, server_pair, names, ids=None)
    assert (result, rig.identity, rig.rights) == (lib.TLS_RIG_DONE, identity, ALL)


def test_a_long_identity_is_compared_whole(
    world: World, root: Authority, server_pair: Pair
) -> None:
    listed = "spiffe://a/" + "b" * 400
    names = Names("cn", uris=[listed + "c"])
    rig, _, _ = meet(world, root, server_pair, names, ids=listed.encode())
    assert rig.failure == "DENIED"
    rig, _, result = meet(world, root, server_pair, Names(uris=[listed]), ids=listed.encode())
    assert (result, rig.identity) == (lib.TLS_RIG_DONE, listed[:255])


def test_nothing_but_one_alert_is_sent_in_the_clear(
    world: World, root: Authority, server_pair: Pair
) -> None:
    material = Material.of(server_pair, ca=root.pem, allowed_ids=LIST, verify="REQUIRED")
    rig = world.rig(world.context(material))
    pair = root.issue(Names("x", dns=["bad.org"]), "client")
    talk = Client(root, pair, ssl.TLSVersion.TLSv1_2).begin()
    for _ in range(2):
        talk.step()
        rig.feed(talk.outgoing.read())
        step = rig.step()
        answer = rig.drain()
        talk.incoming.write(answer)
    assert step == lib.TLS_RIG_FAILED
    assert answer == b"\x15\x03\x03\x00\x02\x02\x31"
