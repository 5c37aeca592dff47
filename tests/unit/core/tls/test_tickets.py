"""Tickets: on any worker, as long as keys and policy stand, and never for whom today refuses."""

import datetime
import random
import ssl
from typing import Any

import pytest

from pymc.core.ffi import lib
from tests.support.certs import Authority, Pair, Span, utc_now
from tests.support.core.tls_rig import READ, Client, Material, Rig, Talk, World

HOUR = datetime.timedelta(hours=1)
NAME = "spiffe://a/b"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    found: ssl.TLSVersion = request.param
    return found


class Visits:
    """One client that comes again and again, with the ticket it got last."""

    def __init__(self, world: World, client: Client) -> None:
        self.world, self.client = world, client

    def visit(self, context: Any, door: str = "DEFAULT") -> tuple[Rig, Talk]:
        rig = self.world.rig(context, door)
        talk = self.client.begin()
        talk.meet(rig)
        return rig, talk

    def come(self, context: Any, door: str = "DEFAULT") -> bool:
        """Whether the session went on; takes a ticket along."""
        rig, talk = self.visit(context, door)
        assert (rig.failure, talk.error) == ("NOT", "")
        assert rig.is_resumed == talk.tls.session_reused
        talk.keep_session()
        return rig.is_resumed


@pytest.fixture
def visits(world: World, root: Authority, version: ssl.TLSVersion) -> Visits:
    return Visits(world, Client(root, None, version))


def with_client(world: World, root: Authority, version: ssl.TLSVersion, pair: Pair) -> Visits:
    return Visits(world, Client(root, pair, version))


def test_any_worker_takes_it(
    world: World, visits: Visits, server_pair: Pair, version: ssl.TLSVersion
) -> None:
    """Contexts made apart, as workers and generations of material do, share the keys."""
    contexts = [world.context(Material.of(server_pair)) for _ in range(4)]
    assert [visits.come(contexts[n % 4]) for n in range(12)] == [False] + [True] * 11
    assert world.count("tls_handshakes_resumed") == 11
    assert world.count("tls_handshakes_full") == world.count("ssl_new_sessions") == 1
    assert world.count("tls_" + version.name.lower().replace("tlsv", "version_")) == 12


def test_another_certificate_of_the_server_changes_nothing(
    world: World, visits: Visits, root: Authority, server_pair: Pair
) -> None:
    assert not visits.come(world.context(Material.of(server_pair)))
    assert visits.come(world.context(Material.of(root.server())))


def test_keys_turn(world: World, visits: Visits, server_pair: Pair) -> None:
    context = world.context(Material.of(server_pair))
    assert not visits.come(context)
    first = visits.client.session
    for _ in range(5):
        world.rotate()
        # The last key opens it, and the client gets a new one of the current key.
        assert visits.come(context)
    visits.client.session = first
    assert not visits.come(context)
    assert world.count("tls_tickets_unreadable") == 1
    world.rotate()
    world.rotate()
    assert not visits.come(context)


def test_before_the_first_key_there_are_no_tickets(
    server_pair: Pair, root: Authority, version: ssl.TLSVersion
) -> None:
    with World() as fresh:
        visits = Visits(fresh, Client(root, None, version))
        context = fresh.context(Material.of(server_pair))
        assert not visits.come(context)
        assert not visits.come(context)


def test_without_resumption_there_are_no_tickets(
    world: World, visits: Visits, server_pair: Pair
) -> None:
    context = world.context(Material.of(server_pair, resumes=False))
    for _ in range(2):
        _, talk = visits.visit(context)
        assert talk.tls.session is None or not talk.tls.session.has_ticket
    # Nor does it take those that another one gave.
    assert not visits.come(world.context(Material.of(server_pair)))
    assert not visits.come(context)
    assert world.count("ssl_new_sessions") == 1


def test_a_door_that_asks_for_less_opens_no_other(
    world: World, root: Authority, server_pair: Pair, version: ssl.TLSVersion
) -> None:
    visits = with_client(world, root, version, root.client(NAME))
    context = world.context(Material.of(server_pair, ca=root.pem))
    assert not visits.come(context, "BASIC")
    assert visits.come(context, "DEFAULT")
    assert not visits.come(context, "MUTUAL")
    assert visits.come(context, "MUTUAL")
    assert not visits.come(context, "BASIC")
    nameless = Visits(world, Client(root, None, version))
    assert not nameless.come(context, "BASIC")
    rig, _ = nameless.visit(context, "MUTUAL")
    assert rig.failure == "NO_CERTIFICATE"


@pytest.mark.parametrize(
    "change", ["ca", "crl", "allowed_ids", "verify"], ids=lambda change: f"other_{change}"
)
def test_another_policy_wants_a_full_handshake(
    world: World, root: Authority, server_pair: Pair, version: ssl.TLSVersion, change: str
) -> None:
    visits = with_client(world, root, version, root.client(NAME))
    before: dict[str, Any] = {"ca": root.pem, "verify": "REQUIRED", "allowed_ids": b"spiffe://a/*"}
    changes: dict[str, dict[str, Any]] = {
        "ca": {"ca": root.pem + Authority.root().pem},
        "crl": {"crl": root.crl_pem()},
        "allowed_ids": {"allowed_ids": b"spiffe://a/b"},
        "verify": {"verify": "ONCE"},
    }
    after = before | changes[change]
    old, new = (world.context(Material.of(server_pair, **policy)) for policy in (before, after))
    assert [visits.come(context) for context in (old, old, new, new)] == [False, True, False, True]


def test_the_session_keeps_its_identity(
    world: World, root: Authority, server_pair: Pair, version: ssl.TLSVersion
) -> None:
    visits = with_client(world, root, version, root.intermediate().client(NAME))
    material = Material.of(
        server_pair, ca=root.pem, verify="REQUIRED", allowed_ids=b"spiffe://a/* read"
    )
    context = world.context(material)
    for is_resumed in (False, True, True):
        rig, talk = visits.visit(context)
        talk.keep_session()
        assert (rig.is_resumed, rig.identity, rig.rights) == (is_resumed, NAME, READ)


def test_a_session_ends_with_its_chain(
    world: World, root: Authority, server_pair: Pair, version: ssl.TLSVersion
) -> None:
    """Of leaf and intermediate the one that ends first counts, however often tickets are new."""
    now = utc_now()
    between = root.intermediate(span=Span(now - HOUR, now + HOUR))
    visits = with_client(world, root, version, between.client(NAME))
    context = world.context(Material.of(server_pair, ca=root.pem, verify="REQUIRED"))
    assert [visits.come(context), visits.come(context)] == [False, True]
    world.move_to(3700)
    rig, _ = visits.visit(context)
    assert rig.failure == "EXPIRED"
    assert world.count("tls_tickets_refused") == 1


def seals(world: World, context: Any, root: Authority) -> bytes:
    """A TLS 1.2 client's hello with a ticket in it."""
    visits = Visits(world, Client(root, None, ssl.TLSVersion.TLSv1_2))
    visits.come(context)
    talk = visits.client.begin()
    talk.step()
    return talk.outgoing.read()


def test_forged_tickets_are_refused(world: World, root: Authority, server_pair: Pair) -> None:
    context = world.context(Material.of(server_pair))
    hello = seals(world, context, root)
    dice = random.Random(7)
    # The ticket is by far the longest part: most flips of a bit hit it.
    handshakes = refused = 0
    for _ in range(200):
        place = dice.randrange(len(hello) // 3, len(hello))
        forged = bytearray(hello)
        forged[place] ^= 1 << dice.randrange(8)
        rig = world.rig(context)
        before = world.count("tls_tickets_unreadable")
        rig.feed(bytes(forged))
        rig.step()
        answer = rig.drain()
        handshakes += answer[:1] == b"\x16"
        refused += world.count("tls_tickets_unreadable") - before
        rig.close()
    assert refused > 50
    # One that is refused is no error: the handshake goes on in full.
    assert handshakes >= refused


def test_a_ticket_of_zeroes_opens_nothing(root: Authority, server_pair: Pair, world: World) -> None:
    """After the first rotation the key before it is no key, though its place is all zeroes."""
    with World() as fresh:
        fresh.rotate()
        context = fresh.context(Material.of(server_pair))
        hello = seals(world, world.context(Material.of(server_pair)), root)
        rig = fresh.rig(context)
        rig.feed(hello)
        rig.step()
        assert fresh.count("tls_tickets_unreadable") == 1
        zeroed = hello.replace(hello[-16:], bytes(16))
        rig = fresh.rig(context)
        rig.feed(zeroed)
        assert rig.step() in (lib.TLS_RIG_WAITS, lib.TLS_RIG_FAILED)
