"""Launching: everything that a start makes, and the fork of each process, first or replacement."""

from pymc.launch.holdings import Holdings
from pymc.launch.launcher import Launcher, name_of
from pymc.launch.prepare import prepare

__all__ = ["Holdings", "Launcher", "name_of", "prepare"]
