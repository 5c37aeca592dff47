"""Paths that a predecessor took out: the keeper finishes what it may have died in."""

from pathlib import Path

from pymc.core.arena import Role
from pymc.core.flash import Flash
from pymc.core.store import Store
from pymc.core.writeout import FlashPages
from pymc.keeper.flash_health import Health
from tests.unit.inprocess import in_process


class Recorder(FlashPages):
    """Pages of which only the calls to take a path out are of interest."""

    def __init__(self, store: Store, flash: Flash) -> None:
        super().__init__(store, flash)
        self.taken_out: list[int] = []

    def take_out(self, path: int) -> None:
        self.taken_out.append(path)
        super().take_out(path)


def test_a_path_that_was_going_out_is_taken_out_again(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    options = "ext_page_size=2,ext_wbuf_size=2," + ",".join(
        f"ext_path={tmp_path}/{name}:4m" for name in ("a", "b")
    )
    with in_process(["-m", "16", "-o", options]) as server:
        context, flash = server.context, server.context.flash
        assert flash is not None
        with Store(context.arena, context.keeper_slot, Role.KEEPER, flash) as store:
            pages = Recorder(store, flash)
            assert Health(context, flash, pages).is_any_left
            assert pages.taken_out == []
            pages.take_out(1)
            assert Health(context, flash, pages).is_any_left
            assert pages.taken_out == [1, 1]


def test_a_look_each_second(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    options = f"ext_page_size=2,ext_wbuf_size=2,ext_path={tmp_path}/a:4m"
    with in_process(["-m", "16", "-o", options]) as server:
        context, flash = server.context, server.context.flash
        assert flash is not None
        with Store(context.arena, context.keeper_slot, Role.KEEPER, flash) as store:
            health = Health(context, flash, Recorder(store, flash))
            assert [health.look() for _ in range(3)] == [1.0] * 3
            assert health.is_any_left
