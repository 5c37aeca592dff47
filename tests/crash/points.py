"""The fault points of the core, and which suite reaches them."""

import re
from pathlib import Path

from csrc import cdef

_CSRC = Path(__file__).resolve().parents[2] / "csrc"
_FLASH_PREFIXES = ("flash.", "store.back.", "store.copy.")


def fault_points() -> list[str]:
    """Every name in a FAULT_POINT() above the room that defines it."""
    above = (p for p in cdef.room_files(_CSRC, "*.[ch]") if cdef.room_of(_CSRC, p) != "base")
    texts = (path.read_text() for path in above)
    found = {name for text in texts for name in re.findall(r'FAULT_POINT\([^"]*"([^"]+)"\)', text)}
    return sorted(found)


# Nobody comes there without a flash tier. Log and index alone: test_flash_log.py,
# test_flash_index.py; under a whole cache: test_flash_server_points.py.
FLASH_POINTS = [
    name
    for name in fault_points()
    if name.startswith(_FLASH_PREFIXES) or name == "store.link.copy_invalidated"
]
# Reached by the process that repairs, not by one that works.
_REPAIR_PREFIXES = ("store.repair.", "slab.repair.", "table.repair.")
# Of these, in the middle of a transaction that is being repaired: test_transactions.py.
_TXN_REPAIR = ("judged", "freed", "key", "limbo", "limbo_named")
TXN_REPAIR_POINTS = [f"store.repair.{name}" for name in _TXN_REPAIR]
REPAIR_POINTS = [
    name
    for name in fault_points()
    if name.startswith(_REPAIR_PREFIXES) and name not in TXN_REPAIR_POINTS
]
# Reached by who takes the slot of a dead process over.
RECLAIM_POINTS = [name for name in fault_points() if name.startswith("store.reclaim.")]
# Reached by whoever flushes.
FLUSH_POINTS = [name for name in fault_points() if name.startswith("store.flush.")]
# Queues must be long before these are reached: test_probation.py.
PROBATION_POINTS = [name for name in fault_points() if name.startswith("lru.")]
# Reached with a neighbour that rests: test_neighbours.py.
NEIGHBOUR_POINTS = ["slab.collect.seen", "slab.collect.locked", "slab.drain.given_back"]
_DEEP_PREFIXES = ("lru.head.", "lru.segment.freed", "lru.release.")
WORK_POINTS = [
    name
    for name in fault_points()
    if name
    not in {
        *FLASH_POINTS,
        *REPAIR_POINTS,
        *TXN_REPAIR_POINTS,
        *RECLAIM_POINTS,
        *FLUSH_POINTS,
        *NEIGHBOUR_POINTS,
    }
    and not name.startswith(_DEEP_PREFIXES)
]
