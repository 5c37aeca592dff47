"""Runs the server: as `python -m pymc`, and as the program `pymc`."""

import gc
import sys


def main() -> int:
    """The program's entry; returns the exit code."""
    # What is loaded now stays: looking for garbage in it takes a tenth of the start.
    gc.disable()
    from pymc.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
