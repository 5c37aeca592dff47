"""Lifts cffi's declarations (the cdef) from the interface headers of the C core.

The header that the compiler reads is the only declaration there is: nothing is written down twice.
Interface headers are the *.h of a room's folder, and of the folders in it, except *_inline.h and
*_internal.h. What may stand in one:

    comments, struct/union/enum/typedef, prototypes, bool and stdint types, opaque structs,
    bit-fields, flexible arrays, function-pointer typedefs, `#define NAME 63` (integer literals).

`#include` and `#pragma once` are dropped (quoted includes give the order); MUST_CHECK is removed;
CACHE_ALIGNED is removed and makes its struct partial (`...;`), so that the compiler says where the
fields lie. Both macros may be defined in any header. Everything else stops the build.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_INTEGER_DEFINE = re.compile(r"#\s*define\s+\w+\s+-?(0[xX][0-9a-fA-F]+|\d+)[uUlL]*\s*$")
_ANNOTATION_DEFINE = re.compile(r"#\s*define\s+(MUST_CHECK|CACHE_ALIGNED)\b")
_DROPPED = re.compile(r'#\s*(include\s*["<]|pragma\s+once\s*$)')
_QUOTED_INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_FORBIDDEN = re.compile(
    r"\b(static|inline|extern|asm|__asm__|_Atomic|_Alignas|alignas|_Static_assert|static_assert"
    r"|__attribute__|__extension__|_Noreturn|_Thread_local|__thread)\b"
    r"|\"|\\|\)\s*\{"
)
_NAMED_STRUCT = re.compile(r"\b(struct|union)\s+(CACHE_ALIGNED\s+)?\w+\s*$")


class HeaderError(Exception):
    """Text in an interface header that cffi could not take; the message starts with file:line."""


@dataclass(frozen=True, slots=True)
class Header:
    """One interface header: `path` relative to csrc, and its declarations in cffi's grammar."""

    path: str
    declarations: str


def read_layers(layers_file: Path) -> list[list[str]]:
    """Reads csrc/LAYERS: the levels, lowest first, each a list of room names."""
    lines = (line.split("#")[0].strip() for line in layers_file.read_text().splitlines())
    return [[room.strip() for room in line.split("|")] for line in lines if line]


def room_files(csrc: Path, pattern: str) -> list[Path]:
    """The files of all rooms, those in a room's own folders included: csrc/<room>[/<part>]/."""
    return sorted([*csrc.glob(f"*/{pattern}"), *csrc.glob(f"*/*/{pattern}")])


def room_of(csrc: Path, path: Path) -> str:
    """The room that a file below `csrc` belongs to."""
    return path.relative_to(csrc).parts[0]


def is_interface(header: Path) -> bool:
    """Tells whether cffi sees this header."""
    return header.suffix == ".h" and not header.stem.endswith(("_inline", "_internal"))


def interface_headers(csrc: Path) -> list[Header]:
    """Reads every interface header below `csrc`, each after the headers it includes.

    Raises HeaderError for text outside the grammar, include cycles and rooms without a level.
    """
    rooms = [room for level in read_layers(csrc / "LAYERS") for room in level]
    for path in room_files(csrc, "*.[ch]"):
        if (room := room_of(csrc, path)) not in rooms:
            raise HeaderError(f"csrc/{room}: this room has no line in csrc/LAYERS")
    headers = [header for header in room_files(csrc, "*.h") if is_interface(header)]
    paths = sorted(headers, key=lambda header: rooms.index(room_of(csrc, header)))
    return [_read(csrc, header) for header in _by_includes(csrc, paths)]


def cdef_text(headers: list[Header]) -> str:
    """The whole cdef; line directives make cffi's own errors point into the headers."""
    return "\n".join(f'# 1 "csrc/{header.path}"\n{header.declarations}' for header in headers)


def resolve_include(csrc: Path, header: Path, name: str) -> Path | None:
    """The file below `csrc` that `#include "name"` in `header` means, None if there is none."""
    for candidate in (header.parent / name, csrc / name):
        if candidate.is_file() and candidate.resolve().is_relative_to(csrc.resolve()):
            return candidate.resolve()
    return None


def quoted_includes(source: Path) -> list[tuple[int, str]]:
    """The own includes of a C file: line number (from 1) and the quoted name."""
    lines = enumerate(strip_comments(source.read_text()).splitlines(), start=1)
    return [(number, m.group(1)) for number, line in lines if (m := _QUOTED_INCLUDE.match(line))]


def strip_comments(text: str) -> str:
    """Replaces comments by blanks, keeping every line where it is."""
    return _COMMENT.sub(lambda m: " " + "\n" * m.group().count("\n"), text)


def declarations_of(text: str, path: str) -> str:
    """Turns the text of one header into cffi's grammar, line for line.

    `path` only serves the message of the HeaderError raised for text outside the grammar.
    """
    lines = strip_comments(text).splitlines()
    for index, line in enumerate(lines):
        bare = line.strip()
        if not bare.startswith("#"):
            continue
        if _DROPPED.match(bare) or _ANNOTATION_DEFINE.match(bare):
            lines[index] = ""
        elif not _INTEGER_DEFINE.match(bare):
            raise HeaderError(
                f"csrc/{path}:{index + 1}: not allowed in an interface header: {bare}"
            )
    kept = "\n".join(lines) + "\n"
    if found := _FORBIDDEN.search(kept):
        number = kept.count("\n", 0, found.start()) + 1
        raise HeaderError(_refusal(path, number, lines[number - 1].strip()))
    return _without_alignment(re.sub(r"\bMUST_CHECK\b", "", kept), path)


def _refusal(path: str, number: int, line: str) -> str:
    return f"csrc/{path}:{number}: not allowed in an interface header: {line}"


def _read(csrc: Path, header: Path) -> Header:
    path = str(header.relative_to(csrc))
    return Header(path, declarations_of(header.read_text(), path))


def _by_includes(csrc: Path, headers: list[Path]) -> list[Path]:
    """Orders headers so that each follows what it includes; otherwise keeps the given order."""
    ordered: list[Path] = []
    known = {header.resolve(): header for header in headers}

    def visit(header: Path, trail: tuple[Path, ...]) -> None:
        if header in ordered:
            return
        if header in trail:
            cycle = " -> ".join(str(path.relative_to(csrc)) for path in (*trail, header))
            raise HeaderError(
                f"csrc/{header.relative_to(csrc)}:1: headers include each other: {cycle}"
            )
        for _, name in quoted_includes(header):
            target = resolve_include(csrc, header, name)
            if target is not None and target in known:
                visit(known[target], (*trail, header))
        ordered.append(header)

    for header in headers:
        visit(header, ())
    return ordered


def _without_alignment(text: str, path: str) -> str:
    """Removes CACHE_ALIGNED and ends every struct it concerns with `...;`.

    It concerns the struct it names (`struct CACHE_ALIGNED x {`, `} CACHE_ALIGNED;`), or the one
    whose member it aligns, and all structs around that one. They need names: cffi lays out an
    unnamed struct itself, and would get it wrong.
    """
    partial: set[int] = set()
    pairs = _brace_pairs(text)
    for mark in re.finditer(r"\bCACHE_ALIGNED\b", text):
        before = text[: mark.start()].rstrip()
        opening = re.match(r"[^;{}]*\{", text[mark.end() :])
        at = mark.start()
        if opening:
            at = mark.end() + opening.end()
        elif before.endswith("}"):
            at = len(before) - 1
        around = [(start, end) for start, end in pairs if start < at <= end]
        if not all(_NAMED_STRUCT.search(text[:start]) for start, _ in around):
            number = text.count("\n", 0, mark.start()) + 1
            raise HeaderError(f"csrc/{path}:{number}: CACHE_ALIGNED in a struct that has no name")
        partial.update(end for _, end in around)
    pieces = []
    last = 0
    for end in sorted(partial):
        pieces += [text[last:end], "...; "]
        last = end
    return re.sub(r"\bCACHE_ALIGNED\b", "", "".join(pieces) + text[last:])


def _brace_pairs(text: str) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    open_braces: list[int] = []
    for brace in re.finditer(r"[{}]", text):
        if brace.group() == "{":
            open_braces.append(brace.start())
        elif open_braces:
            pairs.append((open_braces.pop(), brace.start()))
    return pairs
