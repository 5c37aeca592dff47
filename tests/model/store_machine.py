"""The store's state machines, with much and with little memory, for test_store.py."""

from tests.model.machine import StoreMachine
from tests.unit.core.driver import LADDER, MIB, Shape


class TightMachine(StoreMachine):
    """Memory for some of it: misses are allowed."""

    shape = Shape(3 * MIB, 8 * MIB, 4, LADDER, 2, {"item_bytes_max": 3 * MIB})
    may_forget = True
    may_refuse = True


__all__ = ["StoreMachine", "TightMachine"]
