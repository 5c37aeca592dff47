"""Tries small changes of one room and prints those that no test of it notices: `make mutate`.

    make mutate ROOM=space [SEED=1] [SECONDS=600] [ARGS="--file evict --kind dropped"]

Changes are drawn by the seed and tried one by one in a copy of the tree (build/mutate), with the
debug build and the room's own tests (scripts/mutation_rooms.py), quick ones first. Tests that do
not come to an end count as having noticed, and are counted apart. What survives is not always a
fault of the tests: some changes mean the same.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from scripts.mutation_rooms import Room, UnknownRoomError, room_named
from scripts.mutation_tree import Outcome, Tree, TreeError, Verdict
from scripts.mutations import Mutation, mutations_of

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 600


class Run:
    """One run: what it tries, for how long, and what came of it."""

    def __init__(
        self,
        folder: Path,
        try_out: Callable[[], Outcome],
        *,
        seconds: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._try_out, self._say = folder, try_out, say
        self._clock, self._end = clock, clock() + seconds
        self.verdicts: Counter[Verdict] = Counter()

    def try_all(self, mutations: list[Mutation], *, is_verbose: bool) -> None:
        """Tries one after the other until the time is over; the copy is as before after each."""
        for mutation in mutations:
            if self._clock() >= self._end:
                return
            outcome = self._try(mutation)
            self.verdicts[outcome.verdict] += 1
            if outcome.verdict is Verdict.SURVIVED or is_verbose:
                self._say(
                    f"{outcome.verdict.value}: {mutation.path}:{mutation.line}: {mutation.what}"
                    f"  ({outcome.told}, {outcome.seconds:.0f} s)"
                )

    def _try(self, mutation: Mutation) -> Outcome:
        path = self._folder / mutation.path
        text = path.read_text()
        path.write_text(mutation.applied(text))
        try:
            return self._try_out()
        finally:
            path.write_text(text)


def drawn(room: Room, root: Path, seed: int, file: str, kind: str) -> list[Mutation]:
    """The room's changes in the order that the seed gives them."""
    found = [
        mutation
        for path in room.files
        if file in path
        for mutation in mutations_of(path, (root / path).read_text())
        if kind in mutation.what
    ]
    random.Random(seed).shuffle(found)
    return found


def summary(verdicts: Counter[Verdict], known: int, seconds: float) -> str:
    """The last line: how many were tried, and what became of them."""
    tried = sum(verdicts.values()) - verdicts[Verdict.INVALID]
    killed = verdicts[Verdict.KILLED] + verdicts[Verdict.TIMED_OUT]
    return (
        f"{tried} of {known} changes tried in {seconds:.0f} s: {killed} noticed"
        f" ({verdicts[Verdict.TIMED_OUT]} by tests that came to no end),"
        f" {verdicts[Verdict.SURVIVED]} survived; {verdicts[Verdict.INVALID]} did not build"
    )


def main() -> int:
    """Runs what the command line asks for; survivors are printed, and are no failure."""
    parser = argparse.ArgumentParser(description="Which changes of a room do its tests not notice?")
    parser.add_argument("room", help="a folder of csrc or of pymc")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--file", default="", help="only files whose path has this in it")
    parser.add_argument("--kind", default="", help='only changes with these words: "is dropped"')
    parser.add_argument("--verbose", action="store_true", help="say what noticed each change")
    options = parser.parse_args()
    started = time.monotonic()
    folder = ROOT / "build" / "mutate" / "tree"
    try:
        room = room_named(ROOT, options.room)
        tree = Tree(ROOT, folder, room.tests, is_c=room.is_c)
        needed_seconds = tree.prepare()
    except (UnknownRoomError, TreeError) as error:
        print(error, file=sys.stderr)
        return 1
    mutations = drawn(room, ROOT, options.seed, options.file, options.kind)
    print(f"room {room.name}, seed {options.seed}: {len(mutations)} changes are known;")
    print(f"run for each: {' '.join(room.tests)} ({needed_seconds:.0f} s without a change)")
    left = options.seconds - (time.monotonic() - started)

    def say(line: str) -> None:
        print(line, flush=True)

    run = Run(folder, tree.try_out, seconds=left, say=say)
    run.try_all(mutations, is_verbose=options.verbose)
    print(summary(run.verdicts, len(mutations), time.monotonic() - started))
    return 0


if __name__ == "__main__":
    sys.exit(main())
