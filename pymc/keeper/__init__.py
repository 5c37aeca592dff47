"""The keeper process: background work in bounded steps, decided by pymc.policy."""

from pymc.keeper.keeper import run

__all__ = ["run"]
