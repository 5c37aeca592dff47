"""The judgement over the files of a distribution; `make check-wheel` builds and serves one."""

import pytest

from scripts.check_wheel import sdist_faults, wheel_faults

CORE = "pymc/core/_core.cpython-311-x86_64-linux-gnu.so"
STUB = "pymc/core/_core.pyi"
PACKAGE = {"pymc/__init__.py", "pymc/py.typed"}
NAME = "pymc_cache-0.1.0-cp311-cp311-linux_x86_64.whl"
WHEEL = {*PACKAGE, CORE, STUB, "pymc_cache-0.1.0.dist-info/RECORD"}


@pytest.mark.parametrize(
    ("file_name", "more", "less", "faults"),
    [
        (NAME, "", "", []),
        (NAME, "", "pymc/py.typed", ["the wheel lacks pymc/py.typed"]),
        (NAME, "pymc/gone.py", "", ["the wheel has pymc/gone.py"]),
        (NAME, "csrc/cdef.py", "", ["the wheel has csrc/cdef.py"]),
        (NAME, "", STUB, ["the wheel lacks the stub of the core"]),
        (NAME, "", CORE, ["the wheel has not one release core but []"]),
        ("pymc-0.1-py3-none-any.whl", "", "", ["pymc-0.1-py3-none-any.whl: no platform"]),
    ],
)
def test_wheel(file_name: str, more: str, less: str, faults: list[str]) -> None:
    names = (WHEEL | {more}) - {less, ""}
    found = wheel_faults(file_name, names, PACKAGE)
    assert [fault[: len(wanted)] for fault, wanted in zip(found, faults, strict=True)] == faults


def test_a_debug_core_has_no_place_in_a_wheel() -> None:
    debug = CORE.replace("_core.", "_core_debug.")
    for names in (WHEEL | {debug}, (WHEEL - {CORE}) | {debug}):
        assert "not one release core" in wheel_faults(NAME, names, PACKAGE)[0]


def test_sdist() -> None:
    wanted = {"csrc/LAYERS", "setup.py"}
    assert sdist_faults({*wanted, "PKG-INFO"}, wanted) == []
    assert sdist_faults({"setup.py", CORE, STUB}, wanted) == [
        "the sdist lacks csrc/LAYERS",
        f"the sdist has {CORE}",
        f"the sdist has {STUB}",
    ]
