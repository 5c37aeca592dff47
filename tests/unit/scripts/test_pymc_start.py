"""How scripts/systemd/pymc-start reads memcached.conf: a table, compared with Debian's wrapper."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import ROOT

START = ROOT / "scripts" / "systemd" / "pymc-start"
WRAPPER = Path("/usr/share/memcached/scripts/systemd-memcached-wrapper")
ENVIRONMENT = {"PATH": os.environ["PATH"], "SIZE": "64", "TWO": "-v -v", "EMPTY": ""}
DEBIAN = """# memcached default config file
# 2003 - Jay Bonci

# Run memcached as a daemon. This command is implied.
-d

# Log memcached's output
logfile /var/log/memcached.log
# -v
-m 64

-p 11211
-u memcache

-l 127.0.0.1
-l ::1
-P /var/run/memcached/memcached.pid
"""
# Where the wrapper does otherwise, on purpose: what it makes of the file.
DIFFERENT = {
    "an escaped # within a comment": ["-m", "64", "#", "c"],
    "a lonely word": ["-m", "64", "verbose"],
    "the long words for -d and -h": ["--daemon", "--help", "-m", "64"],
}
FILES: dict[str, tuple[str, list[str]]] = {
    "as Debian ships it": (
        DEBIAN,
        ["-m", "64", "-p", "11211", "-u", "memcache", "-l", "127.0.0.1", "-l", "::1"]
        + ["-P", "/var/run/memcached/memcached.pid"],
    ),
    "empty": ("", ["-u", "root"]),
    "only comments and blanks": ("# nothing\n\n   \n\t# -m 64\n", ["-u", "root"]),
    "several options on a line": (
        "-m 64 -c 100  -t\t2\n-v\n",
        ["-m", "64", "-c", "100", "-t", "2", "-v"],
    ),
    "no line end": ("-m 64\n-v", ["-m", "64", "-v"]),
    "Windows line ends": ("-m 64\r\n-v\r\n", ["-m", "64", "-v"]),
    "blanks around": ("   -m 64   \n\t-v\t\n", ["-m", "64", "-v"]),
    "joined words": ("-m64 -vv --port=11 -o modern,hash_algorithm=jenkins\n",)
    + (["-m64", "-vv", "--port=11", "-o", "modern,hash_algorithm=jenkins"],),
    "comments behind options": (
        "-m 64 # memory\n-v# loud\n-c 5 ## # -p 1\n",
        ["-m", "64", "-v", "-c", "5"],
    ),
    "no option but a word": ("-m 64\nlogfile /var/log/x\n0\n", ["-m", "64"]),
    "a lonely word": ("-m 64\nverbose\n", ["-m", "64"]),
    "double quotes": ('-s "/run/a b/socket" -v\n', ["-s", "/run/a b/socket", "-v"]),
    "single quotes": ("-D ':' -s '/run/$SIZE'\n", ["-D", ":", "-s", "/run/$SIZE"]),
    "quotes over two lines": ('-s "/run/a\n-b" -v\n', ["-s", "/run/a -b", "-v"]),
    "backslashes": ("-s /run/a\\ b -D \\;\n", ["-s", "/run/a b", "-D", ";"]),
    "an escaped #": ("-D \\# -v # c\n", ["-D", "#", "-v"]),
    "an escaped # within a comment": ("-m 64 # a \\# c\n", ["-m", "64"]),
    "variables": ("-m $SIZE -c ${SIZE}0 $TWO\n", ["-m", "64", "-c", "640", "-v", "-v"]),
    "variables in quotes": ('-m "$SIZE" -D "$EMPTY" -v\n', ["-m", "64", "-D", "", "-v"]),
    "variables that are not there": ("-v $EMPTY $NOWHERE -m 64\n", ["-v", "-m", "64"]),
    "commands": ("-t $(echo 3) -c `echo 4`\n", ["-t", "3", "-c", "4"]),
    "an option that begins like -d or -h": ("-d -v\n-delay\n-h\n-m 64\n", ["-m", "64"]),
    "the long words for -d and -h": ("--daemon\n--help\n-m 64\n", ["-m", "64"]),
    "-d within a line": ("-m 64 -d\n", ["-m", "64", "-d"]),
    "-u is the user's to give": ("-v\n", ["-v"]),
    "only what is left out": ("-d\nlogfile x\n", ["-u", "root"]),
}


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """Stands where the server does and prints the words it is given."""
    program = tmp_path / "show"
    program.write_text('#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\n')
    program.chmod(0o755)
    return program


def words_of(*command: object, **more: str) -> list[str]:
    done = subprocess.run(
        [str(word) for word in command],
        env={**ENVIRONMENT, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def conf(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "memcached.conf"
    path.write_bytes(FILES[name][0].encode())
    return path


@pytest.mark.parametrize("name", FILES)
def test_what_is_read(tmp_path: Path, show: Path, name: str) -> None:
    assert words_of(START, conf(tmp_path, name), PYMC=str(show)) == FILES[name][1]


@pytest.mark.skipif(not WRAPPER.exists(), reason="Debian's memcached is not installed")
@pytest.mark.skipif(shutil.which("perl") is None, reason="perl is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="Debian's wrapper wants root")
@pytest.mark.parametrize("name", FILES)
def test_debian_s_wrapper_reads_the_same(tmp_path: Path, show: Path, name: str) -> None:
    wrapper = tmp_path / "wrapper"
    text = WRAPPER.read_text()
    assert "/usr/bin/memcached" in text
    wrapper.write_text(text.replace("/usr/bin/memcached", str(show)))
    read = words_of("perl", wrapper, conf(tmp_path, name))
    assert read == DIFFERENT.get(name, FILES[name][1])


def test_a_file_that_is_not_there(tmp_path: Path, show: Path) -> None:
    assert words_of(START, tmp_path / "none", PYMC=str(show)) == ["-u", "root"]


def test_options_of_the_unit_come_last(tmp_path: Path, show: Path) -> None:
    path = tmp_path / "memcached.conf"
    path.write_text("-m 64 # c\n-v\n")
    read = words_of(START, path, PYMC=str(show), OPTIONS="-m 100 -o modern")
    assert read == ["-m", "64", "-v", "-m", "100", "-o", "modern"]


def test_the_signals_of_the_service_manager_reach_the_server(tmp_path: Path, show: Path) -> None:
    """It becomes the server and does not stand above it."""
    show.write_text("#!/bin/sh\necho $$\n")
    process = subprocess.Popen(
        [START, tmp_path / "none"], env={**ENVIRONMENT, "PYMC": str(show)}, stdout=subprocess.PIPE
    )
    output, _ = process.communicate(timeout=60)
    assert output == b"%d\n" % process.pid
