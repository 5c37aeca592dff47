"""A rig for each test of connections."""

from collections.abc import Iterator

import pytest

from tests.support.core.conn_rig import Rig
from tests.support.core.driver import MIB, Cache


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Cache(limit_bytes=64 * MIB) as cache:
        made = Rig(cache, cache.open())
        yield made
        made.close()
        made.handle.check()
