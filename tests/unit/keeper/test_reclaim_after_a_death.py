"""Reclaiming pages after a death between two stores: it costs no page, and the keeper has rest."""

import os
import signal
from pathlib import Path

import pytest

from pymc.core.arena import Role
from pymc.core.flash import PageState
from pymc.core.store import Store
from tests.support.inprocess import InProcess
from tests.support.keeper_tier import fill, tier, turn, until

pytestmark = pytest.mark.debug


def die_while_forgetting(server: InProcess, keys: list[bytes]) -> None:
    """Overwrites these until an entry is out of the index and not counted out of its page."""
    child = os.fork()
    if child == 0:
        context = server.context
        store = Store(context.arena, 1, Role.WORKER, context.flash)
        store.arm_fault("flash.index.remove.cleared")
        for key in keys:
            store.put(key, b"new")
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_a_page_that_counts_one_too_many_becomes_free(tmp_path: Path) -> None:
    with tier(tmp_path, more=",ext_compress=0") as (server, keeper):
        flash = server.context.flash
        assert flash is not None
        fill(server, keeper, 14000)
        until(
            keeper,
            lambda: any(page.state is PageState.FULL for page in flash.pages()),
            "a page is full",
        )
        keys = [b"k%d.%d" % (first, i) for first in range(0, 14000, 100) for i in range(100)]
        die_while_forgetting(server, keys)
        server.context.arena.shift_clock(10)
        server.store.set_now(server.context.arena.seconds())
        server.store.flush_all()
        resting = (PageState.FREE, PageState.OPEN)
        until(
            keeper,
            lambda: all(page.state in resting for page in flash.pages()),
            "all that was flushed is free",
        )
        assert keeper._tier is not None
        turn(keeper)
        assert not keeper._tier._reclaim._sweeping
