"""The supervisor: serves by launching processes, and watches over them until a signal ends it."""

from pymc.supervisor.startup import main

__all__ = ["main"]
