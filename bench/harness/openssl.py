"""One OpenSSL for all servers: its speed would otherwise be a large part of what is compared."""

import subprocess
from dataclasses import replace
from pathlib import Path

from bench.harness import loadgen
from bench.harness.servers import Kind

NAMES = ("libcrypto.so", "libssl.so")


def libraries(program: Path) -> list[str]:
    """Paths of the OpenSSL that a program of this system loads. Raises LoadError without one."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True)
    found = []
    for name in NAMES:
        lines = [line.split() for line in done.stdout.splitlines() if line.strip().startswith(name)]
        paths = [words[2] for words in lines if len(words) > 2 and words[2].startswith("/")]
        if not paths:
            raise loadgen.LoadError(f"{program} loads no {name}")
        found.append(paths[0])
    return found


def shared(kind: Kind) -> Kind:
    """The server with the OpenSSL of this system, which pymc has, instead of its own."""
    if kind.name != "memcached-newest":
        return kind
    preload = ("LD_PRELOAD", ":".join(libraries(loadgen.PROGRAM)))
    return replace(kind, environment=(*kind.environment, preload))
