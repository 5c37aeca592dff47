"""Runs the server as `python -m pymc`."""

import sys

from pymc.cli import main

sys.exit(main())
