"""A pymc that goes by memcached's name is never taken for a memcached to compare with."""

import os
from pathlib import Path

import pytest

from scripts import peers
from tests.support.programs import pymc_program


def test_a_link_to_pymc_is_no_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    (ours / "memcached").symlink_to(pymc_program().path)
    real = theirs / "memcached"
    real.write_text("#!/bin/sh\necho memcached 1.6.18\n")
    real.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ours}:{theirs}:{os.environ['PATH']}")
    assert peers.version_of(ours / "memcached") is None
    assert peers.find_debian() == real
