"""The event engine at its limits: ends of input, greedy clients, full buffers, odd lines."""

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator

import psutil
import pytest

from tests.support.connection import Connection
from tests.support.deadline import scaled, wait_until
from tests.support.programs import Program
from tests.support.server import Server

pytestmark = pytest.mark.tcp_memory

KIBIBYTE = 1 << 10
ANSWER_SECONDS = scaled(5.0)


def is_stopped(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """While its workers stand still, what clients do comes to them in one piece."""
    pids = server.worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all(is_stopped(pid) for pid in pids), "the workers stand still")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("bytes_count", [1000, 33_000, 40_000, 65_536, 90_000])
def test_the_end_behind_much_input_is_seen(server: Server, bytes_count: int) -> None:
    with server.connect() as client:
        assert client.ask("mn") == b"MN"
        with stopped(server):
            client.send(b"mn\r\n" * (bytes_count // 4))
            client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_close() == b"MN\r\n" * (bytes_count // 4)


def test_the_end_behind_a_large_value_is_seen(server: Server) -> None:
    value = b"v" * 600_000
    with server.connect() as client:
        assert client.ask("mn") == b"MN"
        client.send(b"set large 0 0 600000\r\n" + value[:100_000])
        client.wait_read_by_server()
        with stopped(server):
            client.send(value[100_000:200_000])
        client.send(value[200_000:] + b"\r\nget large\r\n")
        answer = client.finish()
    assert answer == b"STORED\r\nVALUE large 0 600000\r\n" + value + b"\r\nEND\r\n"


def test_half_closed_client_gets_its_stats(server: Server) -> None:
    with server.connect() as client:
        client.send(b"stats\r\nmn\r\nstats settings\r\nversion\r\n")
        answer = client.finish()
    assert answer.count(b"END\r\n") == 2
    assert b"\r\nEND\r\nMN\r\nSTAT " in answer
    assert answer.splitlines()[-1].startswith(b"VERSION ")


def test_greedy_reader_keeps_nobody_waiting(pymc: Program) -> None:
    value = b"v" * 4_000
    with Server(pymc, ["-t", "1"]) as server, server.connect() as other:
        assert other.store("v", value) == b"STORED"
        with server.connect() as greedy:
            one = b"VALUE v 0 4000\r\n" + value + b"\r\nEND\r\n"
            count = 2000
            greedy.send(b"get v\r\n" * count)
            for _ in range(20):
                assert other.ask("mn") == b"MN"
            for _ in range(count):
                assert greedy.read_exactly(len(one)) == one
        assert int(other.stats()["conn_yields"]) > 0


def test_keys_of_one_get_across_turns(server: Server) -> None:
    value = b"v" * 9_000
    with server.connect(ANSWER_SECONDS) as client:
        assert client.store("v", value) == b"STORED"
        client.send(b"get" + b" v" * 3000 + b"\r\nmn\r\n")
        one = b"VALUE v 0 9000\r\n" + value + b"\r\n"
        for _ in range(3000):
            assert client.read_exactly(len(one)) == one
        assert client.read_exactly(9) == b"END\r\nMN\r\n"


def test_many_large_values_in_one_reply(server: Server) -> None:
    with server.connect(ANSWER_SECONDS) as client:
        values = {f"k{i}": bytes([65 + i]) * (17_000 + 70_001 * i) for i in range(12)}
        for key, value in values.items():
            assert client.store(key, value) == b"STORED"
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIBIBYTE)
        client.send(b"get " + " ".join(values).encode() + b"\r\nmn\r\n")
        for key, value in values.items():
            assert client.read_line() == f"VALUE {key} 0 {len(value)}\r\n".encode()
            assert client.read_exactly(len(value) + 2) == value + b"\r\n"
        assert client.read_exactly(9) == b"END\r\nMN\r\n"


def test_read_buffer_limit(pymc: Program) -> None:
    with Server(pymc, ["-t", "1", "-o", "read_buf_mem_limit=1"]) as server:
        clients: list[Connection] = []
        try:
            for _ in range(200):
                client = server.connect(ANSWER_SECONDS)
                clients.append(client)
                client.send(b"set key 0 0 8000\r\n" + b"x" * 7900)
                client.wait_read_by_server()
            stats = server.stats()
            assert int(stats["read_buf_oom"]) > 0
            assert 0 < int(stats["read_buf_bytes"]) <= 1 << 20
            assert clients[-1].read_to_close() == (
                b"SERVER_ERROR out of memory reading request\r\n"
            )
            # Who has its room goes on.
            clients[0].send(b"x" * 100 + b"\r\n")
            assert clients[0].read_line() == b"STORED\r\n"
        finally:
            for client in clients:
                client.close()
        wait_until(lambda: server.stats()["read_buf_bytes"] == "0", "all buffers are given back")


def test_without_descriptors_it_waits_and_goes_on(pymc: Program) -> None:
    with Server(pymc, ["-t", "1"]) as server, server.connect(ANSWER_SECONDS) as first:
        assert first.ask("mn") == b"MN"
        worker = server.worker_pids()[0]
        used = psutil.Process(worker).num_fds()
        limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{worker}/fd"))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        waiting = [server.connect(ANSWER_SECONDS) for _ in range(highest - used + 4)]
        try:
            assert first.ask("mn") == b"MN"
            wait_until(
                lambda: int(first.stats()["listen_disabled_num"]) > 0, "it has run out of them"
            )
            resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
            for client in waiting:
                assert client.ask("mn") == b"MN"
        finally:
            for client in waiting:
                client.close()


def test_verbose_server_shows_commands(pymc: Program) -> None:
    with Server(pymc, ["-t", "1", "-vv"]) as server, server.connect() as client:
        client.send(b"set a 0 0 1\r\nx\r\nget a\r\nget b\r\nmn\r\n")
        for _ in range(6):
            client.read_line()

        def shown() -> list[str]:
            lines = [line.partition(" ") for line in server.stderr.splitlines()]
            return [f"{name[0]}{text}" for name, _, text in lines if name[:1] in ("<", ">")]

        wanted = ["<set a 0 0 1", ">STORED", "<get a", ">END", "<get b", ">END", "<mn", ">MN"]
        wait_until(lambda: wanted[-1] in shown(), "the last answer is shown")
        at = shown().index(wanted[0])
        assert shown()[at : at + len(wanted)] == wanted


def test_only_silent_clients_are_kicked(pymc: Program) -> None:
    with (
        Server(pymc, ["-t", "1", "-o", "idle_timeout=1"]) as server,
        server.connect() as silent,
        server.connect() as storing,
        server.connect() as reading,
    ):
        value = b"v" * 900_000
        assert reading.store("big", value) == b"STORED"
        storing.send(b"set a 0 0 9000\r\n" + value[:8000])
        storing.wait_read_by_server()
        reading.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIBIBYTE)
        reading.send(b"get big\r\n" * 20)
        reading.wait_read_by_server()
        assert silent.ask("mn") == b"MN"
        # The others have been silent for longer, but in the middle of something.
        assert silent.read_to_close() == b""
        storing.send(value[8000:9000] + b"\r\n")
        assert storing.read_line() == b"STORED\r\n"
        answer = b"VALUE big 0 900000\r\n" + value + b"\r\nEND\r\n"
        for _ in range(20):
            assert reading.read_exactly(len(answer)) == answer
