"""Lines for standard error, each in one write so that processes do not mix theirs."""

import os
import sys
import traceback


def say(text: str) -> None:
    """Writes one line (or several, joined by line ends). Never fails: nobody may be listening."""
    try:
        os.write(2, f"{text}\n".encode(errors="replace"))
    except OSError:
        pass


def say_exception(doing: str) -> None:
    """Writes what was being done and the exception that is being handled."""
    kind, error, trace = sys.exc_info()
    lines = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
    say(f"{doing}:\n{lines}")
