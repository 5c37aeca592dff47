"""Memory that reads go into is used again: a reader takes no more than it holds at a time."""

from pathlib import Path

import pytest

from pymc.core.ffi import ffi
from tests.support.core.flash_reader_rig import KIB, KINDS, Rig


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_lone_read_has_the_memory_of_the_one_before(tmp_path: Path, kind: str) -> None:
    with Rig(tmp_path / "log", avoid_direct=True) as rig:
        (record,) = rig.write_random(1, (500, 501))
        reader = rig.reader(kind, depth=4, memory_bytes=512 * KIB)
        places = set()
        # More times than the mapping has room for.
        for _ in range(40):
            read = reader.begin(record)
            reader.wait(read, "me")
            reader.submit()
            assert reader.reap_all(1) == ["me"]
            places.add(int(ffi.cast("uintptr_t", read.record)))
            reader.release(read)
        assert len(places) == 1
        assert reader.is_idle()
