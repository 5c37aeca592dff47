"""A port on the loopback behind which a TLS rig answers: for clients that are programs."""

import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from pymc.core.ffi import lib
from tests.support.core.tls_rig import Rig, World
from tests.support.deadline import scaled, wait_until

_PATIENCE_SECONDS = scaled(20)


class Relay:
    """Serves one connection after the other; each line that comes is answered in capitals."""

    def __init__(self, world: World, context: Any, door: str = "DEFAULT") -> None:
        self.world, self.context, self.door = world, context, door
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.rigs: list[Rig] = []
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(_PATIENCE_SECONDS)
                self._talk(client, self.world.rig(self.context, self.door))

    def _talk(self, client: socket.socket, rig: Rig) -> None:
        self.rigs.append(rig)
        while sent := _received(client):
            rig.feed(sent)
            step = rig.step()
            while step == lib.TLS_RIG_DONE and (line := rig.read()):
                rig.write(line.upper())
            client.sendall(rig.drain())
            if step == lib.TLS_RIG_FAILED:
                return

    def close(self) -> None:
        # A thread that waits in accept() is not woken by close().
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(_PATIENCE_SECONDS)
        assert not self._thread.is_alive()


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 16)
    except OSError:
        return b""


def s_client(port: int, *options: str | Path, sent: Sequence[str] = (), until: str = "") -> str:
    """What `openssl s_client` prints, until it ends or has printed `until`.

    Each line is sent once the answer to the one before has come; `R` begins a renegotiation.
    """
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, options)]
    with tempfile.NamedTemporaryFile() as printed:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.STDOUT
        )
        assert child.stdin
        path = Path(printed.name)

        def has_said(words: str) -> bool:
            return words in path.read_text(errors="replace") or child.poll() is not None

        wait_until(lambda: has_said("Verify return code"), "s_client has connected")
        for line in sent:
            with suppress(BrokenPipeError):
                child.stdin.write(line.encode() + b"\n")
                child.stdin.flush()
            answer = line.upper() if len(line) > 1 else until
            wait_until(partial(has_said, answer), f"s_client has said {answer}")
        wait_until(lambda: has_said(until), f"s_client has said {until}")
        with suppress(BrokenPipeError):
            child.stdin.close()
        child.wait(_PATIENCE_SECONDS)
        return path.read_text(errors="replace")
