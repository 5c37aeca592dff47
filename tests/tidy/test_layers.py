"""The layer check: an include may go down, or stay in its room."""

from pathlib import Path

import pytest

from scripts import check_layers

ROW = 'COUNTER(hits, "keys", "stats", "Reads.")\n'


@pytest.mark.parametrize(
    ("path", "include", "complaint"),
    [
        ("slab/slab.c", "base/status.h", ""),
        ("slab/slab.c", "slab/slab.h", ""),
        ("slab/slab.c", "slab.h", ""),
        ("base/status.c", "slab/slab.h", "csrc/base/status.c:2: base includes slab/slab.h"),
        ("slab/slab.c", "lru/lru.h", "but lru is beside it"),
        ("lru/lru.c", "slab/slab.h", "but slab is beside it"),
        ("lru/lru.c", "lru/gone.h", "lru/gone.h is no file below csrc"),
        ("slab/slab.c", "generated/live.def", ""),
        ("slab/slab.c", "generated/gone.def", "generated/gone.def is no file below csrc"),
        ("slab/page/page.c", "slab/slab.h", ""),
        ("slab/page/page.c", "lru/lru.h", "page.c:2: slab includes lru/lru.h, but lru is beside"),
        ("slab/slab.c", "../../outside.h", "outside.h is no file below csrc"),
        ("net/net.c", "base/status.h", "this room has no line in csrc/LAYERS"),
    ],
)
def test_direction(tmp_path: Path, path: str, include: str, complaint: str) -> None:
    (tmp_path / "LAYERS").write_text("base\nslab | lru\n")
    for header in ("base/status.h", "slab/slab.h", "lru/lru.h"):
        (tmp_path / header).parent.mkdir()
        (tmp_path / header).write_text("// Says what.\n")
    (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / path).write_text(f'// Says what.\n#include "{include}"\n')
    found = "\n".join(check_layers.violations(tmp_path))
    assert complaint in found
    assert bool(complaint) == bool(found)


@pytest.mark.parametrize(
    ("path", "include", "complaint"),
    [
        ("slab/slab.c", "slab/slab_internal.h", ""),
        ("store/store.c", "slab/slab_inline.h", ""),
        ("store/store.c", "slab/slab_internal.h", "2: store sees slab/slab_internal.h"),
        ("store/store.c", "slab/slab_leaky_inline.h", "which is slab's own"),
        ("slab/slab.c", "slab/slab_leaky_inline.h", ""),
    ],
)
def test_internal_headers_stay_in_their_room(
    tmp_path: Path, path: str, include: str, complaint: str
) -> None:
    (tmp_path / "LAYERS").write_text("slab\nstore\n")
    (tmp_path / "slab").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "slab/slab_inline.h").write_text("// Says what.\n")
    (tmp_path / "slab/slab_internal.h").write_text('#include "slab/slab_inline.h"\n')
    (tmp_path / "slab/slab_leaky_inline.h").write_text('#include "slab/slab_internal.h"\n')
    (tmp_path / path).write_text(f'// Says what.\n#include "{include}"\n')
    found = check_layers.violations(tmp_path)
    assert complaint in "\n".join(found)
    assert len(found) == bool(complaint)


def test_the_core_keeps_its_layers() -> None:
    assert check_layers.violations(check_layers.ROOT / "csrc") == []


def counting_rooms(csrc: Path, rooms: str) -> str:
    """Complaints about a core whose rooms slab, lru and store count and whose meter reads some."""
    (csrc / "LAYERS").write_text("shm\nmeter\nslab | lru\nstore\n")
    for room in ("shm", "slab", "lru", "store"):
        (csrc / room).mkdir()
        (csrc / room / "counters.def").write_text(f"// Says what.\n{ROW}")
    (csrc / "meter").mkdir()
    lines = "".join(f'#include "{room}/counters.def"\n' for room in rooms.split())
    (csrc / "meter" / "rooms.def").write_text(f"// Says what.\n{lines}")
    return "\n".join(check_layers.violations(csrc))


def test_the_meter_reads_the_tables_of_rooms_above_it(tmp_path: Path) -> None:
    assert counting_rooms(tmp_path, "slab lru store") == ""


@pytest.mark.parametrize("rooms", ["slab store", "lru slab store", "slab lru store store", ""])
def test_the_meter_reads_all_of_them_in_order(tmp_path: Path, rooms: str) -> None:
    said = counting_rooms(tmp_path, rooms)
    assert "slab/counters.def, lru/counters.def, store/counters.def" in said


def test_nobody_else_reads_them(tmp_path: Path) -> None:
    counting_rooms(tmp_path, "slab lru store")
    (tmp_path / "store" / "a.c").write_text('// Says what.\n#include "slab/counters.def"\n')
    assert check_layers.violations(tmp_path) == [
        "csrc/store/a.c:2: slab/counters.def is read by the meter and by slab only"
    ]
