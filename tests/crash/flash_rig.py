"""A cache with a flash tier whose worker and keeper live, and die, in forked children."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pymc.core.ffi import ffi, lib
from tests.crash.plan import LIFETIME_SECONDS, Model, Operation, operations, value_of
from tests.support.core.driver import MIB, TINY_LADDER
from tests.support.core.flash_cache import Log
from tests.support.core.flash_keeper import ADMIT_COMPRESSED, FlashKeeper
from tests.support.core.flash_reads import Reads
from tests.support.core.shrinking import shrink_step
from tests.support.core.talk import Talk

KIB = 1 << 10
# Small enough for an index that begins with the fewest buckets.
ROOMY = Log(
    pages=14,
    page_bytes=64 * KIB,
    wbuf_bytes=32 * KIB,
    paths=2,
    kind=int(lib.FLASH_READER_THREADS),
    threads=1,
    avoid_direct=True,
)
# Pages are dropped all the time.
TIGHT = Log(
    pages=4,
    page_bytes=64 * KIB,
    wbuf_bytes=32 * KIB,
    paths=2,
    kind=int(lib.FLASH_READER_THREADS),
    threads=1,
    avoid_direct=True,
)
SURVIVOR, VICTIM, KEEPER = range(3)


@dataclass(frozen=True)
class Plan:
    """A workload: the same plan gives the same commands."""

    seed: int
    keys: int = 150
    operations_per_step: int = 15
    # So many keys are stored first, and most of them deleted: the index grows and thins out.
    rush: int = 0


_PLAYED = ("set", "large", "delete", "incr", "append", "touch", "get")
_KEEPER_STEPS = ("fill", "commit", "exile", "compact", "recopy", "shrink", "leave")


class Rig(FlashKeeper):
    """Made in the parent, which uses nothing of it; `enter()` it in a child."""

    def __init__(self, folder: Path, log: Log = ROOMY) -> None:
        super().__init__(folder, log, workers=2, limit_bytes=32 * MIB, chunk_bytes=TINY_LADDER)
        for handle in self.cache.handles:
            handle.close()
        self.cache.handles.clear()
        self.workers.clear()
        self.set_live("ext_recache_rate", 3)

    def enter(self, worker: int) -> None:
        """Opens the slots of a worker and of the keeper, and speaks as the worker's client."""
        self.keeper = self.cache.open(KEEPER, lib.PROC_KEEPER)
        handle = self.cache.open(worker)
        handle.reads = Reads(
            self.flash, handle.proc, kind=self.log.kind, depth=8, threads=1, memory_bytes=MIB
        )
        self.workers = [handle]
        self.set_now(100)
        self.talk = Talk(handle, values_max=64)

    def __enter__(self) -> "Rig":
        return self

    def arm(self, point: str, countdown: int) -> None:
        """Whichever of both roles comes there dies at the point."""
        lib.fault_arm(point.encode(), countdown, ffi.NULL, ffi.NULL)

    # A client

    def get(self, key: bytes) -> bytes | None:
        """The value, by `get`."""
        said = self.send(b"get " + key + b"\r\n")
        if said == b"END\r\n":
            return None
        head, _, rest = said.partition(b"\r\n")
        assert head.split()[1] == key, said[:100]
        size = int(head.split()[3])
        assert rest[size:] == b"\r\nEND\r\n", said[-100:]
        return rest[:size]

    def play(self, operation: Operation) -> None:
        """One command of the plan."""
        key, value, number = operation.key, operation.value, operation.number
        match operation.name:
            case "set" | "large":
                said = self.send(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
                assert said == b"STORED\r\n", said
            case "append":
                self.send(b"append %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
            case "delete":
                self.send(b"delete %s\r\n" % key)
            case "incr":
                self.send(b"incr %s %d\r\n" % (key, number))
            case "touch":
                self.send(b"touch %s %d\r\n" % (key, LIFETIME_SECONDS))
            case "get":
                self.get(key)
            case _:
                raise AssertionError(operation)

    # The keeper

    def keep(self, turn: int, dice: random.Random) -> None:
        """One step of the keeper's."""
        match _KEEPER_STEPS[turn % len(_KEEPER_STEPS)]:
            case "fill":
                self.fill()
            case "commit":
                self.commit(dice.choice((1, 100)))
            case "exile":
                self.exile(ADMIT_COMPRESSED)
            case "shrink":
                shrink_step(self.keeper, 1000)
            case "leave":
                self.fill()
                self.commit()
                if self.may_drop:
                    # Then some are marked that are on flash no more, and stay.
                    self.drop_page(self.in_use()[-1])
                self.leave()
            case "recopy":
                self.fill()
                self.fill()
                self.commit()
                # Nobody fills this one.
                self.begin(lib.FLASH_DEFAULT)
                self.commit()
            case "compact":
                self.compact(self.in_use()[0])
                self.sweep()

    def take_out_path(self, path: int) -> None:
        """As after too many errors."""
        self.commit()
        lib.flash_path_take_out(self.flash, self.keeper.proc, path)
        self.sweep()

    def bring_in_path(self, path: int) -> None:
        """As when it is well again, with all that was said of it in the meantime."""
        flash, proc = self.flash, self.keeper.proc
        for wanted in (lib.FLASH_WANTED_OUT, lib.FLASH_WANTED_JUDGED):
            lib.flash_path_want(flash, path, wanted)
        lib.flash_path_note(flash, path, lib.FLASH_WHY_HAND, 1)
        for is_late in (True, False):
            lib.flash_path_set_late(flash, path, is_late)
        lib.flash_path_close_pages(flash, proc, path)
        lib.flash_path_set_full(flash, path, lib.FLASH_NOT_FULL)
        for is_writing in (True, False):
            lib.flash_writing_note(flash, proc, path, is_writing)
        lib.flash_writing_forget(flash, SURVIVOR)
        lib.flash_path_bring_in(flash, proc, path)

    def sweep(self) -> int:
        """As the keeper's; after a death in the index a page may count one entry too many."""
        self.commit()
        draining = self.states(lib.FLASH_PAGE_DRAINING)
        sweep = ffi.new("struct flash_sweep *")
        while lib.flash_sweep_step(self.flash, self.keeper.proc, sweep, 16):
            pass
        for page in draining:
            assert self.pages()[page].objects <= 1
            lib.flash_page_free(self.flash, self.keeper.proc, page)
        return int(sweep.removed)

    def look(self) -> int:
        """Index and pages agree; how many entries there are. A death may leave a page one high."""
        entries = self.entries()
        counted = sum(int(row.objects) for row in self.pages())
        assert entries <= counted <= entries + 2, (entries, counted)
        return entries


def commands(plan: Plan) -> Iterator[Operation]:
    """The crash suite's plan without what only the store's own driver can do."""
    keys = [b"rush%d" % i for i in range(plan.rush)]
    yield from (Operation("set", key, value_of(key, 0, 100)) for key in keys)
    random.Random(plan.seed).shuffle(keys)
    yield from (Operation("delete", key) for key in keys[: plan.rush * 2 // 3])
    yield from (
        one for one in operations(plan.seed, keys=plan.keys, tides=False) if one.name in _PLAYED
    )


def allowed_values(plan: Plan, begun: int) -> tuple[Model, Model]:
    """Before and after the command that was under way at the end."""
    before, after = Model(), Model()
    for i, operation in enumerate(islice(commands(plan), begun), start=1):
        after.apply(operation)
        if i < begun:
            before.apply(operation)
    return before, after


def work(rig: Rig, plan: Plan, most: int, begin: Callable[[int], None]) -> None:
    """Commands, and the keeper's steps in between. `begin(n)` is told of each before it begins."""
    dice = random.Random(plan.seed)
    for i, operation in enumerate(islice(commands(plan), most), start=1):
        begin(i)
        rig.play(operation)
        if i % plan.operations_per_step == 0:
            rig.keep(i // plan.operations_per_step, dice)
