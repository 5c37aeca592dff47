"""The keeper's line about a large index: when it is said, how often, and what `stats` shows."""

from pathlib import Path

import pytest

from pymc.keeper.flash_index_watch import IndexWatch
from pymc.policy.flash_index import WARN_AGAIN_SECONDS
from tests.support.inprocess import in_process

LINE = "index takes 100 % of memory: fewer, larger items or more -m"


def test_a_large_index_is_due_once_an_hour(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o777)
    options = f"ext_page_size=2,ext_wbuf_size=2,ext_path={tmp_path}/a:64m"
    with in_process(["-m", "64", "-o", options]) as server:
        arena, flash = server.context.arena, server.context.flash
        assert flash is not None
        times = [1000.0]
        watch = IndexWatch(arena, flash, lambda: times[-1])
        assert watch.look() == 1.0
        assert "index takes" not in capfd.readouterr().err
        said = server.ask("stats extstore").decode()
        assert "STAT index_memory_percent 0\r\n" in said and "index_advice" not in said

        # As much as if the index had grown.
        arena.set_live("memory_limit_bytes", flash.index_bytes)
        for passed in (0.0, 1.0, WARN_AGAIN_SECONDS - 1):
            times.append(1000.0 + passed)
            watch.look()
        assert capfd.readouterr().err == f"pymc: flash: {LINE}\n"
        said = server.ask("stats extstore").decode()
        assert f"STAT index_memory_percent 100\r\nSTAT index_advice {LINE}\r\n" in said
        times.append(1000.0 + WARN_AGAIN_SECONDS)
        watch.look()
        assert capfd.readouterr().err.count(LINE) == 1
