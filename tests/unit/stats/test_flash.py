"""extstore's keys in `stats` and `stats extstore`, and what pymc adds to them."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pymc.core.arena import Role
from pymc.core.flash import Flash, Full, Why
from pymc.core.flash_paths import FlashPaths
from pymc.core.store import Store
from pymc.core.writeout import FlashPages
from pymc.stats.flash import items_on_flash_only
from tests.support.inprocess import InProcess, in_process
from tests.support.programs import Program
from tests.support.server import Server
from tests.support.stats_keys import PROXY, keys

FLASH = "ext_page_size=4,ext_wbuf_size=2,ext_path={}/flash:16m"


def flash_args(folder: Path) -> list[str]:
    folder.chmod(0o777)
    return ["-o", FLASH.format(folder)]


def test_keys_are_extstores(newest_oracle: Program, tmp_path: Path) -> None:
    args = flash_args(tmp_path)
    with Server(newest_oracle, args) as memcached, memcached.connect() as connection:
        theirs = [key for key in connection.stats() if not PROXY.match(key)]
        pages = list(connection.stats("extstore"))
    with in_process(args) as server:
        assert keys(server.ask("stats")) == theirs
        assert keys(server.ask("stats extstore"))[: len(pages)] == pages


def test_an_empty_tier(tmp_path: Path) -> None:
    with in_process(flash_args(tmp_path)) as server:
        server.fill("k", 3, 100)
        stats = dict(
            line.split(" ", 2)[1:] for line in server.ask("stats").decode().splitlines()[:-1]
        )
        assert (stats["extstore_pages_free"], stats["extstore_pages_used"]) == ("4", "0")
        assert stats["extstore_limit_maxbytes"] == str(16 << 20)
        assert stats["curr_items"] == "3"
        own = dict(
            line.split(" ", 2)[1:]
            for line in server.ask("stats extstore").decode().splitlines()[:-1]
        )
        assert own["path_0"] == f"{tmp_path}/flash"
        assert (own["path_0_out"], own["index_entries"], own["0:version"]) == ("0", "0", "0")
        assert not [key for key in own if re.search(r"_us_\d", key)]
        standing = [own[f"path_0_state{rest}"] for rest in ("", "_why")]
        assert standing == ["in", "ok"]


def test_how_paths_stand(tmp_path: Path) -> None:
    def shown(server: InProcess) -> tuple[str, str, str]:
        own = dict(
            line.split(" ", 2)[1:]
            for line in server.ask("stats extstore").decode().splitlines()[:-1]
        )
        return own["path_0_state"], own["path_0_state_why"], own["path_0_state_seconds"]

    with in_process(flash_args(tmp_path)) as server:
        context, flash = server.context, server.context.flash
        assert flash is not None
        now = context.arena.seconds()
        context.arena.freeze_clock(now)
        with Store(context.arena, context.keeper_slot, Role.KEEPER, flash) as store:
            steps = FlashPaths(store, flash)
            steps.set_full(0, Full.NEW)
            steps.note(0, Why.NO_ROOM)
            context.arena.freeze_clock(now + 7)
            assert shown(server) == ("full", "its file system is full", "7")
            flash.set_late(0, is_late=True)
            steps.note(0, Why.LATE_WRITE)
            assert shown(server) == ("late", "a write is not answered", "0")
            FlashPages(store, flash).take_out(0)
            steps.note(0, Why.CHECKSUMS)
            assert shown(server) == ("out", "too many checksums are wrong", "0")


def test_items_only_on_flash_are_current_items(tmp_path: Path) -> None:
    with in_process(flash_args(tmp_path)) as server:
        server.fill("k", 3, 100)
        server.store.count("items_with_copy", 2)
        # More copies than entries: an instant between two counts, not fewer items.
        assert b"STAT curr_items 3\r\n" in server.ask("stats")


@pytest.mark.parametrize(("marks", "only_on_flash"), [(0, 5), (2, 3), (-2, 5), (9, 2), (99, 2)])
def test_marks_that_deaths_left_do_not_leave_their_bounds(
    tmp_path: Path, marks: int, only_on_flash: int
) -> None:
    with in_process(flash_args(tmp_path)) as server:
        server.fill("k", 3, 100)
        server.store.count("items_with_copy", marks % (1 << 64))
        counters = server.store.counters()
        with_entries = cast(Flash, SimpleNamespace(index_entries=5, flushed_entries=0))
        assert items_on_flash_only(with_entries, counters) == only_on_flash
        with_fewer = cast(Flash, SimpleNamespace(index_entries=1, flushed_entries=0))
        assert items_on_flash_only(with_fewer, counters) == max(only_on_flash - 4, 0)


def test_without_a_tier_nothing_changes() -> None:
    with in_process() as server:
        assert server.ask("stats extstore") == b"END\r\n"
        assert b"extstore" not in server.ask("stats")
        assert b"ext_read_engine" not in server.ask("stats settings")


def test_settings_name_the_engine(tmp_path: Path) -> None:
    with in_process(flash_args(tmp_path)) as server:
        assert b"STAT ext_read_engine none\r\nEND\r\n" in server.ask("stats settings")
