"""Each house rule on a text that breaks it and one that does not; then the repository itself."""

import re

import pytest

from scripts import check_c_rules, check_tidy
from scripts.check_c_rules import Finding

HEAD = "// Says what this file is for.\n"
PY_HEAD = '"""Says what this file is for."""\n'

_LAYERS = (check_tidy.ROOT / "csrc" / "LAYERS").read_text().splitlines()
ROOMS = [room for line in _LAYERS for room in re.findall(r"\w+", line.partition("#")[0])]


def messages(path: str, text: str) -> list[str]:
    """What the rules say about one file alone, apart from whether anybody uses it."""
    return [f.message for f in check_tidy.findings_of({path: text}) if "no file" not in f.message]


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("pymc/a.py", "import os\n", "the first line must say"),
        ("csrc/slab/a.c", "#include <stdint.h>\n", "the first line must say"),
        ("scripts/a.sh", "#!/bin/sh\nset -e\n", "the first line must say"),
        ("pymc/a.py", PY_HEAD + "# TO" + "DO later\n", "write an issue"),
        ("csrc/slab/a.c", HEAD + "// see /wo" + "rk/main\n", "a path of one machine"),
        ("pymc/utils.py", PY_HEAD, "utils says nothing"),
        ("pymc/a.py", PY_HEAD + "A = 1\n" * 400, "401 lines, at most 400"),
        ("csrc/slab/a.c", HEAD + "\n" * 800, "801 lines, at most 800"),
        ("pymc/a.py", PY_HEAD + "def f():\n" + "    x = 1\n" * 70, "f() has 71 lines"),
        ("pymc/a.py", PY_HEAD + "async def f():\n" + "    x = 1\n" * 70, "f() has 71 lines"),
        ("csrc/slab/a.c", HEAD + "int f(\n    int a) {\n" + "a++;\n" * 68 + "}\n", "f() has 71"),
        ("tests/unit/test_a.py", PY_HEAD + "time.sle" + "ep(1)\n", "waits for a condition"),
        ("tests/unit/test_a.py", PY_HEAD + "await asyncio.sle" + "ep(0.1)\n", "waits for a"),
        ("tests/unit/test_a.py", PY_HEAD + "run(timeout=60)\n", "a deadline: scaled()"),
        ("tests/unit/test_a.py", PY_HEAD + "client.settimeout(5)\n", "a deadline: scaled()"),
        ("tests/unit/test_a.py", PY_HEAD + "end = monotonic() + 9\n", "a deadline: scaled()"),
        ("tests/unit/test_a.py", PY_HEAD + "ANSWER_SECONDS = 5.0\n", "a deadline: scaled()"),
        ("tests/e2e/test_review_server.py", PY_HEAD, "name the file after what it tests"),
        ("tests/unit/test_more.py", PY_HEAD, "name the file after what it tests"),
        (
            "tests/unit/test_a.py",
            PY_HEAD + "from tests.unit.core.test_b import f\n",
            "test files share",
        ),
        (
            "tests/unit/test_a.py",
            PY_HEAD + "from tests.crash.plan import f\n",
            "used by tests/unit too",
        ),
        ("tests/support/a.py", PY_HEAD + "import tests.unit.b\n", "by tests/support too"),
        ("tests/fuzz/a.c", HEAD + "void f(void) {\n    usleep(1);\n}\n", "usleep(): wait"),
        (
            "csrc/store/a.c",
            HEAD + "long f(void) {\n    return time(NULL);\n}\n",
            "time(): only server",
        ),
        ("csrc/store/a.c", HEAD + "void f(void) {\n    clock_gettime(0, 0);\n}\n", "ask the time"),
        ("csrc/server/a.c", HEAD + "void f(void) {\n    send(1, 0, 0, 0);\n}\n", "transports"),
        ("csrc/conn/input.c", HEAD + "void f(void) {\n    recv(1, 0, 0, 0);\n}\n", "transports"),
        ("csrc/server/a.c", HEAD + 'void f(void) {\n    getenv("A");\n}\n', "no environment"),
        ("csrc/slab/a.c", HEAD + "static int count;\n", "file scope: count"),
        ("csrc/slab/a.c", HEAD + "int counts[2] = {1, 2};\n", "file scope: counts"),
        ("csrc/slab/a.c", HEAD + 'static const char *name = "a";\n', "file scope: name"),
        ("csrc/slab/a.c", HEAD + "static int (*hook)(void);\n", "file scope"),
        ("csrc/slab/a.c", HEAD + "static _Thread_local int depth;\n", "file scope: depth"),
        ("csrc/slab/a.c", HEAD + "static struct slab pool = {.n = 1};\n", "file scope: pool"),
        (
            "csrc/slab/a.c",
            HEAD + "void f(int *a) {\n    __atomic_store_n(a, 1, 0);\n}\n",
            "write by a macro",
        ),
        (
            "csrc/lru/a.h",
            HEAD + "static void f(int *a) {\n    __atomic_fetch_add(a, 1, 0);\n}\n",
            "write by a macro",
        ),
        ("csrc/slab/a.h", HEAD + '#include "base/a.h"\n' * 7, "includes 7 own headers"),
        ("csrc/slab/a.c", HEAD + "// " + "x" * 120 + "\n", "123 columns"),
        ("csrc/slab/a.c", HEAD + "static int f(void) {\n    return 1;\n}\n", "nothing can call it"),
    ],
)
def test_broken(path: str, text: str, message: str) -> None:
    assert [found for found in messages(path, text) if message in found]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pymc/__init__.py", ""),
        ("pymc/a.py", 'r"""Says what it is for, \\n included."""\n'),
        ("scripts/a.sh", "#!/bin/sh\n# Does something useful.\n"),
        ("pymc/a.py", PY_HEAD + "def f():\n" + "    x = 1\n" * 69),
        ("tests/unit/test_a.py", PY_HEAD + "run(timeout=scaled(60))\n"),
        ("tests/support/wait.py", PY_HEAD + "time.sle" + "ep(0.01)\n"),
        ("tests/unit/test_a.py", PY_HEAD + "await asyncio.sle" + "ep(0)\n"),
        ("tests/unit/test_a.py", PY_HEAD + "from tests.support.core.driver import Cache\n"),
        ("tests/crash/test_a.py", PY_HEAD + "from tests.crash import plan\n"),
        ("csrc/server/a.c", HEAD + "void f(void) {\n    clock_gettime(0, 0);\n}\n"),
        ("csrc/conn/transport_socket.c", HEAD + "void f(void) {\n    recv(1, 0, 0, 0);\n}\n"),
        (
            "csrc/store/a.c",
            HEAD + '// time(NULL)\nint f(void) {\n    return uptime(1, "time(");\n}\n',
        ),
        (
            "csrc/slab/a.c",
            HEAD + 'static const char *const names[] = {"a", "b"};\nint f(void) {}\n',
        ),
        (
            "csrc/slab/a.c",
            HEAD + "static const struct row rows[] = {\n    {1},\n};\nint f(void) {}\n",
        ),
        ("csrc/slab/a.h", HEAD + "struct slab;\nstruct CACHE_ALIGNED lane {\n    int n;\n};\n"),
        ("csrc/slab/a.h", HEAD + "enum a { A, B };\ntypedef int (*visit)(int);\n"),
        (
            "csrc/slab/a.h",
            HEAD + "MUST_CHECK int take(\n    int n);\nstruct a *find(int (*f)(int));\n",
        ),
        ("csrc/slab/a.c", HEAD + "int f(void) {\n    static const int n = 1;\n    int m = n;\n}\n"),
    ],
)
def test_allowed(path: str, text: str) -> None:
    assert messages(path, text) == []


@pytest.mark.parametrize("room", [*ROOMS, "a_room_to_come"])
@pytest.mark.parametrize("read", ["clock_gettime(0, 0)", "time(0)", "__rdtsc()"])
def test_who_may_read_clocks(room: str, read: str) -> None:
    found = messages(f"csrc/{room}/a.c", HEAD + f"void f(void) {{\n    {read};\n}}\n")
    assert bool(found) == (room not in ("server", "flash", "watch"))
    assert all("ask the time" in message for message in found)


def test_functions_are_measured_past_literals_and_macros() -> None:
    text = (
        "#define BODY(x) \\\n    { x }\n\n"
        "static int\nf(char c) {\n    return c == '{' || \"}\";\n}\n"
        "int table[] = {1};\nint g(void) {\n    if (1) {\n    }\n}\n"
    )
    found = [(f.name, f.line, f.lines, f.is_static) for f in check_c_rules.functions(text)]
    assert found == [("f", 4, 4, True), ("g", 9, 4, False)]


def test_headers_nobody_includes_are_dead() -> None:
    texts = {"csrc/a/a.h": "", "csrc/a/b.h": "", "csrc/a/a.c": '#include "a/a.h"\nint f(void) {}\n'}
    assert [f.path for f in check_c_rules.dead_files(texts)] == ["csrc/a/b.h"]


def test_the_ratchet_only_tightens() -> None:
    ratchet = check_tidy.read_ratchet("# Why.\na.py 500\nb.py::f 90  # old\nc.py 450\nd.c::count\n")
    findings = [
        Finding("a.py", 1, "too long", "a.py", 500),
        Finding("b.py", 9, "f() too long", "b.py::f", 91),
        Finding("c.py", 1, "too long", "c.py", 420),
        Finding("d.c", 2, "mutable", "d.c::count"),
        Finding("e.py", 1, "no purpose"),
    ]
    kept = [finding.message for finding in check_tidy.apply_ratchet(findings, ratchet)]
    assert kept == ["f() too long", "no purpose", "c.py needs only 420: lower it"]
    assert "remove it" in check_tidy.apply_ratchet([], {"a.py": 1})[0].message


def test_the_repository_keeps_the_house_rules() -> None:
    texts = check_tidy.read_texts(check_tidy.ROOT)
    ratchet = check_tidy.read_ratchet(texts[check_tidy.RATCHET])
    found = check_tidy.apply_ratchet(check_tidy.findings_of(texts), ratchet)
    assert [str(finding) for finding in found] == []
