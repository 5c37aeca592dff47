"""Deaths at one site each: who dies where, who repairs, and what must hold for who is left."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.support.children import Child, Journal, run_child
from tests.support.deadline import scaled
from tests.support.sites import Hits, all_sites, arm

SURVIVOR, VICTIM, REPAIRER = range(3)
# Two cores; each case is one process that waits for another.
JOBS = 2

Begin = Callable[[int], None]


class Story(Protocol):
    """A deterministic workload on shared memory that forked children use."""

    @property
    def name(self) -> str: ...

    def make(self) -> Any:
        """The memory; the parent does nothing else with it but to close() it."""

    def live(self, world: Any, seed: int, begin: Begin) -> None:
        """The whole workload, as the victim; `begin(n)` is told of each operation before it."""

    def take_over(self, world: Any, slot: int, seed: int, begun: int) -> Any:
        """Repairs after the dead and takes their slots; returns what judge() wants."""

    def judge(self, world: Any, taken: Any, seed: int, begun: int) -> None:
        """Checks everything, the operation `begun` having been under way, and uses it on."""


@dataclass(frozen=True)
class Telling:
    """What one undisturbed telling of a story came by: site number to first operation and hits."""

    first_operation: dict[int, int]
    hits: dict[int, int]


@dataclass(frozen=True)
class Case:
    """One death in a story, and if `repair_site` is there, one of who repairs after it."""

    story: Story
    seed: int
    site: int
    countdown: int
    repair_site: int = -1

    def __str__(self) -> str:
        sites = all_sites()
        then = f", then {sites[self.repair_site].name}" if self.repair_site >= 0 else ""
        where = f"{sites[self.site].name} x{self.countdown}{then}"
        return f"story {self.story.name}, seed {self.seed}: {where}\n  {sites[self.site].key}"


def tell(story: Story, seed: int) -> Telling:
    """Tells the story to its end in a child and notes what is reached."""
    hits, firsts = Hits(), Hits()

    world = story.make()

    def live() -> None:
        unseen = set(range(len(all_sites())))

        def begin(number: int) -> None:
            nonlocal unseen
            new = {site for site in unseen if hits.words[site]}
            unseen -= new
            for site in new:
                firsts.words[site] = number

        with hits.counting():
            story.live(world, seed, begin)

    end = run_child(live)
    world.close()
    assert end.is_fine, (story.name, end)
    counts = hits.reached()
    firsts_found = firsts.reached()
    last = max(firsts_found.values(), default=0)
    return Telling({site: firsts_found.get(site, last) for site in counts}, counts)


def run(case: Case, hits: Hits) -> None:
    """One case from beginning to end, `hits` counting what the last repair comes by."""
    story, seed, journal = case.story, case.seed, Journal()
    world = story.make()

    def begin(number: int) -> None:
        journal.begun = number

    def live() -> None:
        arm(all_sites()[case.site].name, case.countdown)
        story.live(world, seed, begin)

    def repair() -> None:
        arm(all_sites()[case.repair_site].name)
        story.take_over(world, REPAIRER, seed, journal.begun)

    def survive() -> None:
        with hits.counting():
            taken = story.take_over(world, SURVIVOR, seed, journal.begun)
        story.judge(world, taken, seed, journal.begun)

    try:
        end = run_child(live)
        assert end.was_killed, ("not reached", end)
        if case.repair_site >= 0:
            end = run_child(repair)
            assert end.was_killed, ("the repair does not come there", end)
        end = run_child(survive)
        assert end.is_fine, end
    finally:
        world.close()


@dataclass(frozen=True)
class Outcome:
    """What a case's repair came by, and what was wrong, "" for nothing."""

    case: Case
    repair_sites: frozenset[int]
    fault: str


def run_all(cases: Iterable[Case]) -> Iterator[Outcome]:
    """Runs the cases, JOBS at a time."""
    under_way: list[tuple[Case, Hits, Child]] = []
    for case in cases:
        if len(under_way) == JOBS:
            yield _outcome(*under_way.pop(0))
        hits = Hits()
        child = Child(lambda: run(case, hits), deadline_seconds=scaled(120))  # noqa: B023
        under_way.append((case, hits, child))
    for one in under_way:
        yield _outcome(*one)


def _outcome(case: Case, hits: Hits, child: Child) -> Outcome:
    end = child.wait()
    fault = "" if end.is_fine else f"{case}\n{end.text or end}"
    return Outcome(case, frozenset(hits.reached()), fault)


def deaths(story: Story, seed: int, telling: Telling, sites: Iterable[int]) -> list[Case]:
    """For each site its first time and a later one."""
    dice = random.Random(seed)
    cases = []
    for site in sorted(sites):
        cases.append(Case(story, seed, site, 1))
        if telling.hits[site] > 1:
            cases.append(Case(story, seed, site, dice.randint(2, telling.hits[site])))
    return cases


def deaths_of_repairers(outcomes: Sequence[Outcome], seed: int, most: int = 1) -> list[Case]:
    """For each site that repairs came by, the deaths of who repairs after some of those cases."""
    after: dict[int, list[Case]] = {}
    for outcome in outcomes:
        for site in outcome.repair_sites:
            after.setdefault(site, []).append(outcome.case)
    dice = random.Random(seed)
    pairs = []
    for site, cases in sorted(after.items()):
        # The first stories are the shorter ones.
        among = cases[: 10 * most]
        for case in dice.sample(among, min(most, len(among))):
            pairs.append(Case(case.story, case.seed, case.site, case.countdown, site))
    return pairs
