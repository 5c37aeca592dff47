"""The stub of the core says what its module has, so that type checkers see wrong calls."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from csrc import cdef, stub, toolchain
from pymc.core.ffi import lib
from tests.support.deadline import scaled

SAMPLE = """
#define LANES_MAX 0x10
enum kind { KIND_A, KIND_B = 7 };
typedef int (*visit)(void *context);
typedef uint32_t lane_ref;
struct lane { uint64_t count; enum { LANE_FREE } state; ...; };
bool lane_take(struct lane *lane, uint32_t count, bool is_kept, const char *from);
enum kind lane_kind(lane_ref ref, double share);
struct lane *lane_at(visit visit, char letter);
void lane_reset(void);
"""


def whole_stub() -> str:
    return stub.stub_text(cdef.cdef_text(cdef.interface_headers(toolchain.CSRC)))


def test_each_kind_of_declaration() -> None:
    assert re.findall(r"^    (.*)$", stub.stub_text(SAMPLE), re.M) == [
        "LANES_MAX: Final[int]",
        "KIND_A: Final[int]",
        "KIND_B: Final[int]",
        "LANE_FREE: Final[int]",
        "def lane_take(_lib, lane: Any, count: int, is_kept: int, from_: Any, /) -> bool: ...",
        "def lane_kind(_lib, ref: int, share: float, /) -> int: ...",
        "def lane_at(_lib, visit: Any, letter: bytes, /) -> Any: ...",
        "def lane_reset(_lib, /) -> None: ...",
    ]


def test_it_has_the_names_of_the_module() -> None:
    told = set(re.findall(r"^    (?:def )?(\w+)", whole_stub(), re.M))
    assert told == {name for name in dir(lib) if not name.startswith("_")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("lib.lane_kind(1, 0.5)", ""),
        ("lib.lane_knid(1, 0.5)", "attr-defined"),
        ("lib.lane_kind(1)", "call-arg"),
        ("lib.lane_kind(1, 0.5, 2)", "call-arg"),
        ('lib.lane_kind("1", 0.5)', "arg-type"),
        ("lib.LANES_MAX.append(1)", "attr-defined"),
    ],
)
def test_a_wrong_call_is_a_type_error(tmp_path: Path, call: str, complaint: str) -> None:
    (tmp_path / "core.pyi").write_text(stub.stub_text(SAMPLE))
    (tmp_path / "caller.py").write_text(f"from core import lib\n\n{call}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "caller.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
    )
    assert f"[{complaint}]" in done.stdout if complaint else done.returncode == 0, done.stdout
