"""Bad I/O on purpose (debug builds): `extstore fault <kind> r|w|rw [path [skip [count [ms]]]]`."""

from pymc.control.answers import ERROR, OK, Answer, decimal
from pymc.core.flash import PATHS_ALL, FaultKind, Flash

_KINDS = {kind.name.lower().encode(): kind for kind in FaultKind}
_DIRECTIONS = (b"r", b"w", b"rw")


def set_fault(flash: Flash, words: list[bytes]) -> Answer:
    """Arms the fault in all processes; `extstore fault none rw` ends it."""
    if not 2 <= len(words) <= 6 or words[0] not in _KINDS or words[1] not in _DIRECTIONS:
        return ERROR
    numbers = [PATHS_ALL if word == b"all" else decimal(word) for word in words[2:]]
    if None in numbers:
        return ERROR
    given = [number or 0 for number in numbers]
    path, skip, count, slow_ms = given + [PATHS_ALL, 0, 0, 1000][len(given) :]
    flash.set_fault(
        _KINDS[words[0]],
        on_reads=b"r" in words[1],
        on_writes=b"w" in words[1],
        path=path,
        skip=skip,
        count=count,
        slow_us=slow_ms * 1000,
    )
    return OK
