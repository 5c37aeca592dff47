"""The layer check: an include may go down, or stay in its room."""

from pathlib import Path

import pytest

from scripts import check_layers


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
    assert check_layers.violations(tmp_path, ["slab/slab_internal.h"]) == []


def test_the_core_keeps_its_layers() -> None:
    csrc = check_layers.ROOT / "csrc"
    assert check_layers.violations(csrc, check_layers.SEEN_FROM_OUTSIDE) == []
    strict = "\n".join(check_layers.violations(csrc))
    for header in check_layers.SEEN_FROM_OUTSIDE:
        assert header in strict, "nobody needs this exception any more"
