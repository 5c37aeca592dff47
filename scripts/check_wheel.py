"""Builds the source distribution and from it the wheel, installs that elsewhere, and is served.

The wheel has to have all of pymc and one C core, whatever lies in the tree; the installed server
has to run from its own environment alone.
"""

import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD_SECONDS = 900
ANSWER_SECONDS = 60
POLL_SECONDS = 0.02


class WheelError(Exception):
    """What is wrong with the distribution."""


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; raises WheelError with all that it said when it fails."""
    # What this tree's own environment says to Python is not for another one.
    environment = {name: word for name, word in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        words = " ".join(map(str, command))
        raise WheelError(f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def tracked(*folders: str) -> set[str]:
    """The files of the repository below the folders, as paths from the root."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", "--", *folders, cwd=ROOT)
    return {path for path in listed.splitlines() if (ROOT / path).is_file()}


def sdist_faults(names: set[str], wanted: set[str]) -> list[str]:
    """What a source distribution lacks, and what was built and has no place in it.

    `names` are paths from its own top folder.
    """
    built = {name for name in names if name.endswith((".so", ".o", ".pyc", ".pyi"))}
    missing = sorted(f"the sdist lacks {path}" for path in wanted - names)
    return missing + sorted(f"the sdist has {path}" for path in built)


def wheel_faults(file_name: str, names: set[str], wanted: set[str]) -> list[str]:
    """What a wheel lacks or has too much; `wanted` are the files of the package in the tree."""
    module = "pymc/core/_core."
    cores = {name for name in names if name.endswith(".so")}
    packaged = {name for name in names if ".dist-info/" not in name}
    faults = [f"the wheel lacks {path}" for path in wanted - packaged]
    faults += [f"the wheel has {path}" for path in packaged - wanted - cores - {module + "pyi"}]
    if len(cores) != 1 or not all(name.startswith(module) for name in cores):
        faults.append(f"the wheel has not one release core but {sorted(cores)}")
    if module + "pyi" not in names:
        faults.append("the wheel lacks the stub of the core")
    if file_name.endswith("-any.whl"):
        faults.append(f"{file_name}: no platform in the name")
    return sorted(faults)


def build(out: Path) -> Path:
    """Builds both distributions into `out`, judges their files, returns the wheel."""
    run(sys.executable, "-m", "build", "--outdir", out, ROOT, cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as zipped:
        names = {name for name in zipped.namelist() if not name.endswith("/")}
    package = {path for path in tracked("pymc") if path.endswith((".py", "py.typed"))}
    needed = package | tracked("csrc", "setup.py", "pyproject.toml", "README.md", "LICENSE")
    if faults := sdist_faults(packed, needed) + wheel_faults(wheel.name, names, package):
        raise WheelError("\n".join(faults))
    return wheel


def listening_port(server: subprocess.Popen[bytes], port_file: Path) -> int:
    """The port, once the server has written it."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        text = port_file.read_text() if port_file.is_file() else ""
        if found := re.search(r"TCP INET: (\d+)\n", text):
            return int(found.group(1))
        time.sleep(POLL_SECONDS)
    raise WheelError(f"the installed server does not listen; its exit code: {server.poll()}")


@contextmanager
def serving(program: Path, folder: Path) -> Iterator[int]:
    """A server on a port that the kernel chose; it has to end well when asked to."""
    port_file = folder / "port"
    environment = {"PATH": os.environ["PATH"], "MEMCACHED_PORT_FILENAME": str(port_file)}
    user = ["-u", "root"] if os.getuid() == 0 else []
    words: list[str | Path] = [program, "-l", "127.0.0.1", "-p", "-1", "-t", "1", "-m", "64", *user]
    server = subprocess.Popen(words, cwd=folder, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield listening_port(server, port_file)
        server.terminate()
        if (code := server.wait(ANSWER_SECONDS)) != 0:
            raise WheelError(f"the installed server ended with {code}")
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def talk(port: int) -> None:
    """A set, a get and `stats`."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        answers = connection.makefile("rb")
        connection.sendall(b"set key 5 0 5\r\nvalue\r\nget key\r\nstats\r\n")
        wanted = [b"STORED\r\n", b"VALUE key 5 5\r\n", b"value\r\n", b"END\r\n"]
        found = [answers.readline() for _ in wanted]
        if found != wanted:
            raise WheelError(f"the installed server says {found}")
        stats = dict(line.split()[1:3] for line in iter(answers.readline, b"END\r\n") if line)
        if (stats.get(b"curr_items"), stats.get(b"get_hits")) != (b"1", b"1"):
            raise WheelError(f"the installed server counts {stats}")


def check(folder: Path) -> None:
    """All of it, in a folder that is not the tree."""
    wheel = build(folder)
    home = folder / "installed"
    venv.create(home, with_pip=True)
    pip: list[str | Path] = [
        home / "bin" / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
    ]
    run(*pip, "install", "-q", wheel, cwd=folder)
    code = "import pymc.core.ffi as core; print(core.__file__, core.BUILD_VARIANT)"
    place, variant = run(home / "bin" / "python", "-c", code, cwd=folder).split()
    if not Path(place).is_relative_to(home) or variant != "release":
        raise WheelError(f"imported is {place}, variant {variant}")
    run(home / "bin" / "pymc", "-V", cwd=folder)
    run(home / "bin" / "pymc-flash", "--help", cwd=folder)
    with serving(home / "bin" / "pymc", folder) as port:
        talk(port)
    print(f"{wheel.name} serves")


def main() -> int:
    """Says what is wrong, if anything is."""
    try:
        with tempfile.TemporaryDirectory(prefix="pymc-wheel-") as folder:
            check(Path(folder))
    except (WheelError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
