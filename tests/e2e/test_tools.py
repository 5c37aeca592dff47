"""Tools around memcached work unchanged: libmemcached's and memcached-tool."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.deadline import scaled
from tests.support.programs import Program
from tests.support.server import Server

MEMCACHED_TOOL = "/usr/share/memcached/scripts/memcached-tool"
RUN_SECONDS = scaled(60)


def tool(name: str) -> str:
    """The path of a tool; skips the test where it is not installed."""
    path = shutil.which(name) or (name if Path(name).exists() else None)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def capability(server: Server, protocol: str) -> list[str]:
    """What memccapable says of a protocol, "ascii" or "binary", a line for each test, sorted."""
    name = tool("memccapable")
    done = run(name, f"-{protocol[0]}", "-h", "127.0.0.1", "-p", str(server.port), check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return sorted(line for line in lines if line.startswith(protocol))


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["ascii", "binary"])
def test_memccapable_as_on_memcached(pymc: Program, oracle: Program, protocol: str) -> None:
    tool("memccapable")
    with Server(pymc, ["-t", "2"]) as server:
        got = capability(server, protocol)
    with Server(oracle, ["-t", "2"]) as server:
        wanted = capability(server, protocol)
    assert len(wanted) >= 20
    assert got == wanted


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["ascii", "binary"])
def test_memccapable_alone(server: Server, protocol: str) -> None:
    found = capability(server, protocol)
    assert len(found) >= 20
    assert all("[pass]" in line for line in found), found


@pytest.mark.slow
@pytest.mark.parametrize("multiget", ["1", "10"])
def test_memcaslap_verifies_its_values(server: Server, tmp_path: Path, multiget: str) -> None:
    name = tool("memcaslap")
    config = tmp_path / "load"
    config.write_text(
        "key\n16 32 1\nvalue\n10 1000 0.9\n1000 50000 0.1\ncmd\n0 0.3\n1 0.7\n", encoding="ascii"
    )
    done = run(
        name,
        *("-s", f"127.0.0.1:{server.port}", "-T", "1", "-c", "8", "-x", "20000"),
        *("-F", str(config), "-v", "1.0", "-d", multiget, "-w", "1k"),
    )
    report = done.stdout + done.stderr
    for what in ("verify_misses", "verify_failed"):
        found = re.search(rf"{what}: (\d+)", report)
        assert found, report
        assert found[1] == "0", report
    assert int(server.stats()["cmd_set"]) > 1000


def test_memc_file_tools(server: Server, tmp_path: Path) -> None:
    servers = f"--servers=127.0.0.1:{server.port}"
    path = tmp_path / "greeting"
    path.write_bytes(b"hello\nworld\n")
    run(tool("memccp"), servers, str(path))
    assert run(tool("memccat"), servers, "greeting").stdout.strip() == "hello\nworld"
    run(tool("memcexist"), servers, "greeting")
    assert run(tool("memcexist"), servers, "nothing", check=False).returncode != 0
    run(tool("memctouch"), servers, "--expire=1000", "greeting")
    run(tool("memcping"), servers)
    assert "pid" in run(tool("memcstat"), servers).stdout
    run(tool("memcrm"), servers, "greeting")
    assert run(tool("memccat"), servers, "greeting", check=False).stdout.strip() == ""
    run(tool("memccp"), servers, str(path))
    run(tool("memcflush"), servers)
    with server.connect() as connection:
        assert connection.fetch("greeting") is None


def test_memcdump_lists_every_key_once(server: Server) -> None:
    name = tool("memcdump")
    sizes = [1, 100, 560, 600, 2000, 50_000, 900_000]
    with server.connect() as connection:
        for size in sizes:
            assert connection.store(f"key{size}", b"x" * size) == b"STORED"
    shown = run(name, f"--servers=127.0.0.1:{server.port}").stdout.split()
    assert sorted(shown) == sorted(f"key{size}" for size in sizes)


def memcached_tool(server: Server, *words: str) -> list[str]:
    perl, script = tool("perl"), tool(MEMCACHED_TOOL)
    lack = re.search(r"Can't locate (\S+)", run(perl, "-c", script, check=False).stderr)
    if lack or not Path("/etc/protocols").exists():
        pytest.skip(f"memcached-tool needs {lack[1] if lack else '/etc/protocols'}")
    done = run(perl, script, f"127.0.0.1:{server.port}", *words)
    assert re.fullmatch(r"(Dumping memcache (contents|keys)\n)?", done.stderr)
    return done.stdout.splitlines()


@pytest.fixture
def filled(server: Server) -> Server:
    with server.connect() as connection:
        assert connection.store("small", b"1") == b"STORED"
        assert connection.store("large", b"x" * 5000, rest="7 1000") == b"STORED"
        assert connection.fetch("small") == b"1"
    return server


def test_memcached_tool_display(filled: Server) -> None:
    lines = memcached_tool(filled, "display")
    assert lines[0].split()[:4] == ["#", "Item_Size", "Max_age", "Pages"]
    assert len(lines) == 3


def test_memcached_tool_stats_and_settings(filled: Server) -> None:
    rows = dict(line.split()[:2] for line in memcached_tool(filled, "stats")[1:])
    assert rows["curr_items"] == "2"
    assert rows["cmd_set"] == "2"
    rows = dict(line.split()[:2] for line in memcached_tool(filled, "settings")[1:])
    assert rows["maxconns"] == "1024"
    assert rows["item_size_max"] == "1048576"


def test_memcached_tool_dump_and_keys(filled: Server) -> None:
    dumped = memcached_tool(filled, "dump")
    adds = sorted(line.split()[1] for line in dumped if line.startswith("add "))
    assert adds == ["large", "small"]
    keys = memcached_tool(filled, "keys")
    assert sorted(re.findall(r"key=(\S+)", "\n".join(keys))) == ["large", "small"]
