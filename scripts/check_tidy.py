"""Checks the house rules that no formatter, linter or compiler knows; `--map` prints the file map.

Exceptions stand in tests/tidy/ratchet.txt: a key (path or path::name) and the size it may have.
An entry that is larger than needed must be lowered, one that is not needed must go.
"""

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts import check_c_rules
from scripts.check_c_rules import Finding

ROOT = Path(__file__).resolve().parent.parent
RATCHET = "tests/tidy/ratchet.txt"
LINES_MAX = {".py": 400, ".c": 800, ".h": 800}
FUNCTION_LINES_MAX = 70
PURPOSE_CHARS_MIN = 12

# Written in pieces, so that this file does not break its own rule.
_BANNED = {
    "TO" + "DO": "write an issue instead",
    "FIX" + "ME": "write an issue instead",
    "X" + "XX": "write an issue instead",
    "hel" + "per": "name what it does",
    "/wo" + "rk/": "a path of one machine",
    "/tm" + "p/w/": "a path of one machine",
    "/ro" + "ot/": "a path of one machine",
    "py" + "pi.org": "no registry hosts",
    "debian" + ".org": "no registry hosts",
}
_BANNED_WORDS = re.compile("|".join(rf"(?<!\w){re.escape(word)}" for word in _BANNED))
_BANNED_NAMES = {"util", "utils", "hel" + "per", "hel" + "pers", "misc", "manager", "common"}
_SLEEPS = re.compile(r"\btime\.sleep\(|\basyncio\.sleep\((?!0\))|from time import .*\bsleep\b")
# A bare number where a test waits: a slow machine could not ask for more.
_UNSCALED = re.compile(
    r"\b((connect|socket)_)?(timeout|deadline)(_seconds)?(: (int|float) )?\s*=\s*[1-9]"
    r"|\.(settimeout|alarm|wait_exit)\([1-9]"
    r"|monotonic\(\)( - \w+ <| \+) [0-9]"
    r"|\b[A-Z_]*(LIMIT|ANSWER|WAIT|STOP|DEADLINE|GONE|PROMPT|HANG|RUN)_SECONDS = [0-9]"
)
_ENDS = re.compile(r"\.(?=\s|$)")
# How a test came about is for the history; its name says what it tests.
_CAME_ABOUT = re.compile(
    r"(^|_)(review|regressions?|mended|bugs?|fix(es|ed)?|more|extra|various|issues?\d*)(_|$)"
)
# Polling a condition needs a pause between two looks: in one place, and with a deadline.
_SLEEPS_ALLOWED = "tests/support/"


def tracked_files(root: Path) -> list[str]:
    """The files of the repository, new ones included, ignored ones not; paths from the root."""
    command = ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.check_output(command, text=True).splitlines()
    return sorted(path for path in set(listed) if (root / path).is_file())


def purpose(path: str, text: str) -> str:
    """What the first line of a file says it is for; "" when it says nothing."""
    lines = text.splitlines() or [""]
    if lines[0].startswith("#!"):
        lines = lines[1:] or [""]
    first = lines[0].strip()
    if path.endswith(".py"):
        docstring = re.match(r'r?"""(.+?)(""")?$', first)
        return docstring.group(1).strip() if docstring else ""
    marks = ("//", "/*") if path.endswith((".c", ".h", ".def")) else ("#", "<!--")
    if not first.startswith(marks):
        return ""
    return first.lstrip("/*#<!- ").removesuffix("*/").removesuffix("-->").strip()


def first_sentence(path: str, text: str) -> str:
    """What a file says it is for, as one sentence, also where that goes on in its second line."""
    said = purpose(path, text)
    lines = text.splitlines()[1:]
    if text.startswith("#!"):
        lines = lines[1:]
    mark = "" if path.endswith(".py") else "//" if path.endswith((".c", ".h", ".def")) else "#"
    mark = "*" if text.startswith("/*") else mark
    is_whole = path.endswith(".md") or '"""' in text.splitlines()[0][3:] if text else True
    for line in lines:
        rest = line.strip().removesuffix('"""').removesuffix("*/")
        if is_whole or _ENDS.search(said) or not rest.startswith(mark) or not rest.strip(mark):
            break
        said += " " + rest.removeprefix(mark).strip()
    return _ENDS.split(said)[0] + ("." if _ENDS.search(said) else "") if said else ""


def has_purpose_line(path: str) -> bool:
    """Tells whether the house asks this file to say what it is for."""
    name = path.rpartition("/")[2]
    if "/corpus/" in path or "/transcripts/" in path or path.startswith("bench/results/"):
        return False
    return name in ("Makefile", "LAYERS", "run", ".clang-format") or name.endswith(
        (".py", ".c", ".h", ".def", ".sh", ".toml", ".md", ".service")
    )


def check_purpose(path: str, text: str) -> Iterator[Finding]:
    """The first line of each file says what the file is for."""
    is_empty_package = path.endswith("/__init__.py") and not text.strip()
    if is_empty_package or not has_purpose_line(path):
        return
    if len(purpose(path, text)) < (3 if path.endswith(".md") else PURPOSE_CHARS_MIN):
        yield Finding(path, 1, "the first line must say what this file is for")


def check_words(path: str, text: str) -> Iterator[Finding]:
    """Words that have a better place or a better name."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _BANNED_WORDS.search(line):
            yield Finding(path, number, f"{found.group()}: {_BANNED[found.group()]}")
    if Path(path).stem in _BANNED_NAMES:
        yield Finding(path, 1, f"{Path(path).stem} says nothing: name the file after what it does")


def check_size(path: str, text: str) -> Iterator[Finding]:
    """Files that outgrow a reader."""
    lines = text.count("\n")
    limit = LINES_MAX.get(Path(path).suffix)
    if limit and lines > limit:
        yield Finding(path, 1, f"{lines} lines, at most {limit} are allowed", path, lines)


def check_python(path: str, text: str) -> Iterator[Finding]:
    """Long functions, sleeps in tests, and deadlines that are the same on every machine."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield from _long_function(path, node.name, node.lineno, lines)
    if path.startswith("tests/") and not path.startswith((_SLEEPS_ALLOWED, "tests/tidy/")):
        for number, line in enumerate(text.splitlines(), start=1):
            if _SLEEPS.search(line):
                yield Finding(path, number, "a test waits for a condition, never for time to pass")
            if _UNSCALED.search(line):
                yield Finding(path, number, "a deadline: scaled(), so that slow machines may wait")


def check_tests(path: str, text: str) -> Iterator[Finding]:
    """Test files are named after what they test, and share only what stands in tests/support."""
    if _CAME_ABOUT.search(Path(path).stem.removeprefix("test_")):
        yield Finding(path, 1, f"{Path(path).stem}: name the file after what it tests")
    suite = path.split("/")[1]
    for line, name in _imported_names(text):
        if name.startswith("tests.") and ".test_" in name:
            yield Finding(path, line, "what test files share stands in tests/support")
        elif name.startswith("tests.") and name.split(".")[1] not in ("support", suite):
            yield Finding(path, line, f"used by tests/{suite} too: move it to tests/support")


def _imported_names(text: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def check_c(path: str, text: str) -> Iterator[Finding]:
    """The rules for C files."""
    for function in check_c_rules.functions(text):
        yield from _long_function(path, function.name, function.line, function.lines)
    yield from check_c_rules.calls(path, text)
    yield from check_c_rules.raw_writes(path, text)
    yield from check_c_rules.includes(path, text)
    yield from check_c_rules.columns(path, text)
    if path.startswith("csrc/"):
        yield from check_c_rules.mutable_globals(path, text)


def _long_function(path: str, name: str, line: int, lines: int) -> Iterator[Finding]:
    if lines > FUNCTION_LINES_MAX:
        message = f"{name}() has {lines} lines, at most {FUNCTION_LINES_MAX} are allowed"
        yield Finding(path, line, message, f"{path}::{name}", lines)


def read_ratchet(text: str) -> dict[str, int]:
    """The exceptions: key to the size allowed."""
    rows = (line.split("#")[0].split() for line in text.splitlines())
    return {row[0]: int(row[1]) if len(row) > 1 else 0 for row in rows if row}


def apply_ratchet(findings: list[Finding], ratchet: dict[str, int]) -> list[Finding]:
    """Drops the findings that are listed exceptions, and reports exceptions that are too wide."""
    sizes = {finding.key: finding.size for finding in findings if finding.key}
    kept = [f for f in findings if f.key not in ratchet or f.size > ratchet[f.key]]
    for key, allowed in ratchet.items():
        if key not in sizes:
            kept.append(Finding(RATCHET, 1, f"{key} needs no exception any more: remove it"))
        elif sizes[key] < allowed:
            kept.append(Finding(RATCHET, 1, f"{key} needs only {sizes[key]}: lower it"))
    return kept


def findings_of(texts: dict[str, str]) -> list[Finding]:
    """All findings in files given as path to text, before exceptions."""
    found: list[Finding] = []
    for path, text in texts.items():
        found += check_purpose(path, text)
        found += check_words(path, text)
        found += check_size(path, text)
        if path.endswith(".py"):
            found += check_python(path, text)
            if path.startswith("tests/"):
                found += check_tests(path, text)
        elif path.endswith((".c", ".h")):
            found += check_c(path, text)
    found += check_c_rules.dead_files({p: t for p, t in texts.items() if _is_c(p)})
    return found


def _is_c(path: str) -> bool:
    return path.endswith((".c", ".h", ".def"))


def read_texts(root: Path) -> dict[str, str]:
    """Every text file of the repository; binary ones (fuzz seeds) are left out."""
    texts = {}
    for path in tracked_files(root):
        try:
            texts[path] = (root / path).read_text()
        except UnicodeDecodeError:
            continue
    return texts


def main() -> int:
    """Prints what breaks a rule, or the map; exits 1 if a rule is broken."""
    parser = argparse.ArgumentParser(description="Checks the house rules.")
    parser.add_argument("--map", action="store_true", help="print each file's purpose instead")
    options = parser.parse_args()
    texts = read_texts(ROOT)
    if options.map:
        rows = [(path, first_sentence(path, text)) for path, text in texts.items()]
        width = max(len(path) for path, _ in rows)
        print("\n".join(f"{path:{width}}  {text}" for path, text in rows if text))
        return 0
    ratchet = read_ratchet(texts.get(RATCHET, ""))
    found = apply_ratchet(findings_of(texts), ratchet)
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
