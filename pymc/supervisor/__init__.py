"""The supervisor: owns arena and listeners, starts and replaces workers and keeper."""

from pymc.supervisor.startup import main

__all__ = ["main"]
