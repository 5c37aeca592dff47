"""Which files belong to a room that `make mutate` changes, and which tests should notice.

A room of C is a folder of csrc, one of Python a folder of pymc. What stands first is run first.
"""

from dataclasses import dataclass
from pathlib import Path

_CORE = "tests/unit/core"
_ENGINE = (f"{_CORE}/server", f"{_CORE}/conn")
_ITEMS = (f"{_CORE}/store", f"{_CORE}/proto/test_session.py")
_TIER = (
    f"{_CORE}/store/test_flash_admission.py",
    f"{_CORE}/store/test_flash_back.py",
    f"{_CORE}/store/test_flash_buffers.py",
    f"{_CORE}/store/test_flash_changes.py",
    f"{_CORE}/store/test_flash_evict.py",
    f"{_CORE}/store/test_flash_leave.py",
    f"{_CORE}/store/test_flash_pages.py",
    f"{_CORE}/store/test_flash_shortage.py",
    f"{_CORE}/store/test_flash_views.py",
    f"{_CORE}/store/test_recache.py",
)

# Where a room has no row here its tests are those in the folder that has its name.
_TESTS: dict[str, tuple[str, ...]] = {
    "base": (_CORE, "tests/unit/test_logs.py"),
    "shm": (f"{_CORE}/shm", f"{_CORE}/store/test_busy.py", "tests/unit/test_live_settings.py"),
    "meter": (f"{_CORE}/meter", "tests/unit/stats"),
    "tls": (f"{_CORE}/tls", "tests/crash/test_ticket_rotation.py"),
    "table": (f"{_CORE}/index", f"{_CORE}/flash"),
    "flash": (f"{_CORE}/flash", *_TIER),
    "slab": (f"{_CORE}/slab", *_ITEMS),
    "index": (f"{_CORE}/index", f"{_CORE}/store/test_dump_changes.py"),
    "lru": (
        f"{_CORE}/lru",
        f"{_CORE}/store/test_probation.py",
        f"{_CORE}/store/test_keeping.py",
        f"{_CORE}/store/test_evict.py",
    ),
    "item": _ITEMS,
    "link": _ITEMS,
    "space": _ITEMS,
    "store": (*_ITEMS, "tests/unit/stats/test_walks.py"),
    "tier": (*_TIER, f"{_CORE}/proto/test_flash_get.py"),
    "proto": (f"{_CORE}/proto", "tests/model/test_session_model.py"),
    "flash_log": (f"{_CORE}/flash/test_format.py", f"{_CORE}/flash/test_scan.py"),
    "conn": _ENGINE[::-1],
    "server": _ENGINE,
    "config": (
        "tests/unit/test_config_description.py",
        "tests/unit/test_config_getopt.py",
        "tests/unit/test_config_listeners.py",
        "tests/unit/test_config_numbers.py",
        "tests/unit/test_config_stats_lines.py",
        "tests/unit/test_config_table.py",
        "tests/unit/test_cli.py",
        "tests/unit/test_cli_errors.py",
    ),
}


class UnknownRoomError(Exception):
    """No folder has this name, or nothing says which tests are its own."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room's own files and tests, as paths from the root."""

    name: str
    is_c: bool
    files: tuple[str, ...]
    tests: tuple[str, ...]


def room_named(root: Path, name: str) -> Room:
    """The room with the files that it has today."""
    is_c = (root / "csrc" / name).is_dir()
    folder = root / ("csrc" if is_c else "pymc") / name
    if not name.isidentifier() or not folder.is_dir():
        raise UnknownRoomError(f"ROOM={name}: neither csrc nor pymc has a room of this name")
    # Headers of interfaces only declare.
    patterns = ("**/*.c", "**/*_inline.h", "**/*_internal.h") if is_c else ("**/*.py",)
    found = sorted(path for pattern in patterns for path in folder.glob(pattern))
    own = f"{_CORE}/{name}" if is_c else f"tests/unit/{name}"
    tests = tuple(test for test in _TESTS.get(name, (own,)) if (root / test).exists())
    if not tests:
        raise UnknownRoomError(f"ROOM={name}: scripts/mutation_rooms.py has no tests for it")
    return Room(name, is_c, tuple(str(path.relative_to(root)) for path in found), tests)
