"""A shortage of TCP memory is told from what the kernel shows."""

from pathlib import Path

import pytest

from tests.support.tcp_memory import tcp_shortage

SOCKETS = "sockets: used 14\nTCP: inuse 1 orphan 0 tw 36 alloc 1 mem {}\nUDP: inuse 0 mem 999999\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "limits").write_text("100\t200\t300\n")
    return tmp_path / "sockets", tmp_path / "limits"


@pytest.mark.parametrize(
    ("pages", "is_short"), [(0, False), (199, False), (200, True), (301, True)]
)
def test_short_from_the_second_bound_on(
    files: tuple[Path, Path], pages: int, is_short: bool
) -> None:
    files[0].write_text(SOCKETS.format(pages))
    said = tcp_shortage(*files)
    assert (said is not None) == is_short
    assert said is None or f"short: {pages} pages in use, tcp_mem is [100, 200, 300]" in said


def test_where_nothing_is_told_nothing_is_short(files: tuple[Path, Path], tmp_path: Path) -> None:
    assert tcp_shortage(tmp_path / "none", files[1]) is None
    files[0].write_text("sockets: used 14\n")
    assert tcp_shortage(*files) is None
    files[0].write_text(SOCKETS.format(999))
    files[1].write_text("100\n")
    assert tcp_shortage(*files) is None
