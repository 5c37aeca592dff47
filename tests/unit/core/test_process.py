"""A process of the server begins: what it inherits, how it ends, what it gives back."""

import mmap
import os
import select
import signal

from pymc.core.ffi import ffi, lib
from pymc.core.process import fork_child, give_back_zeroes
from pymc.uvloop_import import uvloop
from tests.support.deadline import WAIT_SECONDS, wait_until

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def words_of(pid: int, name: str) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(next(line.split()[1] for line in file if line.startswith(name)), 16)


def bits(*numbers: int) -> int:
    return sum(1 << (number - 1) for number in numbers)


def test_signals_of_a_child() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP])
    pid = fork_child()
    if pid == 0:
        signal.pause()
        os._exit(1)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        wait_until(lambda: words_of(pid, "SigBlk") == 0, "it blocks none")
        ignored = words_of(pid, "SigIgn")
        wanted = bits(signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE)
        acting = bits(signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2)
        assert ignored & wanted == wanted
        assert (ignored | words_of(pid, "SigCgt") | words_of(pid, "SigBlk")) & acting == 0
    finally:
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


def score_of(pid: int) -> int:
    with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


def test_a_child_is_killed_before_its_parent_when_memory_runs_out() -> None:
    pid = fork_child()
    if pid == 0:
        signal.pause()
        os._exit(1)
    try:
        wanted = min(score_of(os.getpid()) + int(lib.PROCESS_OOM_SCORE), 1000)
        wait_until(lambda: score_of(pid) == wanted, "it says so")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_child_ends_with_its_parent() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.close(reader)
        if fork_child() == 0:
            # Says who it is; its end of the pipe closes when it dies.
            os.write(writer, b"%d\n" % os.getpid())
            signal.pause()
            os._exit(1)
        os.close(writer)
        signal.pause()
        os._exit(1)
    os.close(writer)
    with open(reader, "rb", buffering=0) as told:
        child = int(told.readline())
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        has_ended, _, _ = select.select([told], [], [], WAIT_SECONDS)
        if not has_ended:
            os.kill(child, signal.SIGKILL)
        assert has_ended


def test_only_zero_pages_go_back() -> None:
    with mmap.mmap(-1, 8 * PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = bytes(len(memory))
        memory[3 * PAGE_BYTES] = 7
        memory[5 * PAGE_BYTES - 1] = 9
        before = memory[:]
        place = ffi.from_buffer(memory)
        start = int(ffi.cast("uintptr_t", place))
        # Not the first page and not the last one, of which only parts are meant.
        given = lib.zeroes_give_back(start + 1, len(memory) - 2)
        assert given == 4 * PAGE_BYTES
        assert memory[:] == before
        ffi.release(place)


def test_a_loop_that_gave_pages_back_works() -> None:
    loop = uvloop.new_event_loop()
    try:
        # Room for what streams receive.
        assert give_back_zeroes(loop) > 128 * 1024
        loop.call_soon(loop.stop)
        loop.run_forever()
    finally:
        loop.close()
