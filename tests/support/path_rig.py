"""Two paths and the keeper's health of them, with fake time, counts and threads."""

from collections.abc import Callable
from typing import Any

from pymc.core.flash import Flash, Full, PageState, PathInfo, Why
from pymc.core.flash_paths import FlashPaths, Probed
from pymc.core.store import Store
from pymc.core.writeout import FlashPages
from pymc.keeper.flash_health import Health
from pymc.record import replace
from pymc.stats.flash import path_state

# Lines of the log since the last call.
Said = Callable[[], list[str]]


class Recorder(FlashPages):
    """Pages of which only the calls to take a path out are of interest."""

    def __init__(self, store: Store, flash: Flash) -> None:
        super().__init__(store, flash)
        self.taken_out: list[int] = []

    def take_out(self, path: int) -> None:
        self.taken_out.append(path)
        super().take_out(path)


class SeenFlash:
    """The tier with counts that nobody counted, and with room that its file system has not."""

    def __init__(self, flash: Flash) -> None:
        self.flash = flash
        self.path_count = flash.path_count
        names = (
            *("reads", "read_errors", "bad_records", "slow_reads"),
            *("write_errors", "full_writes"),
        )
        self.more = [dict.fromkeys(names, 0) for _ in range(2)]
        self.full = [Full.NO, Full.NO]

    def set_full(self, path: int, full: Full) -> None:
        self.full[path] = full

    def set_late(self, number: int, *, is_late: bool) -> bool:
        return self.flash.set_late(number, is_late=is_late)

    def path(self, number: int) -> PathInfo:
        info = self.flash.path(number)
        counts = {name: getattr(info, name) + count for name, count in self.more[number].items()}
        return replace(info, full=self.full[number], **counts)


class Threads:
    """Jobs that end when the test says so, after as long as it says."""

    def __init__(self) -> None:
        self.jobs: list[tuple[int, Callable[[], Any], Callable[[Any], None]]] = []
        self.late = 0.0

    def submit(self, path: int, work: Callable[[], Any], finish: Callable[[Any], None]) -> None:
        self.jobs.append((path, work, finish))

    def pending(self, path: int) -> int:
        return sum(1 for job in self.jobs if job[0] == path)

    def late_seconds(self, path: int) -> float:
        return self.late if self.pending(path) else 0.0

    def end(self, seconds: float = 0.0, error: int | None = None) -> None:
        _path, work, finish = self.jobs.pop(0)
        probed = work()
        assert isinstance(probed, Probed)
        finish(Probed(probed.error if error is None else error, seconds))


class Rig:
    """Two paths, and the health of them."""

    def __init__(self, context: Any, store: Store, flash: Flash) -> None:
        self.context, self.store, self.flash = context, store, flash
        self.seen = SeenFlash(flash)
        self.pages = Recorder(store, flash)
        self.steps = FlashPaths(store, flash)
        self.writers, self.readers = Threads(), Threads()
        self.now = 1000.0
        self.health = self.successor()

    def successor(self) -> Health:
        return Health(
            self.context,
            self.seen,  # type: ignore[arg-type]
            self.pages,
            self.steps,
            self.writers,  # type: ignore[arg-type]
            self.readers,  # type: ignore[arg-type]
            lambda: self.now,
        )

    def look(self, seconds: float = 1.0) -> None:
        self.now += seconds
        assert self.health.look() == 1.0

    def state(self, number: int) -> tuple[str, Why]:
        info = self.seen.path(number)
        return path_state(info), info.why

    def page_states(self, number: int) -> set[PageState]:
        return {page.state for page in self.flash.pages() if page.path == number}
