"""Ends or stops a server's own processes and no others, even when a number is given away again."""

import os
import signal
from pathlib import Path


def signal_child(pid: int, parent: int, number: signal.Signals) -> bool:
    """Signals a child of `parent`; False when `pid` is gone or somebody else's by now."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Looked at after the handle was opened: from then on it stands for this very process.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if int(fields[1]) != parent:
            return False
        signal.pidfd_send_signal(handle, number)
    except (FileNotFoundError, ProcessLookupError):
        return False
    finally:
        os.close(handle)
    return True


def kill_child(pid: int, parent: int) -> bool:
    """Kills `pid` if it is a child of `parent`; False when it is gone or somebody else's by now."""
    return signal_child(pid, parent, signal.SIGKILL)
