"""The declarations lifted from interface headers: what is kept, what is refused, in which order."""

from pathlib import Path

import pytest
from cffi import FFI

from csrc import cdef


def lifted(text: str) -> str:
    """The declarations of one header, white space squeezed."""
    return " ".join(cdef.declarations_of(text, "slab/slab.h").split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("// Says what.\nstruct slab;", "struct slab;"),
        ("/* two\n lines */ struct slab; // tail", "struct slab;"),
        ('#pragma once\n#include "shm/arena.h"\n#include <stdint.h>\n', ""),
        ("#define KEY_BYTES_MAX 250u // why", "#define KEY_BYTES_MAX 250u"),
        ("#define MASK 0xffUL", "#define MASK 0xffUL"),
        ("#define LOWEST -1", "#define LOWEST -1"),
        ("#define MUST_CHECK __attribute__((warn_unused_result))", ""),
        ("MUST_CHECK enum pymc_status take(struct slab *slab);",) * 2,
        ("struct a { uint8_t kind : 3; };",) * 2,
        ("struct a { uint8_t bytes[]; };",) * 2,
        ("typedef void (*visit)(void *context, uint64_t at);",) * 2,
        ("struct CACHE_ALIGNED lane { int n; };", "struct lane { int n; ...; };"),
        ("struct lane { int n; } CACHE_ALIGNED;", "struct lane { int n; ...; } ;"),
        ("struct l { int n; CACHE_ALIGNED int m; };", "struct l { int n; int m; ...; };"),
        (
            "struct o { struct i { int n CACHE_ALIGNED; } i; }; struct p { int n; };",
            "struct o { struct i { int n ; ...; } i; ...; }; struct p { int n; };",
        ),
    ],
)
def test_kept(text: str, expected: str) -> None:
    assert lifted(text) == expected.replace("MUST_CHECK ", "")


@pytest.mark.parametrize(
    "line",
    [
        "#define SIZE (1 << 20)",
        '#define NAME "pymc"',
        "#define MAX(a, b) a",
        "#ifdef PYMC_DEBUG",
        "#ifndef SLAB_H",
        "#pragma pack(1)",
        "static inline int two(void) { return 2; }",
        "int two(void) { return 2; }",
        "extern int count;",
        "_Static_assert(1, 2);",
        "struct a { int n; } __attribute__((packed));",
        "struct a { _Atomic int n; };",
        "struct a { _Alignas(64) int n; };",
        "struct a { struct { int n CACHE_ALIGNED; } inner; };",
    ],
)
def test_refused_with_its_place(line: str) -> None:
    with pytest.raises(cdef.HeaderError, match=r"^csrc/slab/slab\.h:3: "):
        cdef.declarations_of(f"// Slab.\n\n{line}\n", "slab/slab.h")


def make_rooms(csrc: Path, files: dict[str, str]) -> Path:
    """A core with the levels base, then slab and lru; returns its folder."""
    csrc.mkdir(exist_ok=True)
    (csrc / "LAYERS").write_text("# Lowest first.\nbase\nslab | lru\n")
    for path, text in files.items():
        (csrc / path).parent.mkdir(exist_ok=True, parents=True)
        (csrc / path).write_text(text)
    return csrc


def test_headers_follow_what_they_include(tmp_path: Path) -> None:
    files = {
        "base/a.h": '#include "base/z.h"\n',
        "base/z.h": "",
        "lru/lru.h": "",
        "slab/slab.h": '#include "slab_class.h"\n// #include "slab/zzz.h"\n',
        "slab/slab_class.h": "",
        "slab/slab_inline.h": "static inline",
        "slab/slab_internal.h": "static inline",
        "slab/page/page.h": "",
        "slab/page/page_internal.h": "static inline",
    }
    headers = cdef.interface_headers(make_rooms(tmp_path, files))
    assert [header.path for header in headers] == [
        "base/z.h",
        "base/a.h",
        "slab/page/page.h",
        "slab/slab_class.h",
        "slab/slab.h",
        "lru/lru.h",
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"base/a.h": '#include "b.h"\n', "base/b.h": '#include "a.h"\n'},
            "csrc/base/a.h:1: headers include each other",
        ),
        ({"net/part/net.h": ""}, "csrc/net: this room has no line in csrc/LAYERS"),
        ({"net/net.h": ""}, "csrc/net: this room has no line in csrc/LAYERS"),
    ],
)
def test_impossible_rooms(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(cdef.HeaderError, match=message):
        cdef.interface_headers(make_rooms(tmp_path, files))


def test_cffi_takes_the_text_and_names_the_header_in_its_errors() -> None:
    FFI().cdef(cdef.cdef_text([cdef.Header("base/a.h", "struct a { int n; ...; };\nint f(void);")]))
    broken = cdef.Header("base/b.h", "\nint f(unknown_type x);\n")
    with pytest.raises(Exception, match=r"csrc/base/b\.h:2"):
        FFI().cdef(cdef.cdef_text([cdef.Header("base/a.h", "struct a;\n"), broken]))
