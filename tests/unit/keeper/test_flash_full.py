"""What the keeper does about a path whose file system is full. Time is fake."""

import errno

from pymc.core.flash import Full, PageState, Why
from pymc.core.flash_paths import Probed
from pymc.policy.path_recovery import FULL_QUIET_SECONDS, FULL_SECONDS
from tests.support.path_rig import Rig, Said


def test_a_full_file_system_is_tried_and_told_once(rig: Rig, said: Said) -> None:
    tried: list[tuple[float, int]] = []

    def find_page(path: int, state: PageState, *, without_blocks: bool = False) -> int:
        assert (path, state, without_blocks) == (0, PageState.FREE, True)
        return 2

    def probe_room(page: int) -> Probed:
        tried.append((rig.now, page))
        return Probed(errno.ENOSPC if len(tried) < 3 else 0, 0.1)

    rig.steps.find_page = find_page  # type: ignore[method-assign]
    rig.steps.probe_room = probe_room  # type: ignore[method-assign]
    rig.steps.set_full = rig.seen.set_full  # type: ignore[method-assign]
    rig.look()
    rig.seen.full[0] = Full.NEW
    for _ in range(4):
        rig.seen.more[0]["full_writes"] += 1
        rig.health.was_full(0)
    wanted = "a: its file system is full: only pages that have their blocks are written again;"
    assert said() == [f"{wanted} it is tried every {FULL_SECONDS:.0f} s"]
    # Writes that were refused are no errors, so it is not out.
    assert rig.state(0) == ("full", Why.NO_ROOM)
    assert rig.health.is_any_left
    for _ in range(3):
        while not rig.writers.jobs:
            rig.look()
        assert said() == []
        # One try at a time, however long it takes.
        rig.look(60)
        assert rig.writers.pending(0) == 1
        rig.writers.end()
    rig.look()
    assert rig.state(0) == ("in", Why.NONE)
    assert said() == ["a: has room again after 196 s and 4 writes that it had no room for"]
    assert [page for _, page in tried] == [2, 2, 2]


def test_pages_with_blocks_are_tried_when_no_other_is_free(rig: Rig) -> None:
    rig.steps.set_full = rig.seen.set_full  # type: ignore[method-assign]
    rig.seen.full[0] = Full.ALL
    rig.seen.more[0]["full_writes"] = 1
    rig.look()
    assert rig.seen.path(0).full is Full.ALL
    rig.look(FULL_SECONDS)
    assert rig.seen.path(0).full is Full.NEW
    # They are, and for so long that all is well again.
    for _ in range(int(FULL_QUIET_SECONDS - 2 * FULL_SECONDS)):
        rig.health.wrote(0, is_good=True)
        rig.look()
        assert rig.seen.path(0).full is Full.NEW
    for _ in range(int(2 * FULL_SECONDS)):
        rig.look()
    assert rig.state(0) == ("in", Why.NONE)
    assert rig.writers.jobs == []
