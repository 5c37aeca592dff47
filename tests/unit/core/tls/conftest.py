"""Fixtures for tests of TLS: an arena with ticket keys, a CA, a server's certificate."""

from collections.abc import Iterator

import pytest

from tests.support.certs import Authority, Pair
from tests.support.core.tls_rig import World


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        made.rotate()
        yield made


@pytest.fixture(scope="session")
def root() -> Authority:
    return Authority.root()


@pytest.fixture(scope="session")
def server_pair(root: Authority) -> Pair:
    return root.server()
