"""Administrative commands: from a command line to an answer, whichever worker is asked."""

from pymc.control.control import Control

__all__ = ["Control"]
