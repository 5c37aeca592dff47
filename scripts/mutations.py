"""Small changes to a C or Python text that its tests should notice: each one breaks one thing.

Texts are read as check_c_rules reads them, by heuristics that fit this code's own style. What they
make of a text may fail to compile; whoever applies them finds out and leaves such a change out.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

from scripts.check_c_rules import blank, functions

# A call of one of these says what must hold; it decides nothing.
_ASSERTIONS = re.compile(r"\b(PYMC_CHECK\w*|_Static_assert|static_assert|__builtin_prefetch)\s*\(")
_SWAPS = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "&&": "||",
    "||": "&&",
    "+": "-",
    "-": "+",
    "+=": "-=",
    "-=": "+=",
    "++": "--",
    "--": "++",
}
_SPACED = re.compile(r"(?<=[ \n])(<=|>=|==|!=|<|>|&&|\|\||\+=|-=|\+|-)(?= )")
_STEPS = re.compile(r"\+\+|--")
_NUMBER = re.compile(r"(?<![\w.])(\d+)([uUlL]*)\b(?!\.)")
_TRUTH = re.compile(r"\b(true|false)\b")
_IF = re.compile(r"\bif \(")
_LEAVING = re.compile(r"(?<![\w.])(return\b[^;]*|continue|break);")
_STATEMENT = re.compile(r"(?<=[;{}])\s*([A-Za-z_(*+-][^;{}]*;)")
_KEYWORD = re.compile(
    r"(return|continue|break|goto|case|default|if|for|while|do|else|switch|struct|enum|union"
    r"|const|static|typedef|_Static_assert|extern)\b"
)
# `uint32_t a = 1`, `struct item *b`: two words before what is set. Without it nothing compiles.
_DECLARATION = re.compile(r"[A-Za-z_]\w*(\s+\**|\s*\*+\s*)[A-Za-z_]\w*\s*(\[[^\]]*\]\s*)*(=|;|,)")
_DEFINED_NUMBER = re.compile(r"^#define\s+\w+\s+\(?(\d+)([uUlL]*)\b", re.M)

_PYTHON_SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change: `text[start:end]` becomes `new`; `what` says it in words."""

    path: str
    line: int
    start: int
    end: int
    new: str
    what: str

    def applied(self, text: str) -> str:
        """The text with the change."""
        return text[: self.start] + self.new + text[self.end :]


def mutations_of(path: str, text: str) -> list[Mutation]:
    """Every change that the operators know for this file, in the order of their places."""
    found = _of_python(path, text) if path.endswith(".py") else _of_c(path, text)
    return sorted(found, key=lambda mutation: (mutation.start, mutation.end, mutation.new))


def _at(path: str, text: str, start: int, end: int, new: str, what: str = "") -> Mutation:
    old = " ".join(text[start:end].split())
    line = text.count("\n", 0, start) + 1
    return Mutation(path, line, start, end, new, what or f"{old} becomes {new}")


def _of_c(path: str, text: str) -> Iterator[Mutation]:
    code = _without_assertions(blank(text))
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for function in functions(text):
        first, end = starts[function.line - 1], starts[function.line - 1 + function.lines]
        body = code.index("{", first)
        yield from _of_c_body(path, text, code, body, end)
    for match in _DEFINED_NUMBER.finditer(text):
        new = f"{int(match[1]) + 1}{match[2]}"
        yield _at(path, text, match.start(1), match.end(2), new)


def _without_assertions(code: str) -> str:
    """The code with blanks for calls that only assert."""
    for match in list(_ASSERTIONS.finditer(code)):
        end = _closing(code, match.end() - 1) + 1
        code = code[: match.start()] + " " * (end - match.start()) + code[end:]
    return code


def _closing(code: str, opening: int) -> int:
    """Where the parenthesis that opens here is closed."""
    depth = 0
    for at in range(opening, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return at
    return len(code) - 1


def _of_c_body(path: str, text: str, code: str, start: int, end: int) -> Iterator[Mutation]:
    for match in _SPACED.finditer(code, start, end):
        yield _at(path, text, match.start(), match.end(), _SWAPS[match[1]])
    for match in _STEPS.finditer(code, start, end):
        yield _at(path, text, match.start(), match.end(), _SWAPS[match[0]])
    for match in _NUMBER.finditer(code, start, end):
        yield _at(path, text, match.start(), match.end(), f"{int(match[1]) + 1}{match[2]}")
    for match in _TRUTH.finditer(code, start, end):
        new = "false" if match[1] == "true" else "true"
        yield _at(path, text, match.start(), match.end(), new)
    for match in _IF.finditer(code, start, end):
        first, last = match.end() - 1, _closing(code, match.end() - 1) + 1
        asked = " ".join(text[first:last].split())
        yield _at(path, text, first, last, f"(!{text[first:last]})", f"if {asked} is negated")
    yield from _dropped(path, text, code, start, end)


def _dropped(path: str, text: str, code: str, start: int, end: int) -> Iterator[Mutation]:
    """Statements that go: calls, assignments, and leaving a block early."""
    for match in _STATEMENT.finditer(code, start, end):
        said = match[1]
        round_brackets = code.count("(", start, match.start(1)) - code.count(
            ")", start, match.start(1)
        )
        if round_brackets or _KEYWORD.match(said) or _DECLARATION.match(said):
            continue
        shown = " ".join(text[match.start(1) : match.end(1)].split())
        yield _at(path, text, match.start(1), match.end(1), ";", f"{shown} is dropped")
    for match in _LEAVING.finditer(code, start, end):
        depth = code.count("{", start, match.start()) - code.count("}", start, match.start())
        # At the end of a function it is no early exit.
        if depth > 1:
            shown = " ".join(text[match.start() : match.end()].split())
            yield _at(path, text, match.start(), match.end(), ";", f"{shown} is dropped")


def _of_python(path: str, text: str) -> Iterator[Mutation]:
    places = _Places(path, text)
    tree = ast.parse(text)
    for constant in tree.body:
        if isinstance(constant, ast.Assign) and isinstance(constant.value, ast.Constant):
            yield from places.constant(constant.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                yield from _of_statements(places, statement, is_inner=False)


def _of_statements(places: "_Places", node: ast.AST, *, is_inner: bool) -> Iterator[Mutation]:
    """What can be changed in the node; functions inside of it are another's to look at."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assert):
        return
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
            yield from places.between(left, right, sign)
    elif isinstance(node, ast.BoolOp):
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from places.between(left, right, node.op)
    elif isinstance(node, ast.BinOp):
        yield from places.between(node.left, node.right, node.op)
    elif isinstance(node, ast.Constant):
        yield from places.constant(node)
    elif isinstance(node, ast.If | ast.IfExp):
        yield places.of(node.test, f"(not ({places.shown(node.test)}))", "is negated")
    elif isinstance(node, ast.AugAssign):
        yield from places.between(node.target, node.value, node.op, "=")
        yield places.of(node, "pass", "is dropped")
    elif _can_go(node, is_inner=is_inner):
        yield places.of(node, "pass", "is dropped")
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.JoinedStr | ast.arguments):
            yield from _of_statements(places, child, is_inner=True)


def _can_go(node: ast.AST, *, is_inner: bool) -> TypeGuard[ast.stmt]:
    """Whether it is a call for its effect, or leaves a block before its end."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call | ast.Await)
    return isinstance(node, ast.Continue | ast.Break) or (isinstance(node, ast.Return) and is_inner)


class _Places:
    """Where the nodes of a Python text stand in it."""

    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def shown(self, node: ast.expr) -> str:
        """The text of an expression."""
        start, end = self._span(node)
        return self._text[start:end]

    def of(self, node: ast.expr | ast.stmt, new: str, what: str) -> Mutation:
        """The change of a whole node."""
        start, end = self._span(node)
        said = " ".join(self._text[start:end].split())
        return _at(self._path, self._text, start, end, new, f"{said} {what}")

    def between(
        self, left: ast.expr, right: ast.expr, sign: ast.AST, behind: str = ""
    ) -> Iterator[Mutation]:
        """The change of the operator between two expressions."""
        if type(sign) not in _PYTHON_SWAPS:
            return
        old, new = _PYTHON_SWAPS[type(sign)]
        start, end = self._span(left)[1], self._span(right)[0]
        at = self._text.find(old + behind, start, end)
        if at >= 0:
            yield _at(self._path, self._text, at, at + len(old + behind), new + behind)

    def constant(self, node: ast.Constant) -> Iterator[Mutation]:
        """Another truth value, or a number that is one too large."""
        start, end = self._span(node)
        if isinstance(node.value, bool):
            yield _at(self._path, self._text, start, end, str(not node.value))
        elif isinstance(node.value, int | float):
            yield _at(self._path, self._text, start, end, str(node.value + 1))

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._offset(node.lineno, node.col_offset),
            self._offset(node.end_lineno, node.end_col_offset),
        )

    def _offset(self, line: int, column_bytes: int) -> int:
        start = self._starts[line - 1]
        row = self._text[start : self._starts[line]].encode()
        return start + len(row[:column_bytes].decode())
