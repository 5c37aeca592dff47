"""`refresh_certs`: the supervisor reads and checks the files, and its verdict is the answer."""

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pymc.control.answers import NOREPLY, WAITING, Answer, Command, Parts, line
from pymc.messages.signals import REFRESH_CERTIFICATES

if TYPE_CHECKING:
    from pymc.tls.material import Material

# The supervisor's own deadlines are shorter: this one is for a supervisor that does not go on.
_ANSWER_SECONDS = 60.0


def refresh_certs(command: Command) -> Answer | Parts:
    """`refresh_certs [noreply]`; other words behind it do not matter."""
    material = command.server.tls
    if material is None:
        return line("Error TLS not enabled")
    begun = material.rounds_begun
    os.kill(command.server.supervisor_pid, REFRESH_CERTIFICATES.number)
    is_quiet = command.words[-1] == NOREPLY
    return Parts(_result(material, begun, time.monotonic() + _ANSWER_SECONDS, is_quiet=is_quiet))


def _result(
    material: "Material", begun: int, deadline: float, *, is_quiet: bool
) -> Iterator[bytes | None]:
    """Waits for the end of a round that began after the client asked."""
    while material.rounds_done <= begun:
        if time.monotonic() >= deadline:
            text = "Error: the supervisor does not answer"
            break
        yield WAITING
    else:
        text = material.result_of(material.rounds_done)
    yield b"" if is_quiet else text.encode("utf-8", "replace") + b"\r\n"
