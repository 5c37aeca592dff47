"""What a server gives up before its first child: rights, and core files that hold secrets."""

import ctypes
from pathlib import Path

import pytest

from pymc import cli
from pymc.config import Settings
from pymc.core.errors import SystemCallError
from pymc.launch import identity
from pymc.record import replace
from tests.support.children import in_a_process

PR_GET_DUMPABLE = 3


def settings_of(*args: str) -> Settings:
    return cli.parse(["-u", "root", *args], "pymc", {})


def confined(settings: Settings) -> None:
    """Is confined in a process of its own, and checks what came of it."""
    holds_secrets = bool(settings.auth_file_path or settings.tls_enabled or settings.sasl_enabled)

    def scene() -> None:
        libc = ctypes.CDLL(None)
        identity.confine(settings)
        assert "NoNewPrivs:\t1" in Path("/proc/self/status").read_text()
        hides = holds_secrets and not settings.core_dumps
        assert libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == int(not hides)

    in_a_process(scene)


@pytest.mark.parametrize("args", [[], ["-r"]])
@pytest.mark.parametrize("secret", ["auth_file_path", "tls_enabled", "sasl_enabled", ""])
def test_secrets_stay_out_of_core_files_unless_r_asks(args: list[str], secret: str) -> None:
    settings = settings_of(*args)
    values = {"auth_file_path": "/users", "tls_enabled": True, "sasl_enabled": True}
    confined(replace(settings, **{secret: values[secret]}) if secret else settings)


def test_a_kernel_without_it_starts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise SystemCallError(22, "prctl")

    monkeypatch.setattr(identity, "give_up_privileges", refuse)
    identity.confine(settings_of())
