"""Builds the C core in place as a cffi extension module under pymc/core/.

Contract with pymc/core/ffi.py: the variable PYMC_BUILD names the variant, when the core is built
and when it is imported. Unset or empty, it means release.

    PYMC_BUILD   module                   what it is for
    release      pymc.core._core          -O2, link-time optimised
    debug        pymc.core._core_debug    -DPYMC_DEBUG: invariants, lock ranks, fault points
    asan         pymc.core._core_asan     debug with AddressSanitizer and UBSan (needs LD_PRELOAD)
    tsan         pymc.core._core_tsan     debug with ThreadSanitizer (needs LD_PRELOAD)
    coverage     pymc.core._core_coverage debug, unoptimised, counting lines for gcov

Each module has `ffi` and `lib`; what `lib` has, _core.pyi says to type checkers (csrc/stub.py). The
C code sees PYMC_BUILD_VARIANT, the name of the variant as a string.
Every C file of a room is compiled into build/<variant>/; only what changed, headers included, is
compiled again. The declarations come from the headers themselves: csrc/cdef.py.
The table of live settings, generated/live.def, is made from pymc/config.

The variant `fuzz` (clang) makes no module: it links tests/fuzz/fuzz_<target>.c with the core.
"""

import argparse
import fcntl
import hashlib
import importlib.metadata
import io
import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from csrc import cdef, stub
from csrc.toolchain import ARM64, CSRC, ROOT, BuildError, libraries, raise_if_any, run
from pymc.config import c_table

MODULE_FOLDER = ROOT / "pymc" / "core"
JOBS = 2

COMMON = ["-std=gnu11", "-D_GNU_SOURCE=", "-fPIC", "-pthread", "-fvisibility=hidden", "-fno-plt"]
COMMON += ["-fno-omit-frame-pointer", "-fno-semantic-interposition", "-g", f"-I{CSRC}"]
# Files are named from their room on, wherever the tree lies: "store/store.c".
COMMON += [f"-fmacro-prefix-map={CSRC}/="]
if platform.machine() == "x86_64":
    # SSE4.2 (CRC32C in hardware) is in every server of the last 15 years; more would not be.
    COMMON.append("-march=x86-64-v2")

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes"]
WARNINGS += ["-Wmissing-prototypes", "-Wpointer-arith", "-Wvla", "-Wundef", "-Wwrite-strings"]
WARNINGS += ["-Wformat=2"]
# A parameter that only debug builds look at is part of a contract, not an oversight.
WARNINGS += ["-Wno-unused-parameter"]

_DEBUG = ["-O1", "-DPYMC_DEBUG"]
_ASAN = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
VARIANTS = {
    "release": ["-O2", "-flto=2", "-fno-fat-lto-objects"],
    "debug": _DEBUG,
    "asan": [*_DEBUG, *_ASAN],
    # It does not know fences; all that they order is read and written as atomic words here.
    "tsan": [*_DEBUG, "-fsanitize=thread", "-Wno-tsan"],
    "coverage": ["-O0", "-DPYMC_DEBUG", "--coverage"],
    "fuzz": [*_DEBUG, "-fsanitize=fuzzer-no-link,address,undefined"],
}
# clang does not know gcc's spelling of these.
_GCC_ONLY = {"-fno-semantic-interposition"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to build the core: its compiler, its flags and where its files go."""

    name: str
    compiler: list[str]
    flags: list[str]
    folder: Path

    @property
    def module_name(self) -> str:
        """The extension's dotted name, which also names its init function."""
        return "pymc.core._core" + ("" if self.name == "release" else f"_{self.name}")

    @property
    def file_name(self) -> str:
        """The file of the built extension."""
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        return f"{self.module_name.rpartition('.')[2]}{suffix}"


def variant_named(name: str, builds: Path = ROOT / "build") -> Variant:
    """The variant with its flags, built in a folder of `builds`.

    Raises BuildError for an unknown name.
    """
    if name not in VARIANTS:
        raise BuildError(f"PYMC_BUILD={name}: not one of {', '.join(VARIANTS)}")
    folder = builds / name
    flags = [*COMMON, f"-I{folder}", *VARIANTS[name], f'-DPYMC_BUILD_VARIANT="{name}"']
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    if name == "fuzz":
        compiler = ["clang"]
        flags = [flag for flag in flags if flag not in _GCC_ONLY]
    return Variant(name, compiler, flags, folder)


def sources() -> list[Path]:
    """Every C file of the rooms."""
    return cdef.room_files(CSRC, "*.c")


def library_flags() -> list[str]:
    """The words for the linker."""
    return [*(flag for library in libraries() for flag in library.flags), "-pthread"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second build of the same variant waiting until this one is through."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_if_changed(path: Path, text: str) -> None:
    """Writes `text` unless the file has it already, so that its time means something."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def emit_generated(variant: Variant) -> None:
    """Writes what the C files include as "generated/...": tables made from Python's."""
    folder = variant.folder / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    write_if_changed(folder / "live.def", c_table.live_def())


def emit_binding(variant: Variant) -> Path:
    """Lets cffi write the C file of the extension module from the interface headers.

    Beside it lies a stub for type checkers. Reading declarations takes cffi longer than most C
    files take the compiler, so nothing is done while they stay the same.
    """
    headers = cdef.interface_headers(CSRC)
    text = cdef.cdef_text(headers)
    binding, told = variant.folder / "_core.c", variant.folder / "_core.cdef"
    # Whatever else the two files are made from.
    makers = [f"// cffi {cffi_version()}", (CSRC / "stub.py").read_text()]
    key = "\n".join([*makers, text])
    if binding.is_file() and told.is_file() and told.read_text() == key:
        return binding
    told.unlink(missing_ok=True)
    write_binding(variant, headers, text, binding)
    write_if_changed(variant.folder / "_core.pyi", stub.stub_text(text))
    told.write_text(key)
    return binding


def cffi_version() -> str:
    """The version of cffi; raises BuildError when there is none."""
    try:
        return importlib.metadata.version("cffi")
    except importlib.metadata.PackageNotFoundError:
        raise BuildError("pymc: no cffi: pip install cffi") from None


def write_binding(variant: Variant, headers: list[cdef.Header], text: str, binding: Path) -> None:
    """Has cffi write `binding`; a file that stays the same keeps its time."""
    from cffi import FFI, CDefError, FFIError

    ffi = FFI()
    try:
        ffi.cdef(text)
    except (CDefError, FFIError, NotImplementedError, TypeError) as error:
        raise BuildError(f"cffi does not take the interface headers: {error}") from error
    includes = "".join(f'#include "{header.path}"\n' for header in headers)
    ffi.set_source(variant.module_name, includes)
    fresh = variant.folder / "_core.new.c"
    with redirect_stdout(io.StringIO()):
        ffi.emit_c_code(str(fresh))
    write_if_changed(binding, fresh.read_text())
    fresh.unlink()


def is_current(product: Path, dependencies: list[Path]) -> bool:
    """Tells whether `product` is younger than everything it was made from."""
    if not product.is_file():
        return False
    made_ns = product.stat().st_mtime_ns
    return all(path.is_file() and path.stat().st_mtime_ns < made_ns for path in dependencies)


def dependencies_of(dep_file: Path) -> list[Path] | None:
    """The files a compilation read, from gcc's -MMD output; None when it has not run yet."""
    if not dep_file.is_file():
        return None
    _, _, listed = dep_file.read_text().replace("\\\n", " ").partition(":")
    return [Path(name) for name in listed.split()]


def compile_one(variant: Variant, source: Path, folder: Path, flags: list[str]) -> Path:
    """Compiles `source` into `folder` unless the object there is current; returns the object."""
    stem = source.stem
    if source.is_relative_to(CSRC):
        stem = "__".join(source.relative_to(CSRC).with_suffix("").parts)
    target, dep_file = folder / f"{stem}.o", folder / f"{stem}.d"
    known = dependencies_of(dep_file)
    if known is not None and is_current(target, known):
        return target
    started_ns = time.time_ns()
    command = [*variant.compiler, *variant.flags, *flags, "-MMD", "-MF", str(dep_file)]
    run([*command, "-c", str(source), "-o", str(target)])
    # An edit made while the compiler ran must count as newer than the object.
    os.utime(target, ns=(started_ns, started_ns))
    return target


def compile_all(variant: Variant, binding: Path | None) -> list[Path]:
    """Compiles every source (and cffi's file, which is not held to our warnings)."""
    key = "\n".join([*variant.compiler, *variant.flags, *WARNINGS, platform.python_version()])
    folder = variant.folder / hashlib.sha256(key.encode()).hexdigest()[:12]
    folder.mkdir(exist_ok=True)
    emit_generated(variant)
    work = [(source, WARNINGS) for source in sources()]
    if binding is not None:
        work.append((binding, ["-w", f"-I{sysconfig.get_path('include')}"]))
    with ThreadPoolExecutor(JOBS) as pool:
        tasks = [pool.submit(compile_one, variant, path, folder, flags) for path, flags in work]
    raise_if_any([str(error) for task in tasks if (error := task.exception())])
    return [task.result() for task in tasks]


def check_symbols(binding: Path, module: Path) -> None:
    """Refuses a module that lacks a function which an interface header promises."""
    listing = subprocess.check_output(["nm", "-D", "--undefined-only", str(module)], text=True)
    undefined = {line.split()[-1].partition("@")[0] for line in listing.splitlines()}
    declared = set(re.findall(r"_cffi_d_(\w+)\(", binding.read_text()))
    if missing := sorted(declared & undefined):
        module.unlink()
        raise BuildError(f"declared in a header, defined nowhere: {', '.join(missing)}")


def build_module(variant: Variant, folder: Path = MODULE_FOLDER) -> bool:
    """Builds the variant's extension module and its stub into `folder`.

    Returns False when the module was current.
    """
    with locked(variant.folder):
        binding = emit_binding(variant)
        objects = compile_all(variant, binding)
        folder.mkdir(parents=True, exist_ok=True)
        # All variants have the same declarations.
        write_if_changed(folder / "_core.pyi", binding.with_suffix(".pyi").read_text())
        link = [*variant.compiler, *variant.flags, "-shared", *map(str, objects), *library_flags()]
        record = variant.folder / "link"
        write_if_changed(record, shlex.join(link) + "\n")
        module = folder / variant.file_name
        if is_current(module, [*objects, record]):
            return False
        # Linked beside and moved over: a running server keeps the file it has mapped.
        fresh = folder / f".{variant.file_name}.new"
        started_ns = time.time_ns()
        run([*link, "-Wl,-z,relro,-z,now", "-o", str(fresh)])
        check_symbols(binding, fresh)
        os.utime(fresh, ns=(started_ns, started_ns))
        fresh.replace(module)
        return True


def write_stub() -> None:
    """Writes the stub of the core beside its module, for type checkers, without a compiler."""
    text = cdef.cdef_text(cdef.interface_headers(CSRC))
    write_if_changed(MODULE_FOLDER / "_core.pyi", stub.stub_text(text))


def build_fuzzer(target: str) -> Path:
    """Builds build/fuzz/fuzz_<target> with clang's libFuzzer and returns its path."""
    variant = variant_named("fuzz")
    source = ROOT / "tests" / "fuzz" / f"fuzz_{target}.c"
    if not source.is_file():
        known = sorted(path.stem[5:] for path in source.parent.glob("fuzz_*.c"))
        raise BuildError(f"TARGET={target}: no {source.name}; there are: {', '.join(known)}")
    program = variant.folder / source.stem
    with locked(variant.folder):
        objects = compile_all(variant, None)
        link = [*variant.compiler, *variant.flags, "-fsanitize=fuzzer,address,undefined"]
        run([*link, str(source), *map(str, objects), *library_flags(), "-o", str(program)])
    return program


def check_warnings() -> None:
    """Reads every C file with warnings as errors, without and with PYMC_DEBUG; keeps nothing.

    Once more for 64-bit ARM, compiled to the end: some faults show only in the code that is made.
    """
    for name in ("release", "debug"):
        variant = variant_named(name)
        emit_generated(variant)
        compile_each([*variant.compiler, *variant.flags, *WARNINGS, "-fsyntax-only"], sources())
    # The fuzzers are built by hand only, and may not fall behind the headers.
    fuzzers = sorted((ROOT / "tests" / "fuzz").glob("*.c"))
    variant = variant_named("debug")
    compile_each([*variant.compiler, *variant.flags, "-Wall", "-Werror", "-fsyntax-only"], fuzzers)
    flags = [flag for flag in variant_named("debug").flags if not flag.startswith("-march")]
    # Of the libraries only the headers are needed, which are the same on all 64-bit machines.
    own = Path("/usr/include", sysconfig.get_config_var("MULTIARCH") or "")
    headers = [word for folder in ("/usr/include", own) for word in ("-idirafter", str(folder))]
    compile_each([ARM64, *flags, *WARNINGS, *headers, "-S", "-o", os.devnull], sources())


def compile_each(command: list[str], files: list[Path]) -> None:
    """Runs the command on every file; raises BuildError with all that went wrong."""
    with ThreadPoolExecutor(JOBS) as pool:
        tasks = [pool.submit(run, [*command, str(file)]) for file in files]
    raise_if_any([str(error) for task in tasks if (error := task.exception())])


def main() -> int:
    """Builds the variant PYMC_BUILD names, or does what the one option says."""
    parser = argparse.ArgumentParser(description="Builds the C core in place.")
    parser.add_argument("--syntax-only", action="store_true", help="only judge the C files")
    parser.add_argument("--fuzz", metavar="TARGET", help="build a fuzzer and print its path")
    parser.add_argument("--stub", action="store_true", help="only write the stub of the module")
    parser.add_argument("--print-cdef", action="store_true", help="print the lifted declarations")
    options = parser.parse_args()
    try:
        if options.print_cdef:
            print(cdef.cdef_text(cdef.interface_headers(CSRC)))
        elif options.stub:
            write_stub()
        elif options.syntax_only:
            check_warnings()
        elif options.fuzz:
            print(build_fuzzer(options.fuzz))
        else:
            variant = variant_named(os.environ.get("PYMC_BUILD") or "release")
            started = time.monotonic()
            if build_module(variant):
                seconds = time.monotonic() - started
                print(f"built pymc/core/{variant.file_name} in {seconds:.1f} s")
    except (BuildError, cdef.HeaderError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
