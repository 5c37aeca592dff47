"""Builds the C core for pip and build by csrc/build_core.py; all else stands in pyproject.toml.

A wheel gets the release variant. An editable install gets, in the tree, the variant that PYMC_BUILD
names; `PYMC_BUILD=none` leaves the core out, since `make build` builds it after such an install.
"""

import os
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
# Whoever builds by the standard interface has it not on the path.
sys.path.insert(0, str(ROOT))

from csrc import build_core, cdef, toolchain  # noqa: E402


class BuildCore(build_ext):
    """Takes the place of the step that would compile an extension's list of sources."""

    def run(self) -> None:
        """Puts the module and its stub where setuptools wants them."""
        in_place = self.inplace or self.editable_mode
        named = os.environ.get("PYMC_BUILD") or "release"
        if in_place and named == "none":
            return
        folder = build_core.MODULE_FOLDER if in_place else Path(self.build_lib, "pymc", "core")
        try:
            variant = build_core.variant_named(named if in_place else "release", builds_folder())
            build_core.build_module(variant, folder)
        except (toolchain.BuildError, cdef.HeaderError) as error:
            # One line says more than the traceback of a build that did what it could.
            sys.exit(str(error))


def builds_folder() -> Path:
    """Where objects lie: beside those of `make build`, unless nobody may write to the tree."""
    return ROOT / "build" if os.access(ROOT, os.W_OK) else Path(scratch.name)


# What an earlier build left in the tree would get into the wheel: setuptools copies whole folders,
# and takes its last list of files for the next one.
scratch = tempfile.TemporaryDirectory(prefix="pymc-build-")
options = {"build": {"build_base": scratch.name}}
if os.access(ROOT, os.W_OK):
    (ROOT / "pymc_cache.egg-info" / "SOURCES.txt").unlink(missing_ok=True)
else:
    options["egg_info"] = {"egg_base": scratch.name}
setup(
    cmdclass={"build_ext": BuildCore},
    ext_modules=[Extension("pymc.core._core", sources=[])],
    options=options,
)
