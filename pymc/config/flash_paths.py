"""Files of the flash tier as `-o ext_path=/file:size[:bucket]` names them."""

from collections.abc import Mapping
from typing import Any

from pymc.config.c_numbers import integer_prefix
from pymc.config.errors import StartupError
from pymc.record import Record

_UNIT_SHIFTS = {"m": 20, "g": 30, "t": 40, "p": 50}
BUCKETS = ("default", "compact", "lowttl", "chunked", "coldcompact", "old")
_UNPARSED = "failed to parse ext_path argument"


class FlashPath(Record):
    """One file of the flash tier."""

    path: str
    size_bytes: int
    page_count: int
    bucket: str = "default"


def read_flash_path(name: str, text: str | None, now: Mapping[str, Any]) -> tuple[FlashPath, ...]:
    """One more file behind those given before. Raises StartupError in memcached's words."""
    if text is None:
        raise StartupError("missing argument to ext_path, ie: ext_path=/d/file:5G")
    words = [word for word in text.split(":") if word]
    if not words:
        raise StartupError(_UNPARSED)
    shift = _UNIT_SHIFTS.get(words[1][-1].lower()) if len(words) > 1 else None
    if shift is None:
        raise StartupError(
            "must supply size to ext_path, ie: ext_path=/f/e:64m (M|G|T|P supported)\n" + _UNPARSED
        )
    number = integer_prefix(words[1])
    size_bytes = number.value << shift if number else 0
    page_count = size_bytes // now["ext_page_bytes"] if now["ext_page_bytes"] else 0
    if page_count <= 0:
        raise StartupError("supplied ext_path has zero size, cannot use\n" + _UNPARSED)
    bucket = words[2] if len(words) > 2 else "default"
    if bucket not in BUCKETS:
        raise StartupError(f"Unknown extstore bucket: {bucket}\n{_UNPARSED}")
    return (*now["ext_paths"], FlashPath(words[0], size_bytes, page_count, bucket))
