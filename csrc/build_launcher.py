"""Builds csrc/launcher.c and puts it into .venv/bin as `pymc`, with `memcached` as a link to it.

The launcher embeds the Python that runs this file. There are three ways, and the first that works
is taken: with its static library, which is the interpreter as it is, and needs nothing at run time
but the standard library; with its shared library; and a launcher that hands over to .venv's
interpreter, which is then what /proc/PID/exe names. That is said, since init scripts go by it.
"""

import argparse
import os
import shlex
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from csrc.build_core import WARNINGS, is_current, locked, write_if_changed
from csrc.toolchain import ARM64, CSRC, ROOT, BuildError, run

SOURCE = CSRC / "launcher.c"
FOLDER = ROOT / "build" / "launcher"
# Names the way that was taken.
WAY_FILE = FOLDER / "way"
BIN = Path(sys.prefix) / "bin"
RUN_SECONDS = 60
COMMON = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wl,-z,relro,-z,now"]
EXECS = "-DPYMC_LAUNCHER_EXECS"
HANDS_OVER = """WARNING: {python} cannot be embedded, so the program pymc hands over to it.
WARNING: /proc/PID/exe of a server is then the interpreter's, and init scripts that stop a server by
WARNING: its program (start-stop-daemon --exec) do not find it. What was tried: {tried}"""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make the launcher: the compiler's words, and the library that it must have."""

    name: str
    flags: list[str]
    library: Path | None = None


def setting(name: str) -> str:
    """What this Python's build noted under `name`; empty when it noted nothing."""
    return str(sysconfig.get_config_var(name) or "")


def ways() -> list[Way]:
    """The ways that this Python's files allow, the best first."""
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{sysconfig.get_path('platinclude')}"]
    words = shlex.split(" ".join(setting(name) for name in ("LIBS", "SYSLIBS", "MODLIBS")))
    # Debian's Python 3.14 names a library of blanks.
    needed = [word for word in words if word.strip()]
    archive = Path(setting("LIBPL")) / setting("LIBRARY")
    folder = Path(setting("LIBDIR"))
    shared = folder / setting("INSTSONAME")
    # Extension modules take the interpreter's functions from the program.
    static = [*includes, "-no-pie", "-rdynamic", str(archive), *dict.fromkeys(needed)]
    linked = [*includes, f"-L{folder}", f"-lpython{setting('LDVERSION')}", f"-Wl,-rpath,{folder}"]
    found = [Way("static", static, archive), Way("shared", linked, shared)]
    return [*(way for way in found if way.library and way.library.is_file()), Way("execs", [EXECS])]


def command(way: Way, program: Path) -> list[str]:
    """The whole call of the compiler."""
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    # Libraries come behind the file that needs them.
    return [
        *compiler,
        *COMMON,
        *WARNINGS,
        python_word(),
        str(SOURCE),
        *way.flags,
        "-o",
        str(program),
    ]


def python_word() -> str:
    """The interpreter of .venv, as the launcher's source wants it."""
    return f'-DPYMC_PYTHON="{BIN / "python"}"'


def answers(program: Path) -> str:
    """What is wrong with a program that was built; empty when it runs pymc."""
    done = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=RUN_SECONDS)
    return "" if done.returncode == 0 and done.stdout else done.stderr or "it says nothing"


def build(program: Path) -> str:
    """Builds the first way that works and returns its name; raises BuildError when none does."""
    faults: list[str] = []
    for way in ways():
        try:
            run(command(way, program))
            fault = answers(program)
        except BuildError as error:
            fault = str(error)
        if not fault:
            if way.name == "execs":
                tried = "\n".join(faults) or "there is neither libpython*.a nor libpython*.so"
                print(HANDS_OVER.format(python=sys.executable, tried=tried), file=sys.stderr)
            return way.name
        faults.append(f"{way.name}: {fault}")
    raise BuildError("\n\n".join(["the launcher cannot be built", *faults]))


def put_in_place(program: Path) -> None:
    """Puts it over what pip put there, whole at any time: a server may be running from it.

    The same file stays: who stops a server by its program compares the files, not their bytes.
    """
    target, link = BIN / "pymc", BIN / "memcached"
    if not target.is_file() or target.read_bytes() != program.read_bytes():
        fresh = BIN / ".pymc.new"
        fresh.write_bytes(program.read_bytes())
        fresh.chmod(0o755)
        fresh.replace(target)
    if not link.is_symlink():
        link.symlink_to(target.name)


def install() -> None:
    """Builds the launcher unless it is current, and puts it in place."""
    started = time.monotonic()
    with locked(FOLDER):
        program, record = FOLDER / "pymc", FOLDER / "link"
        tried = ways()
        write_if_changed(record, "\n".join(shlex.join(command(way, program)) for way in tried))
        inputs = [SOURCE, record, *(way.library for way in tried if way.library)]
        if not is_current(program, inputs):
            way = build(program)
            WAY_FILE.write_text(way)
            print(f"built .venv/bin/pymc ({way}) in {time.monotonic() - started:.1f} s")
        put_in_place(program)


def check() -> None:
    """Reads both forms of the launcher with warnings as errors, here and for 64-bit ARM."""
    include = sysconfig.get_path("include")
    for compiler, more in (("gcc", []), (ARM64, ["-idirafter", "/usr/include", *arm64_headers()])):
        for form in ([], [EXECS]):
            flags = [*WARNINGS, python_word(), *form, *more, f"-I{include}", "-fsyntax-only"]
            run([compiler, *COMMON[:2], *flags, str(SOURCE)])


def arm64_headers() -> list[str]:
    """Debian's Python.h asks for the machine's own pyconfig.h; this machine's has to do."""
    triplet = setting("MULTIARCH")
    name = f"python{sysconfig.get_python_version()}"
    if not Path("/usr/include", triplet, name, "pyconfig.h").is_file():
        return []
    folder = FOLDER / "arm64" / "aarch64-linux-gnu" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_if_changed(folder / "pyconfig.h", f"#include <{triplet}/{name}/pyconfig.h>\n")
    return [f"-I{FOLDER / 'arm64'}"]


def main() -> int:
    """Builds and installs the launcher, or only judges its source."""
    parser = argparse.ArgumentParser(description="Builds the program pymc.")
    parser.add_argument("--syntax-only", action="store_true", help="only judge the C file")
    try:
        if parser.parse_args().syntax_only:
            check()
        else:
            install()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
