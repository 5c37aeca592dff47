"""Making the tier: files, locks, pages over several paths, and geometries that cannot be."""

import errno
import os
import stat
from pathlib import Path

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.core.flash_log import PAGE, WBUF, Log


def test_files_are_made_private_empty_and_whole(tmp_path: Path) -> None:
    old = tmp_path / "log0"
    old.write_bytes(b"x" * 10_000)
    with Log(tmp_path, pages=(2, 1)) as log:
        assert old.stat().st_size == 2 * PAGE
        assert old.read_bytes()[:10_000] == bytes(10_000)
        made = (tmp_path / "log1").stat()
        assert made.st_size == PAGE
        assert stat.S_IMODE(made.st_mode) == 0o600
        assert log.page_count == 3
        assert lib.flash_path_count(log.flash) == 2
        assert lib.flash_wbuf_bytes(log.flash) == WBUF
        assert lib.flash_record_bytes_max(log.flash) == WBUF - 4096


def test_pages_alternate_over_paths_of_unequal_size(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1, 3, 2), labels=(0, 3, 0)) as log:
        pages = [log.page(number) for number in range(log.page_count)]
        assert [page.path for page in pages] == [0, 1, 2, 1, 2, 1]
        assert [page.label for page in pages] == [0, 3, 0, 3, 0, 3]
        assert {page.state for page in pages} == {lib.FLASH_PAGE_FREE}


def test_a_second_server_is_told_that_the_file_is_in_use(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(1, 1)) as log:
        second = Log(tmp_path, names=[str(tmp_path / "other"), log.names[1]], pages=(1, 1))
        assert second.status == lib.PYMC_BUSY
        assert second.failed_path == 1
        second.close()
    with Log(tmp_path, pages=(1, 1)):
        pass


def test_one_file_cannot_be_two_paths(tmp_path: Path) -> None:
    name = str(tmp_path / "log")
    twice = Log(tmp_path, names=[name, name], pages=(1, 1))
    assert (twice.status, twice.failed_path) == (lib.PYMC_BUSY, 1)
    twice.close()


def test_the_lock_lasts_while_a_child_has_the_file(tmp_path: Path) -> None:
    log = Log(tmp_path)
    waits, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(tells)
        os.read(waits, 1)
        os._exit(0)
    os.close(waits)
    log.close()
    second = Log(tmp_path)
    assert second.status == lib.PYMC_BUSY
    second.close()
    os.close(tells)
    os.waitpid(pid, 0)
    with Log(tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "expected"), [("missing/log", errno.ENOENT), ("folder", errno.EISDIR)]
)
def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path, name: str, expected: int) -> None:
    (tmp_path / "folder").mkdir()
    log = Log(tmp_path, names=[str(tmp_path / "fine"), str(tmp_path / name)], pages=(1, 1))
    assert (log.status, log.errno, log.failed_path) == (lib.PYMC_OS_ERROR, expected, 1)
    log.close()


def test_a_pipe_is_no_log(tmp_path: Path) -> None:
    name = tmp_path / "pipe"
    os.mkfifo(name)
    log = Log(tmp_path, names=[str(name)])
    assert (log.status, log.errno, log.failed_path) == (lib.PYMC_OS_ERROR, errno.EINVAL, 0)
    log.close()


@pytest.mark.parametrize(
    ("changes", "failed_path"),
    [
        ({"pages": (1, 0)}, 1),
        ({"labels": (lib.FLASH_BUCKETS,)}, 0),
        ({"pages": (65536,), "page_bytes": 8192, "wbuf_bytes": 8192}, lib.FLASH_PATHS_MAX),
        ({"page_bytes": 3 * WBUF // 2, "wbuf_bytes": WBUF}, lib.FLASH_PATHS_MAX),
        ({"wbuf_bytes": 4096}, lib.FLASH_PATHS_MAX),
        ({"page_bytes": 10_000, "wbuf_bytes": 10_000}, lib.FLASH_PATHS_MAX),
    ],
)
def test_bad_geometries(tmp_path: Path, changes: dict[str, object], failed_path: int) -> None:
    log = Log(tmp_path, **changes)  # type: ignore[arg-type]
    assert (log.status, log.failed_path) == (lib.PYMC_INVALID, failed_path)
    assert log.flash == ffi.NULL
    assert not list(tmp_path.iterdir())
    log.close()


def test_the_page_cache_is_used_when_wanted(tmp_path: Path) -> None:
    with Log(tmp_path, avoid_direct=True) as log:
        assert not lib.flash_path_is_direct(log.flash, 0)
        assert not log.path(0).is_direct
        image = b"i" * 3000
        (address,) = log.write_all([image])
        assert log.scan(log.place(address)[0]) == {address: image}
