"""The supervisor dies before each store of a rotation of ticket keys, or stands there."""

from threading import Thread

import pytest

from pymc.core.ffi import lib
from tests.support.certs import Authority, Pair
from tests.support.children import run_child
from tests.support.core.tls_rig import Client, Material, World
from tests.support.sites import Gate, all_sites, arm

pytestmark = pytest.mark.debug

# Only debug builds have sites.
SITES_COUNT = 3
SITES = [site for site in all_sites() if " tls_tickets_rotate: " in site.key]


@pytest.fixture(scope="module")
def server_pair() -> Pair:
    return Authority.root().server()


class Visitor:
    """A client that has a ticket of some time, and one that comes for the first time."""

    def __init__(self, world: World, pair: Pair) -> None:
        self.world = world
        self.context = world.context(Material.of(pair))

    def fresh(self) -> Client:
        client = Client()
        assert not self.comes(client)
        return client

    def comes(self, client: Client) -> bool:
        """Whether its session goes on; it takes the new ticket along."""
        rig = self.world.rig(self.context)
        talk = client.begin()
        assert talk.meet(rig) == lib.TLS_RIG_DONE
        talk.keep_session()
        return rig.is_resumed


def test_there_are_sites() -> None:
    assert len(SITES) == SITES_COUNT


@pytest.mark.parametrize("rotations", [1, 2, 5])
@pytest.mark.parametrize("number", range(SITES_COUNT))
def test_a_death_leaves_a_usable_pair(server_pair: Pair, number: int, rotations: int) -> None:
    site = SITES[number]
    with World() as world:
        for _ in range(rotations - 1):
            world.rotate()
        visitor = Visitor(world, server_pair)
        before = visitor.fresh() if rotations > 1 else None
        world.rotate()
        current = visitor.fresh()

        def rotate() -> None:
            arm(site.name)
            world.rotate()

        assert run_child(rotate).was_killed
        # What is left to do once the new key counts is to erase the one that it drove out.
        is_published = "SHARED_CLEAR" in site.key
        assert visitor.comes(current)
        assert before is None or visitor.comes(before) == (not is_published)
        # The next supervisor goes on from there.
        old, late = visitor.fresh(), visitor.fresh()
        world.rotate()
        assert visitor.comes(late)
        world.rotate()
        assert visitor.comes(late)
        assert not visitor.comes(old)


@pytest.mark.parametrize("number", range(SITES_COUNT))
def test_who_reads_meanwhile_finds_whole_keys(server_pair: Pair, number: int) -> None:
    site = SITES[number]
    with World() as world:
        world.rotate()
        visitor = Visitor(world, server_pair)
        before = visitor.fresh()
        world.rotate()
        current = visitor.fresh()
        gate = Gate()

        def rotate() -> None:
            gate.arm(site.name)
            world.rotate()

        thread = Thread(target=rotate)
        thread.start()
        gate.wait()
        is_published = "SHARED_CLEAR" in site.key
        assert visitor.comes(current)
        assert visitor.comes(before) == (not is_published)
        gate.open()
        thread.join()
        assert visitor.comes(current)
        assert visitor.comes(before)
        assert world.count("tls_tickets_unreadable") == int(is_published)
