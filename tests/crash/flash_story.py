"""Stories of a cache with a flash tier: worker and keeper, client and device."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from tests.crash.flash_rig import ROOMY, SURVIVOR, TIGHT, VICTIM, Plan, Rig, work
from tests.crash.flash_verify import judge
from tests.crash.site_cases import Begin
from tests.support.core.flash_cache import Log

_OPERATIONS = 700
_RUSH = 2400


class _Tier(Rig):
    """A rig whose files nobody needs any more when it is closed."""

    def close(self) -> None:
        super().close()
        for file in self.files:
            file.unlink(missing_ok=True)
        self.files[0].parent.rmdir()


@dataclass(frozen=True)
class FlashStory:
    """A plan, and the log that it fills."""

    name: str
    log: Log
    rush: int = 0
    operations_per_step: int = 15

    def make(self) -> Rig:
        rig = _Tier(Path(mkdtemp(prefix="pymc-tier-")), self.log)
        rig.may_drop = self._drops
        return rig

    @property
    def _drops(self) -> bool:
        return self.log is TIGHT

    def _plan(self, seed: int) -> Plan:
        return Plan(seed, operations_per_step=self.operations_per_step, rush=self.rush)

    @property
    def _count(self) -> int:
        return _OPERATIONS + 2 * self.rush

    def live(self, rig: Rig, seed: int, begin: Begin) -> None:
        """Commands with the keeper's steps between them; at the end a device goes and returns."""
        begin(0)
        rig.enter(VICTIM)
        work(rig, self._plan(seed), self._count, begin)
        begin(self._count + 1)
        rig.take_out_path(1)
        begin(self._count + 2)
        rig.bring_in_path(1)
        begin(self._count + 3)

    def take_over(self, rig: Rig, slot: int, seed: int, begun: int) -> Rig:
        """Takes the dead keeper's slot and the dead worker's; another slot is of no use here."""
        rig.enter(SURVIVOR)
        rig.cache.open(VICTIM).close()
        return rig

    def judge(self, rig: Rig, taken: Rig, seed: int, begun: int) -> None:
        """A device that is taken out takes all with it that only it has."""
        is_complete = not self._drops and begun <= self._count
        judge(taken, self._plan(seed), min(begun, self._count), 1 if is_complete else None)


FLASH_STORIES = (
    FlashStory("tier", ROOMY),
    FlashStory("tier that grows", ROOMY, rush=_RUSH, operations_per_step=150),
    FlashStory("tier that drops", TIGHT),
)
