"""The handle classes: what they pass on and what they give back."""

import pytest

from pymc.core.arena import LIVE_NAMES, Arena, Role
from pymc.core.errors import BusyError, InvalidArgumentError
from pymc.core.maintain import Crawl, Dump, DumpKind, SizeCount, begin_move
from pymc.core.snapshots import read_class, read_index, read_slab
from pymc.core.store import Outcome, Store
from tests.support.inprocess import in_process


def test_live_settings_by_name() -> None:
    with in_process() as server:
        arena = server.context.arena
        for name in LIVE_NAMES:
            arena.set_live(name, 7)
            assert arena.live(name) == 7
        with pytest.raises(KeyError):
            arena.live("nothing")


def test_bad_options_are_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        Arena.create(1 << 30, 0)


def test_a_slot_has_one_owner() -> None:
    with in_process() as server:
        arena = server.context.arena
        with Store(arena, 1, Role.KEEPER) as other:
            owner = arena.slot_owner(1)
            assert (owner.role, owner.generation) == (Role.KEEPER, 1)
            with pytest.raises(BusyError):
                Store(arena, 1, Role.KEEPER)
            other.count("lru_crawler_starts", 3)
            assert server.store.counters()["lru_crawler_starts"] == 3
            assert arena.counters(1)["lru_crawler_starts"] == 3
        assert arena.slot_owner(1).pid == 0
        other.close()


def test_store_and_read() -> None:
    with in_process() as server:
        assert server.store.put(b"k", b"value", flags=3) is Outcome.STORED
        assert server.store.read(b"k") == b"value"
        assert server.store.read(b"other") is None
        assert server.store.counters()["items"] == 1
        assert server.store.class_counters(1)["cmd_set"] == 1
        server.store.reset_counters()
        assert server.store.class_counters(1)["cmd_set"] == 0
        assert server.store.check() == 1


def test_walks_see_each_item_once() -> None:
    with in_process() as server:
        server.fill("k", 100, 10)
        dump, lines = Dump(server.store, DumpKind.MG), b""
        while not dump.is_complete:
            lines += dump.step(7)
        assert len(set(lines.split(b"\r\n"))) == 101
        counting = SizeCount(server.store, 64)
        while counting.step(9):
            pass
        assert sum(counting.counts.values()) == 100


def test_crawl_frees_what_expired() -> None:
    with in_process() as server:
        now = server.context.arena.seconds()
        server.fill("dead", 50, 10, expiry_seconds=now + 1)
        server.fill("alive", 50, 10)
        server.store.set_now(now + 2)
        crawl = Crawl(server.store)
        while crawl.step(10):
            pass
        assert (crawl.items_seen, crawl.items_reclaimed) == (100, 50)
        assert server.store.check() == 50


def test_a_page_moves_and_keeps_its_items() -> None:
    with in_process() as server:
        server.fill("k", 10, 10)
        class_id = next(i for i in range(1, 9) if read_class(server.store, i).pages)
        move = begin_move(server.store, class_id, 20)
        assert move is not None
        while not move.step(4096):
            assert move.passes < 10
            server.store.turn()
        assert read_class(server.store, 20).pages == 1
        assert server.store.counters()["slabs_moved"] == 1
        assert server.store.check() == 10
        assert begin_move(server.store, 30, 0) is None


def test_index_takes_part_of_the_limit() -> None:
    with in_process(["-o", "hashpower=12"]) as server:
        index = read_index(server.store)
        assert index.buckets == 512
        assert read_slab(server.store).pages_limit == 64
