"""What tests of the keeper's paths share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.arena import Role
from pymc.core.store import Store
from tests.support.inprocess import in_process
from tests.support.path_rig import Rig, Said


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    tmp_path.chmod(0o777)
    options = "ext_page_size=2,ext_wbuf_size=2," + ",".join(
        f"ext_path={tmp_path}/{name}:4m" for name in ("a", "b")
    )
    with in_process(["-m", "16", "-o", options]) as server:
        context, flash = server.context, server.context.flash
        assert flash is not None
        with Store(context.arena, context.keeper_slot, Role.KEEPER, flash) as store:
            yield Rig(context, store, flash)


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Said:
    """Lines since the last call, without what all of them begin with."""

    def read() -> list[str]:
        lines = capfd.readouterr().err.splitlines()
        return [line.removeprefix("pymc: flash: ").replace(f"{tmp_path}/", "") for line in lines]

    return read
