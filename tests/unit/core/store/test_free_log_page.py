"""A log page that is free again shows nothing of what it held."""

from pathlib import Path

from pymc.core.ffi import lib
from tests.support.core.flash_cache import FlashCache, Log, Rules


def test_a_page_that_is_free_again_belongs_to_no_stream(tmp_path: Path) -> None:
    with FlashCache(tmp_path, Log(avoid_direct=True)) as tier:
        tier.send(b"set k 0 50 1\r\nx\r\n")
        assert tier.to_flash(Rules(low_ttl_seconds=100)) == 1
        (page,) = [n for n, row in enumerate(tier.pages()) if row.bucket == lib.FLASH_LOW_TTL]
        tier.drop_page(page)
        row = tier.pages()[page]
        assert (row.state, row.bucket) == (lib.FLASH_PAGE_FREE, lib.FLASH_DEFAULT)
        assert (row.version, row.objects, row.written_bytes) == (0, 0, 0)
