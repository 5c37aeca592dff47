"""What tests of certificates share: files on disk, and an arena for tickets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.arena import Arena
from pymc.core.tls import format_tls, tls_reserve_bytes
from tests.support.certificate_files import CertificateFiles


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(tmp_path)


@pytest.fixture
def arena() -> Iterator[Arena]:
    with Arena.create(tls_reserve_bytes() + (1 << 20), 4) as made:
        format_tls(made)
        yield made
