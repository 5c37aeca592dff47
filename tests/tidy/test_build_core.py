"""The build of the C core, tried on a core of one room in a folder of its own."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from csrc import build_core, cdef, toolchain
from tests.support.deadline import scaled

CSRC = Path(__file__).resolve().parents[2] / "csrc"
HEADER = """// A sample room.
#pragma once
#include <stdint.h>
#define MUST_CHECK __attribute__((warn_unused_result))
#define CACHE_ALIGNED __attribute__((aligned(64)))
struct CACHE_ALIGNED lane { uint64_t count; };
struct lanes { uint32_t used; struct lane lanes[2]; };
MUST_CHECK int lane_twice(int count);
const char *variant(void);
const char *part_file(void);
"""
# A file in a folder of the room.
PART = """// Names itself.
#include "base/lane.h"
const char *part_file(void) { return __FILE__; }
"""
SOURCE = """// A sample room.
#include "base/lane.h"
int lane_twice(int count) { return 2 * count; }
const char *variant(void) { return PYMC_BUILD_VARIANT; }
"""

TABLED = """
static const int started[] = {
#define LIVE(name, start) start,
#include "generated/live.def"
#undef LIVE
};
int lane_twice(int count) { return count > 0 ? started[0] : 0; }
"""

pytestmark = pytest.mark.slow


def write_table(root: Path, start: int) -> None:
    """A table of settings with one row."""
    text = f"LIVE(speed, {start})\\n"
    (root / "pymc/config/c_table.py").write_text(f'def live_def():\n    return "{text}"\n')


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """A repository with the build and one room; returns the room's folder."""
    room = tmp_path / "csrc" / "base"
    room.mkdir(parents=True)
    # Real packages: a bare folder would lose against the pymc that is installed.
    for package in ("pymc", "pymc/config", "pymc/core"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    write_table(tmp_path, 42)
    for name in ("build_core.py", "cdef.py", "stub.py", "toolchain.py", "LIBRARIES"):
        shutil.copy(CSRC / name, tmp_path / "csrc")
    (tmp_path / "csrc" / "LAYERS").write_text("base\n")
    (room / "lane.h").write_text(HEADER)
    (room / "lane.c").write_text(SOURCE)
    (room / "part").mkdir()
    (room / "part" / "lane.c").write_text(PART)
    return room


def run(
    room: Path, *arguments: str, variant: str = "debug", **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python there, as a build of the variant would, with `more` in its environment."""
    root = room.parents[1]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "PYTHONPATH": str(root), "PYMC_BUILD": variant, **more}
    # Byte code would hide an edit of the same second that leaves a file as long as it was.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
    )


def build(room: Path, variant: str = "debug", **more: str) -> subprocess.CompletedProcess[str]:
    """Builds the core of that repository."""
    return run(room, "csrc/build_core.py", variant=variant, **more)


@pytest.mark.parametrize(("variant", "module"), [("release", "_core"), ("debug", "_core_debug")])
def test_module_of_a_variant(core: Path, variant: str, module: str) -> None:
    done = build(core, variant)
    assert done.returncode == 0, done.stderr
    script = (
        f"from pymc.core.{module} import ffi, lib\n"
        "print(lib.lane_twice(21), ffi.string(lib.variant()).decode(),"
        " ffi.string(lib.part_file()).decode(),"
        " ffi.sizeof('struct lanes'), ffi.offsetof('struct lanes', 'lanes'))"
    )
    shown = run(core, "-c", script)
    assert shown.stdout.split() == ["42", variant, "base/part/lane.c", "192", "64"], shown.stderr


def test_only_what_changed_is_built(core: Path) -> None:
    assert "built" in build(core).stdout
    assert build(core).stdout == ""
    (core / "lane.h").write_text(HEADER + "struct spare { int n; };\n")
    assert "built" in build(core).stdout
    assert build(core).stdout == ""
    (core / "lane.c").unlink()
    assert build(core).returncode == 1


def test_the_table_of_settings_is_part_of_it(core: Path) -> None:
    (core / "lane.c").write_text(SOURCE.replace("int lane_twice(int", "int lane_once(int") + TABLED)
    (core / "lane.h").write_text(HEADER + "int lane_once(int count);\n")
    script = "from pymc.core._core_debug import lib; print(lib.lane_twice(1))"
    assert "built" in build(core).stdout
    assert run(core, "-c", script).stdout == "42\n"
    assert build(core).stdout == ""
    write_table(core.parents[1], 43)
    assert "built" in build(core).stdout
    assert run(core, "-c", script).stdout == "43\n"


@pytest.mark.parametrize(
    ("header", "source", "message"),
    [
        ("int lane_gone(void);\n", "", "declared in a header, defined nowhere: lane_gone"),
        ("", "static int unused(void) { return 1; }\n", "defined but not used"),
        ("#define LANES (1 + 1)\n", "", "csrc/base/lane.h:11: not allowed"),
        ("int f(gibberish x);\n", "", "csrc/base/lane.h:11"),
    ],
)
def test_refused(core: Path, header: str, source: str, message: str) -> None:
    (core / "lane.h").write_text(HEADER + header)
    (core / "lane.c").write_text(SOURCE + source)
    done = build(core)
    assert done.returncode == 1
    assert message in done.stderr


def test_another_cffi_or_another_header_makes_the_binding_anew(core: Path) -> None:
    assert "built" in build(core).stdout
    told = core.parents[1] / "build" / "debug" / "_core.cdef"
    binding = told.with_suffix(".c")
    binding.write_text("#error stale\n")
    assert "stale" in build(core).stderr
    told.write_text(told.read_text().replace("// cffi ", "// cffi 0"))
    assert "built" in build(core).stdout
    assert "lane_twice" in binding.read_text()


def test_one_line_for_a_compiler_that_is_not_there(core: Path) -> None:
    done = build(core, CC="no-such-cc -g")
    said = "pymc: no C compiler (no-such-cc): apt install gcc libc6-dev\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_one_line_for_headers_that_are_not_there(core: Path) -> None:
    with (core.parent / "LIBRARIES").open("a") as table:
        table.write("nowhere.h libnowhere-dev -lnowhere\nfar/off.h liboff-dev\n")
    for name, header in (("a", "nowhere.h"), ("b", "far/off.h"), ("c", "nowhere.h")):
        (core / f"{name}.c").write_text(f"#include <{header}>\n")
    done = build(core)
    said = "pymc: no nowhere.h, far/off.h: apt install libnowhere-dev liboff-dev\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "_core.c:5:10: fatal error: Python.h: No such file or directory",
            f"pymc: no Python.h: apt install python3.{sys.version_info.minor}-dev",
        ),
        (
            "a.c:1:10: fatal error: 'lz4.h' file not found",
            "pymc: no lz4.h: apt install liblz4-dev",
        ),
        ("a.c:1:10: fatal error: own.h: No such file or directory", ""),
    ],
)
def test_what_compilers_say_of_headers(said: str, line: str) -> None:
    assert toolchain.lack(said) == line


def test_one_line_without_cffi(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", fail)
    with pytest.raises(toolchain.BuildError, match=r"^pymc: no cffi: pip install cffi$"):
        build_core.cffi_version()


def test_each_library_of_the_table_is_used() -> None:
    texts = "\n".join(path.read_text() for path in cdef.room_files(CSRC, "*.[ch]"))
    rows = [library.header for library in toolchain.libraries()]
    assert [row for row in rows if f"#include <{row}>" not in texts] == []


def test_unknown_variant(core: Path) -> None:
    assert "PYMC_BUILD=fast: not one of release, debug" in build(core, "fast").stderr
