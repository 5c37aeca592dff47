"""A keeper with a flash tier, turned by the test, on a server without processes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pymc.core.arena import Role
from pymc.core.store import Store
from pymc.keeper.keeper import Keeper
from tests.support.deadline import wait_until
from tests.support.inprocess import InProcess, in_process

VALUE_BYTES = 2000


@contextmanager
def tier(
    folder: Path, flash_mb: int = 16, more: str = "", flags: Sequence[str] = ()
) -> Iterator[tuple[InProcess, Keeper]]:
    folder.chmod(0o777)
    options = f"ext_page_size=2,ext_wbuf_size=2,ext_path={folder}/flash:{flash_mb}m{more}"
    with in_process(["-m", "16", *flags, "-o", options]) as server:
        context = server.context
        with Store(context.arena, context.keeper_slot, Role.KEEPER, context.flash) as store:
            keeper = Keeper(context, store)
            try:
                yield server, keeper
            finally:
                assert keeper._tier is not None
                # Buffers and files must not go while they are written.
                keeper._tier.close()


def turn(keeper: Keeper) -> None:
    """One turn of the keeper's loop, without its rests."""
    assert keeper._tier is not None
    for name in keeper._tier.jobs:
        keeper._due[name] = 0.0
    keeper._tier._write_out._look_due = 0.0
    keeper._tier._writer._retry_at.clear()
    keeper._tier._write_out._class_due.clear()
    keeper._run_due_jobs()
    with suppress(BlockingIOError):
        keeper._finish_io(keeper._tier)


def until(keeper: Keeper, condition: Callable[[], bool], what: str) -> None:
    def check() -> bool:
        turn(keeper)
        return condition()

    wait_until(check, what, pause_seconds=0)


def fill(server: InProcess, keeper: Keeper, count: int, prefix: str = "k") -> None:
    """Stores items slowly enough for the keeper to keep up."""
    for first in range(0, count, 100):
        server.fill(f"{prefix}{first}.", 100, VALUE_BYTES)
        for _ in range(3):
            turn(keeper)
