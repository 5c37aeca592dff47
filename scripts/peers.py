#!/usr/bin/env python3
"""Finds the memcached versions pymc is measured against and prints the path that starts each.

`debian` is the memcached of this machine's own release, installed by apt when root. `newest` is
Debian 13's 1.6.38: its packages are unpacked beside their own libc into var/peers/, so nothing on
the machine changes. Packages come from the mirror that apt is already set up with.

The newest one is started through its own ld.so, so the process that serves may be found by its
pid, not by its name.
"""

import argparse
import fcntl
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "var" / "peers"
NEWEST_SUITE = "trixie"
NEWEST_VERSION = (1, 6, 38)
# memcached and the libraries it loads; libc6 brings the loader that goes with them.
NEWEST_PACKAGES = (
    "memcached",
    "libc6",
    "libevent-2.1-7t64",
    "libsasl2-2",
    "libssl3t64",
    "libdb5.3t64",
    "zlib1g",
    "libzstd1",
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DOWNLOAD_SECONDS_MAX = 600
# $0's own folder: the unpacked tree may be moved as a whole.
START_SCRIPT = """#!/bin/sh
# Starts the unpacked memcached with the loader and libraries it was built with.
here=$(dirname "$(readlink -f "$0")")
libraries="$here/root/{libraries}"
exec "$here/root/{loader}" --library-path "$libraries" "$here/root/usr/bin/memcached" "$@"
"""


class PeerError(Exception):
    """A peer is not here and cannot be fetched; the message says why."""


def version_of(program: str | Path) -> tuple[int, ...] | None:
    """The version a memcached reports, e.g. (1, 6, 18); None when it does not run, or is a pymc."""
    try:
        done = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = None if "pymc" in done.stdout else re.search(r"\d+(?:\.\d+)+", done.stdout)
    return tuple(int(part) for part in found.group().split(".")) if found else None


def find_debian() -> Path | None:
    """The memcached installed on this machine; daemons of packages may lie outside PATH."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    found = (shutil.which("memcached", path=folder) for folder in folders)
    # A link of that name to pymc is none.
    return next((Path(path) for path in found if path and version_of(path)), None)


def find_newest() -> Path | None:
    """The newest memcached if it is here: the machine's own when new enough, or the unpacked."""
    installed = find_debian()
    if installed and (version_of(installed) or ()) >= NEWEST_VERSION:
        return installed
    start = PEERS / "memcached-newest" / "memcached"
    return start if start.is_file() else None


def fetch_debian() -> Path:
    """Installs this release's memcached when it is missing. Raises PeerError."""
    found = find_debian()
    if found:
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise PeerError("memcached is not installed; as root: apt-get install memcached")
    with _daemons_not_started():
        _run(["apt-get", "install", "-y", "-qq", "memcached"])
    found = find_debian()
    if not found:
        raise PeerError("apt-get installed memcached, but it is not on PATH")
    return found


@contextmanager
def _daemons_not_started() -> Iterator[None]:
    """Debian starts a daemon as soon as its package is installed: it would take port 11211."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def fetch_newest() -> Path:
    """Unpacks the newest memcached unless it is here already. Raises PeerError."""
    found = find_newest()
    if found:
        return found
    with _peers_locked():
        found = find_newest()
        return found if found else _unpack_newest(PEERS / "memcached-newest")


@contextmanager
def _peers_locked() -> Iterator[None]:
    """One fetch at a time; the folder keeps itself out of git."""
    PEERS.mkdir(parents=True, exist_ok=True)
    (PEERS / ".gitignore").write_text("*\n")
    with (PEERS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack_newest(target: Path) -> Path:
    """Downloads, unpacks and tries the packages in a folder beside the target, then renames it."""
    if not shutil.which("apt-get"):
        raise PeerError("no apt-get here: the newest memcached comes as Debian packages")
    unfinished = target.with_name(target.name + ".new")
    for leftover in (unfinished, target):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    packages = _download(unfinished / "apt")
    root = unfinished / "root"
    for package in packages:
        _run(["dpkg-deb", "-x", str(package), str(root)])
    shutil.rmtree(unfinished / "apt")
    start = unfinished / "memcached"
    start.write_text(_start_script(root))
    start.chmod(0o755)
    if version_of(start) is None:
        raise PeerError(f"the unpacked memcached does not run: {start} -V")
    unfinished.rename(target)
    return target / "memcached"


def _start_script(root: Path) -> str:
    libc = next(root.glob("usr/lib/*/libc.so.6"), None)
    loader = next(root.glob("usr/lib/*/ld-linux*.so.*"), None)
    if libc is None or loader is None:
        raise PeerError("the unpacked libc6 has no loader where it is expected")
    return START_SCRIPT.format(
        libraries=libc.parent.relative_to(root), loader=loader.relative_to(root)
    )


def _download(apt: Path) -> list[Path]:
    """The package files, fetched with an apt configuration of our own beside the machine's."""
    for folder in ("lists/partial", "cache/archives/partial", "debs"):
        (apt / folder).mkdir(parents=True)
    (apt / "sources.list").write_text(
        f"deb [signed-by={KEYRING}] {_mirror_uri()} {NEWEST_SUITE} main\n"
    )
    settings = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": pwd.getpwuid(os.geteuid()).pw_name,
        "APT::Update::Error-Mode": "any",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Debug::NoLocking": "true",
    }
    command = ["apt-get", "-qq"]
    for name, value in settings.items():
        command += ["-o", f"{name}={value}"]
    _run([*command, "update"])
    wanted = [f"{package}/{NEWEST_SUITE}" for package in NEWEST_PACKAGES]
    _run([*command, "download", *wanted], directory=apt / "debs")
    return sorted((apt / "debs").glob("*.deb"))


def _mirror_uri() -> str:
    """The Debian archive that this machine's apt uses, as apt itself reports it."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(COMPONENT)|$(REPO_URI)"],
        capture_output=True,
        text=True,
    ).stdout
    rows = [line.split("|", 2) for line in listing.splitlines() if line.count("|") >= 2]
    for origin, component, uri in rows:
        # Before the first update apt knows no origin: then the archive is told by its path.
        is_debian = origin == "Debian" if origin else uri.rstrip("/").endswith("/debian")
        if is_debian and component == "main" and "security" not in uri:
            return uri
    raise PeerError("apt is set up with no Debian archive here, so nothing can be fetched")


def _run(command: list[str], directory: Path | None = None) -> None:
    """Runs a command quietly; its last lines of output become the error when it fails."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DOWNLOAD_SECONDS_MAX,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(str(error)) from error
    if done.returncode != 0:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-4:])
        raise PeerError(f"{command[0]} failed; is the machine offline?\n    {tail}")


def main() -> int:
    """Prints one path per peer asked for; 1 with a message when one cannot be had."""
    parser = argparse.ArgumentParser(description="Finds or fetches the memcacheds to compare with.")
    parser.add_argument("peer", nargs="*", help="debian or newest; both by default")
    parser.add_argument("--find", action="store_true", help="look only, fetch nothing")
    options = parser.parse_args()
    finders = {"debian": find_debian, "newest": find_newest}
    fetchers = {"debian": fetch_debian, "newest": fetch_newest}
    for name in options.peer or list(finders):
        if name not in finders:
            parser.error(f"{name}: want debian or newest")
        try:
            path = finders[name]() if options.find else fetchers[name]()
        except PeerError as error:
            print(f"peers: {name}: {error}", file=sys.stderr)
            return 1
        if path is None:
            print(f"peers: {name}: not here", file=sys.stderr)
            return 1
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
