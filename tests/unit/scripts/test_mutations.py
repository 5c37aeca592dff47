"""The operators of the mutation run: what they change in a text, and what they leave alone."""

import ast

import pytest

from scripts.mutations import mutations_of

C_HEAD = "static int f(int a, int b) {\n"


def changed(path: str, text: str) -> dict[str, str]:
    """What each change says, and the text that it makes."""
    return {one.what: one.applied(text) for one in mutations_of(path, text)}


@pytest.mark.parametrize(
    ("body", "what", "line"),
    [
        ("    g(a < b);\n", "< becomes <=", "    g(a <= b);"),
        ("    g(a >= b);\n", ">= becomes >", "    g(a > b);"),
        ("    g(a == b);\n", "== becomes !=", "    g(a != b);"),
        ("    g(a && b);\n", "&& becomes ||", "    g(a || b);"),
        ("    g(a + b);\n", "+ becomes -", "    g(a - b);"),
        ("    a += b;\n", "+= becomes -=", "    a -= b;"),
        ("    a++;\n", "++ becomes --", "    a--;"),
        ("    g(17u);\n", "17u becomes 18u", "    g(18u);"),
        ("    g(true);\n", "true becomes false", "    g(false);"),
        ("    count(p, COUNTER_a, 1);\n", "count(p, COUNTER_a, 1); is dropped", "    ;"),
        ("    *out = a;\n", "*out = a; is dropped", "    ;"),
        (
            "    if (g(a)) {\n        b = 1;\n    }\n",
            "if (g(a)) is negated",
            "    if (!(g(a))) {",
        ),
        ("    if (a) {\n        return 1;\n    }\n", "return 1; is dropped", "        ;"),
        ("    while (a) {\n        break;\n    }\n", "break; is dropped", "        ;"),
    ],
)
def test_what_is_changed_in_c(body: str, what: str, line: str) -> None:
    text = C_HEAD + body + "    return 7;\n}\n"
    assert line in changed("csrc/a/a.c", text)[what].splitlines()


@pytest.mark.parametrize(
    "body",
    [
        "    PYMC_CHECK(a < 1 && b);\n",
        "    // a < 1\n",
        '    const char *c = "a < 1";\n',
        "    int c = a;\n",
        "    struct item *c = d;\n",
        "    __builtin_prefetch(d + 1);\n",
    ],
)
def test_what_is_left_alone_in_c(body: str) -> None:
    assert list(changed("csrc/a/a.c", C_HEAD + body + "    return g();\n}\n")) == []


def test_only_functions_and_named_numbers_change_in_c() -> None:
    text = "#define MOST 32\n#define HALF (MOST / 2)\nstruct a {\n    int b[4];\n};\n"
    text += "static const int c[] = {1, 2};\n"
    assert changed("csrc/a/a_inline.h", text) == {
        "32 becomes 33": text.replace("MOST 32", "MOST 33")
    }


def test_the_end_of_a_function_is_no_early_exit() -> None:
    whats = changed(
        "csrc/a/a.c", C_HEAD + "    if (a) {\n        return b;\n    }\n    return a;\n}\n"
    )
    assert [what for what in whats if what.startswith("return")] == ["return b; is dropped"]


@pytest.mark.parametrize(
    ("body", "what", "line"),
    [
        ("    return a < b\n", "< becomes <=", "    return a <= b"),
        ("    return a is b\n", "is becomes is not", "    return a is not b"),
        ("    return a not in b\n", "not in becomes in", "    return a in b"),
        ("    return a and b\n", "and becomes or", "    return a or b"),
        ("    return a - b\n", "- becomes +", "    return a + b"),
        ("    return g(3)\n", "3 becomes 4", "    return g(4)"),
        ("    return g(False)\n", "False becomes True", "    return g(True)"),
        ("    a += b\n", "+= becomes -=", "    a -= b"),
        ("    a += b\n", "a += b is dropped", "    pass"),
        ("    g(a)\n", "g(a) is dropped", "    pass"),
        ("    if a:\n        return b\n", "a is negated", "    if (not (a)):"),
        ("    if a:\n        return b\n", "return b is dropped", "        pass"),
        ("    for a in b:\n        continue\n", "continue is dropped", "        pass"),
    ],
)
def test_what_is_changed_in_python(body: str, what: str, line: str) -> None:
    made = changed("pymc/a/a.py", "def f(a, b):\n" + body)[what]
    assert line in made.splitlines()
    ast.parse(made)


def test_what_is_left_alone_in_python() -> None:
    text = '"""Says 1 < 2."""\n\nNAME = "a < b"\n\n\ndef f(a: int = 3) -> str:\n'
    text += '    """Adds 1 + 1."""\n    assert a < 4\n    return f"{a}"\n'
    assert changed("pymc/a/a.py", text) == {}


def test_a_limit_of_a_module_changes() -> None:
    assert changed("pymc/a/a.py", "LIMIT = 3\n") == {"3 becomes 4": "LIMIT = 4\n"}


def test_places_count_letters_not_bytes() -> None:
    text = "def f(a):\n    g('é'); return a < 1\n"
    assert changed("pymc/a/a.py", text)["< becomes <="] == text.replace("<", "<=")


def test_lines_are_those_of_the_file() -> None:
    (one,) = mutations_of("csrc/a/a.c", "\n// Comment.\n" + C_HEAD + "    return a < b;\n}\n")
    assert (one.line, one.path) == (4, "csrc/a/a.c")
