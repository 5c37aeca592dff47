"""Which kill was the kernel's for want of memory, and what to do about it."""

from pymc import cli
from pymc.supervisor.oom import OomWatch
from tests.support.inprocess import in_process

MEGABYTE = 1 << 20
FOLDER = "/sys/fs/cgroup/box"


def test_the_count_tells_and_the_sum_advises() -> None:
    files = {
        "/proc/self/cgroup": "0::/box\n",
        "/proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        f"{FOLDER}/memory.events": "oom 5\noom_kill 3\n",
        f"{FOLDER}/memory.max": f"{77 * MEGABYTE}\n",
    }
    settings = cli.parse(["-u", "root", "-m", "64"], "pymc", {})
    with in_process(["-m", "64"]) as server:
        watch = OomWatch(settings, server.context.arena, files.get)
        assert not watch.has_risen()
        files[f"{FOLDER}/memory.events"] = "oom 6\noom_kill 4\n"
        assert watch.has_risen()
        assert not watch.has_risen()
        assert watch.advice() == ("raise the container's memory to 106 megabytes or lower -m to 35")
        # What cache_memlimit made of -m counts.
        server.ask("cache_memlimit 100")
        assert watch.advice().startswith("raise the container's memory to 142 megabytes")
        del files[f"{FOLDER}/memory.max"]
        assert watch.advice().startswith("lower -m, or find out")


def test_who_counts_nothing_tells_nothing() -> None:
    settings = cli.parse(["-u", "root"], "pymc", {})
    with in_process(["-m", "64"]) as server:
        assert not OomWatch(settings, server.context.arena, lambda path: None).has_risen()
