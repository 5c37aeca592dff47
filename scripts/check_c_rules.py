"""The house rules for C files, by reading their text: heuristics that fit this code's own style.

Each rule takes a file's path (relative to the repository) and text and returns its findings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

OWN_INCLUDES_MAX = 6
# The server has the clock that all others are told; the flash room measures its devices.
CLOCK_ROOMS = {"server", "flash", "watch"}
# Bytes of clients go through a transport, descriptors through an inbox, lines through a log's pipe.
SOCKET_FILES = re.compile(
    r"csrc/(conn/transport_\w+|server/(handover|inbox|datagrams)|base/log)\.[ch]$"
)
# clang-format sees to code; comments, strings that it cannot break and tables are checked here.
COLUMNS_MAX = 100

_COMMENT_OR_LITERAL = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
_CLOCK = re.compile(
    r"\b(clock_gettime|clock_nanosleep|gettimeofday|timespec_get|time|clock|__rdtsc|_rdtsc)\s*\("
)
_SOCKET = re.compile(r"\b(send|recv|sendto|recvfrom|sendmsg|recvmsg|sendmmsg|recvmmsg)\s*\(")
_ENVIRONMENT = re.compile(r"\b(getenv|secure_getenv|setenv|putenv|environ)\b")
_SLEEP = re.compile(r"\b(sleep|usleep|nanosleep)\s*\(")
_RAW_WRITE = re.compile(
    r"\b(__atomic_(?!load|thread_fence|signal_fence)\w+|__sync_\w+|atomic_(?!load|thread_fence)\w+)\s*\("
)
_DEFINED_NAME = re.compile(r"(\w+)\s*\((?!\s*\*)")
_POINTER_VARIABLE = re.compile(r"[^(]*\(\s*\*\s*\w+(\[\w*\])?\s*\)")
_VARIABLE_NAME = re.compile(r"(\w+)\s*(?:\[[^\]]*\]\s*)*$")


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule at one place; `key` is what the ratchet list calls it, `size` its measure."""

    path: str
    line: int
    message: str
    key: str = ""
    size: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Function:
    """A function definition: its name and the lines from its first to its closing brace."""

    name: str
    line: int
    lines: int
    is_static: bool


def blank(text: str) -> str:
    """Replaces comments, literals and directives by blanks; every line stays where it is."""

    def keep_lines(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    text = _COMMENT_OR_LITERAL.sub(keep_lines, text)
    return _DIRECTIVE.sub(keep_lines, text)


def top_level(code: str) -> Iterator[tuple[int, str, int]]:
    """The pieces of blanked code outside braces: where each starts, its text, where it ends.

    A piece ends at `;` or at the brace that closes its body; bodies are left out of the text.
    """
    depth = 0
    start = 0
    kept: list[str] = []
    for at, char in enumerate(code):
        if char == "{":
            depth += 1
            if depth == 1:
                kept.append("{}")
            continue
        if char == "}":
            depth -= 1
            head = "".join(kept).rstrip()
            if depth == 0 and re.search(r"\)\s*\{\}$", head) and "=" not in head:
                yield start, head, at
                start, kept = at + 1, []
            continue
        if depth:
            continue
        if char == ";":
            yield start, "".join(kept), at
            start, kept = at + 1, []
        else:
            kept.append(char)


def _line_of(code: str, at: int) -> int:
    while at < len(code) and code[at].isspace():
        at += 1
    return code.count("\n", 0, at) + 1


def functions(text: str) -> list[Function]:
    """The function definitions of a C file."""
    code = blank(text)
    found = []
    for start, head, end in top_level(code):
        name = _DEFINED_NAME.search(head)
        if head.endswith("{}") and name is not None and ")" in head:
            first = _line_of(code, start)
            lines = code.count("\n", 0, end) + 1 - first + 1
            is_static = re.match(r"\s*(static|_Noreturn static|extern inline)\b", head) is not None
            found.append(Function(name.group(1), first, lines, is_static))
    return found


def mutable_globals(path: str, text: str) -> Iterator[Finding]:
    """Variables at file scope that are not const: two workers in one process would share them."""
    code = blank(text)
    for start, piece, _ in top_level(code):
        declaration = piece.split("=")[0].replace("{}", " ").strip()
        if not declaration or re.match(r"(typedef|_Static_assert|static_assert)\b", declaration):
            continue
        if re.fullmatch(
            r"(struct|union|enum)(\s+[A-Z_]+)?\s*\w*(\s+[A-Z_]+|\s*__attribute__.*)?", declaration
        ):
            continue
        if "(" in declaration and not _POINTER_VARIABLE.match(declaration):
            continue
        tail = declaration.rpartition("*")[2]
        if re.search(r"\bconst\b", tail):
            continue
        name = _VARIABLE_NAME.search(declaration)
        label = name.group(1) if name else declaration
        message = f"mutable variable at file scope: {label}"
        yield Finding(path, _line_of(code, start), message, key=f"{path}::{label}")


def calls(path: str, text: str) -> Iterator[Finding]:
    """Clock reads, sockets and the environment where they do not belong; sleeps in tests."""
    room = path.split("/")[1] if path.startswith("csrc/") else ""
    for number, line in enumerate(blank(text).splitlines(), start=1):
        if room and room not in CLOCK_ROOMS and (found := _CLOCK.search(line)):
            yield Finding(
                path,
                number,
                f"{found.group(1)}(): only server, flash for device times and watch ask the time",
            )
        if room and not SOCKET_FILES.match(path) and (found := _SOCKET.search(line)):
            yield Finding(path, number, f"{found.group(1)}(): sockets are for conn's transports")
        if room and (found := _ENVIRONMENT.search(line)):
            yield Finding(path, number, f"{found.group(1)}: C reads no environment")
        if path.startswith("tests/") and (found := _SLEEP.search(line)):
            yield Finding(path, number, f"{found.group(1)}(): wait for a condition instead")


def raw_writes(path: str, text: str) -> Iterator[Finding]:
    """Atomic stores beside the macros of base: the crash suite could not kill a process there."""
    if not path.startswith("csrc/") or path.startswith("csrc/base/"):
        return
    for number, line in enumerate(blank(text).splitlines(), start=1):
        if found := _RAW_WRITE.search(line):
            message = f"{found.group(1)}(): write by a macro of base/shared_inline.h"
            yield Finding(path, number, message)


def includes(path: str, text: str) -> Iterator[Finding]:
    """Headers that gather many others become the one that everybody includes."""
    own = re.findall(r'^\s*#\s*include\s*"', text, re.M)
    if path.endswith(".h") and len(own) > OWN_INCLUDES_MAX:
        message = f"includes {len(own)} own headers, at most {OWN_INCLUDES_MAX} are allowed"
        yield Finding(path, 1, message, key=path)


def columns(path: str, text: str) -> Iterator[Finding]:
    """Lines too wide to read (ruff watches Python)."""
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > COLUMNS_MAX:
            yield Finding(path, number, f"{len(line)} columns, at most {COLUMNS_MAX} are allowed")


def dead_files(texts: dict[str, str]) -> Iterator[Finding]:
    """Headers that no file includes, and C files that give others neither function nor table."""
    included = {
        name.rpartition("/")[2]
        for text in texts.values()
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.M)
    }
    for path, text in texts.items():
        if path.endswith((".h", ".def")) and path.rpartition("/")[2] not in included:
            yield Finding(path, 1, "no file includes this header")
        if path.endswith(".c") and path.startswith("csrc/"):
            defined = functions(text)
            gives_table = re.search(r"^const struct \w+ \w+ = \{", text, re.M)
            if all(function.is_static for function in defined) and defined and not gives_table:
                yield Finding(path, 1, "every function in this file is static: nothing can call it")
