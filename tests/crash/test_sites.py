"""Dies before every store to shared memory that a story reaches, and at every one of the repair.

The sites are made by the macros that store (base/shared_inline.h), so nobody has to think of them.
SEED= picks other later times and pairs; LONG=1 tries every site in every story.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import pytest

from tests.crash.flash_story import FLASH_STORIES
from tests.crash.site_cases import (
    Case,
    Outcome,
    Story,
    Telling,
    deaths,
    deaths_of_repairers,
    run_all,
    tell,
)
from tests.crash.store_story import STORE_STORIES
from tests.crash.unreached_sites import UNREACHED
from tests.crash.watch_story import WatchStory
from tests.support.sites import all_sites, arm

pytestmark = [
    pytest.mark.debug,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

STORIES: tuple[Story, ...] = (*STORE_STORIES, *FLASH_STORIES, WatchStory())
NAMES = [story.name for story in STORIES]
# Each test runs one part of a story's cases, so that none takes long.
PARTS = 4


@dataclass
class Study:
    """All that was tried in this run, each thing once."""

    seed: int
    outcomes: dict[tuple[str, int], list[Outcome]] = field(default_factory=dict)

    @cached_property
    def tellings(self) -> dict[str, Telling]:
        return {story.name: tell(story, self.seed) for story in STORIES}

    @cached_property
    def best(self) -> dict[int, str]:
        """For each site the story that comes there first."""
        found: dict[int, tuple[int, str]] = {}
        for name, telling in self.tellings.items():
            for site, operation in telling.first_operation.items():
                found[site] = min(found.get(site, (operation, name)), (operation, name))
        return {site: name for site, (_, name) in found.items()}

    def cases_of(self, name: str) -> list[Case]:
        """A death before each of the story's sites, and a later one."""
        sites = [site for site, best in self.best.items() if best == name]
        return deaths(STORIES[NAMES.index(name)], self.seed, self.tellings[name], sites)

    def deaths_in(self, name: str, part: int) -> list[Outcome]:
        """What became of some of these cases."""
        if (name, part) not in self.outcomes:
            cases = self.cases_of(name)[part::PARTS]
            self.outcomes[name, part] = list(run_all(cases))
        return self.outcomes[name, part]

    def all_deaths(self) -> list[Outcome]:
        parts = [self.deaths_in(name, part) for name in NAMES for part in range(PARTS)]
        return [outcome for outcomes in parts for outcome in outcomes]

    def reached(self) -> set[int]:
        """The sites before which somebody died, or that a repair came by."""
        return set(self.best).union(*(one.repair_sites for one in self.all_deaths()))


@pytest.fixture(scope="module")
def study(request: pytest.FixtureRequest) -> Study:
    return Study(seed_of(request))


def seed_of(request: pytest.FixtureRequest) -> int:
    given = request.config.getoption("--hypothesis-seed", default=None)
    return int(given) if given and str(given).isdigit() else 1


def assert_no_fault(outcomes: list[Outcome]) -> None:
    faults = [one.fault for one in outcomes if one.fault]
    assert not faults, f"{len(faults)} of {len(outcomes)} cases:\n\n" + "\n\n".join(faults[:20])


def test_there_are_sites() -> None:
    assert len(all_sites()) > 500
    rooms = Counter(site.name.partition("/")[0] for site in all_sites())
    assert rooms["link"] > 100 and rooms["slab"] > 100 and rooms["table"] > 30, rooms


def test_each_site_can_be_armed() -> None:
    """A name means one place, or several expansions on one line."""
    assert len({site.name for site in all_sites()}) == len(all_sites())
    arm("store/store_write.c:1")
    arm("", 0)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_by_a_death(study: Study, name: str, part: int) -> None:
    """The first time and a later one, at each site of this story."""
    assert_no_fault(study.deaths_in(name, part))


@pytest.mark.parametrize("part", range(PARTS))
def test_a_repairer_may_die_too(study: Study, part: int) -> None:
    """At each site that a repair reached; then somebody else repairs both."""
    outcomes = [one for one in study.all_deaths() if not one.fault]
    assert_no_fault(list(run_all(deaths_of_repairers(outcomes, study.seed)[part::PARTS])))


def test_every_site_is_reached(study: Study) -> None:
    """But for those that stand in the list, with a reason; and all of these are needed."""
    reached = study.reached()
    unreached = [site for site in all_sites() if site.number not in reached]
    unknown = [site.key for site in unreached if not site.key.startswith(tuple(UNREACHED))]
    print(f"{len(all_sites())} sites, {len(reached)} reached")
    for site in unreached:
        print(f"not reached: {site.name} {site.key}")
    assert not unknown, "add a story, or a reason to unreached_sites.py:\n" + "\n".join(unknown)
    spare = [begin for begin in UNREACHED if not any(s.key.startswith(begin) for s in unreached)]
    assert not spare, f"reached by now, or gone: {spare}"


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", NAMES)
def test_every_site_of_every_story(study: Study, name: str) -> None:
    """All that a story reaches, with other seeds, and of who repairs more deaths each."""
    story = STORIES[NAMES.index(name)]
    outcomes: list[Outcome] = []
    for seed in (study.seed + 1, study.seed + 2):
        telling = tell(story, seed)
        cases: list[Case] = deaths(story, seed, telling, telling.hits)
        outcomes += run_all(cases)
    assert_no_fault(outcomes)
    assert_no_fault(list(run_all(deaths_of_repairers(outcomes, study.seed, 10))))
