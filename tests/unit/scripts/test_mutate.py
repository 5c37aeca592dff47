"""The mutation run: bounded, the same for a seed, and the copy is afterwards what it was."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from scripts import mutation_tree
from scripts.mutate import Run, drawn, summary
from scripts.mutation_rooms import Room, UnknownRoomError, room_named
from scripts.mutation_tree import Outcome, Tree, TreeError, Verdict
from scripts.mutations import mutations_of
from tests.support.deadline import wait_until
from tests.support.programs import ROOT

TEXT = "def is_small(a):\n    return a < 10\n\n\ndef is_odd(a):\n    return a & 1\n"
FILE = "pymc/sizes/sizes.py"
ROOM = Room("sizes", False, (FILE,), ("tests/unit/sizes",))
# Notices every change of is_small() but the one of its bound, and none of is_odd().
TEST = """import sys
sys.path.insert(0, ".")
from pymc.sizes.sizes import is_small

def test_small():
    assert is_small(9) and not is_small(11)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text(TEXT)
    return tmp_path


def is_running(pid: str) -> bool:
    """Whether the process is there; a zombie is nobody that runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def outcome(verdict: Verdict) -> Outcome:
    return Outcome(verdict, "3 tests", 1.0)


def test_survivors_are_said_and_the_text_is_restored(folder: Path) -> None:
    said: list[str] = []
    seen: list[str] = []

    def try_out() -> Outcome:
        seen.append((folder / FILE).read_text())
        return outcome(Verdict.SURVIVED if "<=" in seen[-1] else Verdict.KILLED)

    run = Run(folder, try_out, seconds=10, say=said.append, clock=lambda: 0.0)
    mutations = drawn(ROOM, folder, seed=1, file="", kind="")
    run.try_all(mutations, is_verbose=False)
    assert said == [f"survived: {FILE}:2: < becomes <=  (3 tests, 1 s)"]
    assert sorted(seen) == sorted(one.applied(TEXT) for one in mutations_of(FILE, TEXT))
    assert TEXT not in seen
    assert (folder / FILE).read_text() == TEXT
    assert run.verdicts == Counter({Verdict.SURVIVED: 1, Verdict.KILLED: len(seen) - 1})


def test_the_text_is_restored_when_a_run_is_broken_off(folder: Path) -> None:
    def try_out() -> Outcome:
        raise KeyboardInterrupt

    run = Run(folder, try_out, seconds=10, say=print, clock=lambda: 0.0)
    with pytest.raises(KeyboardInterrupt):
        run.try_all(drawn(ROOM, folder, 1, "", ""), is_verbose=False)
    assert (folder / FILE).read_text() == TEXT


def test_it_ends_in_time(folder: Path) -> None:
    now = [0.0]

    def try_out() -> Outcome:
        now[0] += 4
        return outcome(Verdict.KILLED)

    run = Run(folder, try_out, seconds=7, say=print, clock=lambda: now[0])
    mutations = drawn(ROOM, folder, 1, "", "")
    assert len(mutations) > 2
    run.try_all(mutations, is_verbose=False)
    assert run.verdicts[Verdict.KILLED] == 2


def test_a_seed_draws_the_same_again(folder: Path) -> None:
    (folder / FILE).write_text(TEXT * 5)
    first = drawn(ROOM, folder, 3, "", "")
    random.seed(99)
    assert drawn(ROOM, folder, 3, "", "") == first != drawn(ROOM, folder, 4, "", "")
    assert {one.what for one in drawn(ROOM, folder, 3, "", "becomes <=")} == {"< becomes <="}
    assert drawn(ROOM, folder, 3, "other", "") == []


def test_the_summary_counts_what_came_to_no_end() -> None:
    verdicts = Counter(
        {Verdict.KILLED: 5, Verdict.TIMED_OUT: 2, Verdict.SURVIVED: 3, Verdict.INVALID: 4}
    )
    assert summary(verdicts, 99, 60.0) == (
        "10 of 99 changes tried in 60 s: 7 noticed (2 by tests that came to no end), 3 survived;"
        " 4 did not build"
    )


@pytest.mark.parametrize("name", ["nowhere", "..", "pymc"])
def test_what_is_no_room(name: str) -> None:
    with pytest.raises(UnknownRoomError):
        room_named(ROOT, name)


def test_every_room_has_tests() -> None:
    """Each folder of csrc and pymc; rooms of which nothing stands yet have none."""
    folders = [path.parent for path in ROOT.glob("csrc/*/*.c")]
    folders += [path.parent for path in ROOT.glob("pymc/*/__init__.py")]
    for name in sorted({path.name for path in folders}):
        room = room_named(ROOT, name)
        assert room.files
        assert all((ROOT / test).exists() for test in room.tests)


@pytest.fixture
def tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A repository of one file and one test, and its copy in a folder beside."""
    root = folder / "root"
    texts = {FILE: TEXT, "tests/unit/sizes/test_sizes.py": TEST, "pymc/__init__.py": ""}
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    monkeypatch.setattr(
        mutation_tree,
        "tracked_files",
        lambda root: [str(p.relative_to(root)) for p in root.rglob("*.py")],
    )
    made = Tree(root, folder / "build" / "tree", ROOM.tests, is_c=False)
    monkeypatch.setattr(made, "build", lambda: "")
    return made


@pytest.mark.slow
def test_changes_are_tried_in_the_copy(tree: Tree, folder: Path) -> None:
    assert tree.prepare() > 0
    copy = tree.folder / FILE
    for text, verdict in ((TEXT, Verdict.SURVIVED), (TEXT.replace("<", ">"), Verdict.KILLED)):
        copy.write_text(text)
        found = tree.try_out()
        assert found.verdict is verdict
    assert "test_small" in found.told
    copy.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n")
    assert tree.try_out().verdict is Verdict.KILLED
    # The tree was not touched, and the copy is its like again.
    assert (folder / "root" / FILE).read_text() == TEXT
    tree.copy()
    assert copy.read_text() == TEXT


@pytest.mark.slow
def test_tests_without_an_end_are_ended(
    tree: Tree, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.prepare()
    pids = folder / "pids"
    monkeypatch.setattr(tree, "_limits", [5.0])
    (tree.folder / FILE).write_text(
        "import os, signal\n"
        "os.fork()\n"
        f"with open({str(pids)!r}, 'a') as out:\n"
        "    out.write(f'{os.getpid()}\\n')\n"
        "while True:\n"
        "    signal.pause()\n"
    )
    assert tree.try_out().verdict is Verdict.TIMED_OUT
    wait_until(
        lambda: not any(is_running(pid) for pid in pids.read_text().split()), "the ends of both"
    )


@pytest.mark.slow
def test_a_tree_whose_tests_fail_is_not_tried(tree: Tree, folder: Path) -> None:
    (folder / "root" / FILE).write_text(TEXT.replace("<", ">"))
    with pytest.raises(TreeError, match="test_small"):
        tree.prepare()


def test_files_that_are_gone_leave_the_copy(tree: Tree, folder: Path) -> None:
    tree.copy()
    before = os.stat(tree.folder / FILE).st_mtime_ns
    other = tree.folder / "pymc" / "sizes" / "other.py"
    other.write_text("")
    tree.copy()
    assert not other.exists()
    # What is equal keeps its time, so that nothing is compiled without need.
    assert os.stat(tree.folder / FILE).st_mtime_ns == before
