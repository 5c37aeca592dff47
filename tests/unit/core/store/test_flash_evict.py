"""Evictions beside a flash tier: an item whose copy is on flash is not lost."""

from pathlib import Path

from tests.unit.core.driver import MIB
from tests.unit.core.flash_cache import FlashCache, Log

VALUE = b"x" * 900


def test_what_goes_with_a_copy_on_flash_is_no_eviction(tmp_path: Path) -> None:
    with FlashCache(tmp_path, Log(pages=8), limit_bytes=8 * MIB) as tier:
        store = tier.worker
        for i in range(4000):
            store.put(b"old%d" % i, VALUE)
        assert tier.write_out_all() == 4000
        for i in range(6000):
            store.put(b"new%d" % i, VALUE)
            if store.counters()["ext_clean_evictions"] > 200:
                break
        counters = store.counters()
        assert counters["ext_clean_evictions"] > 200
        assert counters["evictions"] == 0
        class_id = store.class_for(1024)
        assert store.class_counters(class_id)["evicted"] == 0
        assert store.class_counters(class_id)["evicted_unfetched"] == 0
        assert all(
            tier.send(b"get old%d\r\n" % i).startswith(b"VALUE old%d " % i) for i in range(200)
        )
