"""The table from status to exception is complete, and check() uses it."""

import errno
import os

import pytest

from pymc.core import errors
from pymc.core.ffi import ffi, lib, text


def statuses() -> dict[str, int]:
    """Every constant of enum pymc_status, by name."""
    listed = ffi.typeof("enum pymc_status").elements
    return {name: value for value, name in listed.items()}


def test_each_status_has_its_own_exception() -> None:
    wanted = {value for name, value in statuses().items() if name != "PYMC_OK"}
    assert set(errors.EXCEPTIONS) == wanted
    assert len(set(errors.EXCEPTIONS.values())) == len(wanted)


@pytest.mark.parametrize("name", sorted(set(statuses()) - {"PYMC_OK"}))
def test_check_raises_it(name: str) -> None:
    status = statuses()[name]
    with pytest.raises(errors.EXCEPTIONS[status], match="an operation"):
        errors.check(status, "an operation")
    assert text(lib.pymc_status_name(status)) == name


def test_success_raises_nothing() -> None:
    errors.check(lib.PYMC_OK, "an operation")


def test_system_errors_carry_errno() -> None:
    ffi.errno = errno.ENOSPC
    with pytest.raises(errors.SystemCallError) as caught:
        errors.check(lib.PYMC_OS_ERROR, "write")
    assert caught.value.errno == errno.ENOSPC
    assert os.strerror(errno.ENOSPC) in str(caught.value)
