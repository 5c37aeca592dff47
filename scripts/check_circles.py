"""Checks that files of one C room call each other in one direction.

A circle of files can only be read as a whole. One that is to stay needs a line `- a.c, b.c: why` in
a section `Circles` of csrc/README.md; without the section none is allowed.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from scripts import check_c_rules

ROOT = Path(__file__).resolve().parent.parent

_CALL = re.compile(r"\b(\w+)\s*\(")
_ALLOWED = re.compile(r"^- ((?:[\w/]+\.c, )*[\w/]+\.c): .")


def room_of(path: str) -> str:
    """The room of a path below csrc, which is its first folder."""
    return path.partition("/")[0]


def call_graph(texts: Mapping[str, str]) -> dict[str, dict[str, set[str]]]:
    """Which functions a file calls in which others of its room; paths are relative to csrc."""
    home: dict[str, str] = {}
    for path, text in texts.items():
        for function in check_c_rules.functions(text):
            if not function.is_static:
                home[function.name] = path
    graph: dict[str, dict[str, set[str]]] = {path: {} for path in texts}
    for path, text in texts.items():
        for name in set(_CALL.findall(check_c_rules.blank(text))):
            target = home.get(name, path)
            if target != path and room_of(target) == room_of(path):
                graph[path].setdefault(target, set()).add(name)
    return graph


def circles(graph: Mapping[str, Mapping[str, set[str]]]) -> list[list[str]]:
    """Circles of files, one after the other: each is looked for without the calls of those before.

    A circle is named by its files in the order of the calls.
    """
    edges = {path: set(targets) for path, targets in graph.items()}
    found = []
    while True:
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            # graphlib names predecessors: reversed, each file calls the next.
            circle = list(reversed(error.args[1]))[:-1]
            found.append(circle)
            for path in circle:
                edges[path] -= set(circle)
        else:
            return found


def allowed(readme: str) -> list[set[str]]:
    """The sets of files whose calls may form a circle."""
    section = readme.partition("\n## Circles\n")[2].partition("\n## ")[0]
    matches = (_ALLOWED.match(line) for line in section.splitlines())
    return [set(match.group(1).split(", ")) for match in matches if match]


def violations(texts: Mapping[str, str], readme: str) -> list[str]:
    """What is wrong, one line for each circle that is not allowed and each that is no more."""
    graph = call_graph(texts)
    permitted = allowed(readme)
    found = []
    used: list[set[str]] = []
    for circle in circles(graph):
        names = set(circle)
        holder = next((files for files in permitted if names <= files), None)
        if holder is None:
            found.append(f"csrc/{circle[0]}:1: {_story(graph, circle)}")
        else:
            used.append(holder)
    for files in permitted:
        if files not in used:
            listed = ", ".join(sorted(files))
            found.append(f"csrc/README.md:1: {listed} are no circle any more: remove the line")
    return found


def _story(graph: Mapping[str, Mapping[str, set[str]]], circle: list[str]) -> str:
    steps = []
    for path, target in zip(circle, circle[1:] + circle[:1], strict=True):
        calls = sorted(graph[path].get(target, ()))
        steps.append(f"{path} calls {', '.join(calls[:3])} of {target}")
    return "a circle: " + "; ".join(steps)


def read_texts(csrc: Path) -> dict[str, str]:
    """Every C file of the rooms, by its path below csrc."""
    files: Iterable[Path] = sorted([*csrc.glob("*/*.c"), *csrc.glob("*/*/*.c")])
    return {str(file.relative_to(csrc)): file.read_text() for file in files}


def main() -> int:
    """Prints the violations; exits 1 if there are any."""
    csrc = ROOT / "csrc"
    found = violations(read_texts(csrc), (csrc / "README.md").read_text())
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
