"""I/O that fails, stops short, tears, flips bits or takes its time."""

from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.flash_log import BLOCK, WBUF, Buffer, Log

pytestmark = pytest.mark.debug

IMAGES = [b"%05d" % number + b"," * 995 for number in range(700)]


def filled(log: Log, count: int = 200) -> tuple[Buffer, dict[int, bytes]]:
    """A sealed buffer, and what is in it."""
    buffer = Buffer(log)
    assert buffer.begin() == 0
    written = {}
    for image in IMAGES[:count]:
        address = buffer.put(image)
        assert address is not None
        written[address] = image
    assert buffer.seal() > 0
    return buffer, written


@pytest.mark.parametrize(
    "kind", [lib.FLASH_FAULT_EIO, lib.FLASH_FAULT_ENOSPC, lib.FLASH_FAULT_SHORT]
)
def test_a_failed_write_closes_the_page(tmp_path: Path, kind: int) -> None:
    with Log(tmp_path) as log:
        kept = log.write_all(IMAGES[:300])
        log.arm(kind, on_writes=True, count=1)
        buffer, written = filled(log)
        status = buffer.write()
        assert status == lib.PYMC_OS_ERROR
        buffer.finish(status)
        assert log.page(0).state == lib.FLASH_PAGE_FULL
        assert log.counters()["ext_write_errors"] == 1
        is_full = kind == lib.FLASH_FAULT_ENOSPC
        assert (log.path(0).write_errors, log.path(0).full_writes) == (not is_full, is_full)
        lib.flash_path_set_full(log.flash, 0, lib.FLASH_NOT_FULL)
        found = log.scan(0)
        assert found.items() >= kept.items()
        assert found.items() <= (kept | written).items()
        assert [log.place(address)[0] for address in log.write_all([b"on" * 9])] == [1]


def test_faults_wait_their_turn_and_end(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(9, 9)) as log:
        log.arm(lib.FLASH_FAULT_EIO, on_writes=True, skip=1, count=2, path=0)
        statuses = []
        for _ in range(6):
            buffer, _written = filled(log, 3)
            statuses.append((buffer.info().path, buffer.write()))
            buffer.finish(statuses[-1][1])
        failed = [status != 0 for path, status in statuses if path == 0]
        assert failed == [False, True, True]
        assert not any(status for path, status in statuses if path == 1)


def test_a_torn_write_loses_its_second_half_only(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.arm(lib.FLASH_FAULT_TORN, on_writes=True, count=1)
        buffer, written = filled(log)
        sealed_bytes = buffer.seal()
        assert buffer.complete() == 0
        log.arm(lib.FLASH_FAULT_NONE)
        later = log.write_all(IMAGES[200:300])
        found = log.scan(0)
        half = sealed_bytes // 2 // BLOCK * BLOCK
        whole = {at: image for at, image in written.items() if log.place(at)[1] + 1100 < half}
        assert found.items() >= (whole | later).items()
        assert found.items() < (written | later).items()


def test_flipped_bits_leave_no_record(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.arm(lib.FLASH_FAULT_FLIP, on_writes=True, count=1)
        buffer, _written = filled(log)
        assert buffer.complete() == 0
        log.arm(lib.FLASH_FAULT_NONE)
        later = log.write_all(IMAGES[200:300])
        assert log.scan(0) == later


def test_bits_flipped_on_the_way_in_leave_no_record(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        written = log.write_all(IMAGES[:200])
        log.arm(lib.FLASH_FAULT_FLIP, on_reads=True)
        assert log.scan(0) == {}
        log.arm(lib.FLASH_FAULT_TORN, on_reads=True)
        assert 0 < len(log.scan(0)) < len(written)
        log.arm(lib.FLASH_FAULT_NONE)
        assert log.scan(0) == written


def test_a_slow_write_is_seen_in_the_times(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.arm(lib.FLASH_FAULT_SLOW, on_writes=True, slow_us=3000)
        buffer, _written = filled(log)
        assert buffer.complete() == 0
        times = log.write_times()
        # 2^11 microseconds are 2 milliseconds.
        assert sum(times) == sum(times[12:]) == 1


def test_a_scan_goes_on_behind_a_piece_that_cannot_be_read(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        written = log.write_all(IMAGES)
        log.arm(lib.FLASH_FAULT_EIO, on_reads=True, skip=1, count=1)
        errors: list[int] = []
        found = dict(log.walk(0, errors))
        assert errors == [lib.PYMC_OS_ERROR]
        assert log.path(0).read_errors == 1
        # What cannot be read is counted as that, not as damage as well.
        assert log.path(0).bad_records == 0
        # A piece ends where the place of a write buffer does.
        hole = (WBUF, 2 * WBUF)
        for address, image in written.items():
            start = log.place(address)[1]
            outside = start + 1100 < hole[0] or start >= hole[1]
            assert (found.get(address) == image) or not outside
        assert found.items() < written.items()


@pytest.mark.parametrize("kind", [lib.FLASH_FAULT_SHORT, lib.FLASH_FAULT_EIO])
def test_reads_that_fail_return_nothing(tmp_path: Path, kind: int) -> None:
    with Log(tmp_path) as log:
        log.write_all(IMAGES[:10])
        log.arm(kind, on_reads=True, count=1)
        errors: list[int] = []
        assert dict(log.walk(0, errors)) == {}
        assert errors == [lib.PYMC_OS_ERROR]
        assert len(log.scan(0)) == 10
