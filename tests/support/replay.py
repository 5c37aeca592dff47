"""Replays a transcript against a running server and says where they part."""

import operator
import re
from collections.abc import Callable
from dataclasses import replace

from tests.support.connection import ClosedError, Connection
from tests.support.deadline import DeadlineError, scaled, wait_until
from tests.support.packets import HEADER, Response, body_bytes_of, response_of
from tests.support.server import Server
from tests.support.transcript import (
    SENDING,
    Kind,
    Step,
    Transcript,
    bytes_of,
    comparison_of,
    counter_of,
    packet_of,
    pattern_of,
    response_in,
)

# How long a server may think about a reply, and how long a counter may lag behind.
REPLY_SECONDS = scaled(10.0)
COUNTER_SECONDS = scaled(10.0)
_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


Connect = Callable[[float], Connection]


class ReplayError(AssertionError):
    """The server did not do what the transcript says."""


def replay(transcript: Transcript, server: Server, connect: Connect | None = None) -> None:
    """Replays all steps that count for the server; raises ReplayError at the first difference.

    `connect` opens the connections that the transcript talks on: those of the server's address
    unless it is given. It takes how many seconds they may wait for an answer.
    """
    run = _Run(transcript, server, connect or server.connect)
    try:
        run.play()
    finally:
        run.close()


class _Run:
    """The state of one replay: connections, captured names, counters and unsent bytes."""

    def __init__(self, transcript: Transcript, server: Server, connect: Connect) -> None:
        self.connect = connect
        self.transcript = transcript
        self.server = server
        self.names: dict[str, str] = {}
        self.unsent = b""
        self.connections: dict[str, Connection] = {}
        self.current = "main"
        release = server.program.release
        self.steps = [step for step in transcript.steps if step.counts_for(release)]
        wants_counters = any(step.kind is Kind.COUNTER for step in self.steps)
        self.control = server.connect(REPLY_SECONDS) if wants_counters else None
        self.baseline = self.control.stats() if self.control else {}

    def play(self) -> None:
        position = 0
        while position < len(self.steps):
            step = self.steps[position]
            group = [step]
            if step.kind in (Kind.COUNTER, Kind.KEYS):
                rest = self.steps[position + 1 :]
                for other in rest:
                    if other.kind is not step.kind:
                        break
                    group.append(other)
            position += len(group)
            self._play_group(group)
        self._flush()
        for name, connection in self.connections.items():
            if rest_bytes := connection.finish():
                raise self._failed(None, f"nothing more on `{name}`", rest_bytes)

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()
        if self.control:
            self.control.close()

    def _play_group(self, group: list[Step]) -> None:
        step = group[0]
        if step.kind not in SENDING:
            self._flush()
        try:
            _ACTIONS[step.kind](self, group)
        except (ClosedError, TimeoutError, DeadlineError) as error:
            pending = self._connection().pending
            raise self._failed(step, step.text, f"{error}; unused: {pending[:200]!r}") from error

    def _connection(self) -> Connection:
        if self.current not in self.connections:
            self.connections[self.current] = self.connect(REPLY_SECONDS)
        return self.connections[self.current]

    def _flush(self) -> None:
        if self.unsent:
            data, self.unsent = self.unsent, b""
            self._connection().send(data)

    def _failed(self, step: Step | None, wanted: object, got: object) -> ReplayError:
        line = f":{step.line}" if step else " (at the end)"
        return ReplayError(
            f"{self.transcript.path.name}{line} on {self.server.program.name}\n"
            f"  expected {wanted!r}\n  received {got!r}"
        )

    def send_line(self, group: list[Step]) -> None:
        self.unsent += bytes_of(group[0].text, self.names) + b"\r\n"

    def send_bytes(self, group: list[Step]) -> None:
        self.unsent += bytes_of(group[0].text, self.names)

    def cut(self, group: list[Step]) -> None:
        self._flush()
        self._connection().wait_read_by_server()

    def expect_line(self, group: list[Step]) -> None:
        wanted = bytes_of(group[0].text, self.names) + b"\r\n"
        self._compare(group[0], wanted, self._connection().read_line())

    def expect_bytes(self, group: list[Step]) -> None:
        wanted = bytes_of(group[0].text, self.names)
        self._compare(group[0], wanted, self._connection().read_exactly(len(wanted)))

    def _compare(self, step: Step, wanted: bytes, got: bytes) -> None:
        if wanted != got:
            pending = self._connection().pending
            more = f" then {pending[:200]!r}" if pending else ""
            raise ReplayError(f"{self._failed(step, wanted, got)}{more}")

    def expect_pattern(self, group: list[Step]) -> None:
        pattern = pattern_of(group[0].text, self.names)
        line = self._connection().read_line()
        has_own_end = group[0].text.endswith("\\n")
        found = pattern.fullmatch(line if has_own_end else line.removesuffix(b"\r\n"))
        if not found:
            raise self._failed(group[0], group[0].text, line)
        self.names.update({k: v.decode() for k, v in found.groupdict(b"").items()})

    def skip_to_pattern(self, group: list[Step]) -> None:
        pattern = pattern_of(group[0].text, self.names)
        seen = b""
        while True:
            line = self._connection().read_line()
            seen += line
            found = pattern.fullmatch(line.removesuffix(b"\n").removesuffix(b"\r"))
            if found:
                self.names.update({k: v.decode() for k, v in found.groupdict(b"").items()})
                return
            if line in (b"END\r\n", b"ERROR\r\n"):
                raise self._failed(group[0], group[0].text, seen)

    def expect_keys(self, group: list[Step]) -> None:
        wanted = " ".join(step.text for step in group)
        keys: list[str] = []
        while (line := self._connection().read_line()) != b"END\r\n":
            words = line.decode().split(" ")
            if words[0] != "STAT" or len(words) < 3 or not line.endswith(b"\r\n"):
                raise self._failed(group[0], wanted, line)
            keys.append(words[1])
        if not re.fullmatch(wanted, " ".join(keys)):
            raise self._failed(group[0], wanted, " ".join(keys))

    def compare(self, group: list[Step]) -> None:
        left, sign, right = comparison_of(group[0].text)
        numbers = [int(bytes_of(word, self.names)) for word in (left, right)]
        if not _OPERATORS[sign](numbers[0], numbers[1]):
            raise self._failed(group[0], group[0].text, numbers)

    def expect_counters(self, group: list[Step]) -> None:
        assert self.control
        control = self.control
        now: dict[str, str] = {}
        wrong: list[str] = []

        def agree() -> bool:
            nonlocal now
            now = control.stats()
            wrong[:] = [said for step in group if (said := self._counter_error(step, now))]
            return not wrong

        try:
            wait_until(agree, "the counters agree", COUNTER_SECONDS)
        except DeadlineError:
            raise self._failed(group[0], [step.text for step in group], wrong) from None
        self.baseline = now

    def _counter_error(self, step: Step, now: dict[str, str]) -> str:
        name, sign, number = counter_of(step.text)
        if name not in now:
            return f"no {name} in stats"
        value = int(now[name]) - (int(self.baseline[name]) if sign == "+" else 0)
        return "" if value == number else f"{name} {sign}{value} (now {now[name]})"

    def send_packet(self, group: list[Step]) -> None:
        self.unsent += packet_of(group[0].text, self.names)

    def expect_packet(self, group: list[Step]) -> None:
        got = self._read_packet()
        if not self._is_packet(group[0], got):
            raise self._failed(group[0], response_in(group[0].text, self.names)[0], got)

    def skip_packets(self, group: list[Step]) -> None:
        while not self._is_packet(group[0], got := self._read_packet()):
            if got.status or not got.key:
                raise self._failed(group[0], group[0].text, got)

    def _read_packet(self) -> Response:
        connection = self._connection()
        header = connection.read_exactly(HEADER.size)
        return response_of(header, connection.read_exactly(body_bytes_of(header)))

    def _is_packet(self, step: Step, got: Response) -> bool:
        known, pattern, cas = response_in(step.text, self.names)
        if pattern:
            known = replace(known, value=got.value)
        if cas and got.cas:
            known = replace(known, cas=got.cas)
        if known != got or (cas and not got.cas) or (pattern and not pattern.fullmatch(got.value)):
            return False
        if cas not in ("", "*"):
            self.names[cas] = str(got.cas)
        return True

    def move_clock(self, group: list[Step]) -> None:
        self.server.move_clock(int(group[0].text.removesuffix("s")))

    def switch(self, group: list[Step]) -> None:
        self.current = group[0].text
        self._connection()

    def expect_close(self, group: list[Step]) -> None:
        connection = self._connection()
        rest = connection.read_to_close()
        connection.close()
        del self.connections[self.current]
        if rest:
            raise self._failed(group[0], "close", rest)


_ACTIONS: dict[Kind, Callable[[_Run, list[Step]], None]] = {
    Kind.SEND_LINE: _Run.send_line,
    Kind.SEND_BYTES: _Run.send_bytes,
    Kind.CUT: _Run.cut,
    Kind.LINE: _Run.expect_line,
    Kind.BYTES: _Run.expect_bytes,
    Kind.PATTERN: _Run.expect_pattern,
    Kind.SKIP: _Run.skip_to_pattern,
    Kind.KEYS: _Run.expect_keys,
    Kind.COMPARE: _Run.compare,
    Kind.COUNTER: _Run.expect_counters,
    Kind.CLOCK: _Run.move_clock,
    Kind.SWITCH: _Run.switch,
    Kind.CLOSE: _Run.expect_close,
    Kind.SEND_PACKET: _Run.send_packet,
    Kind.PACKET: _Run.expect_packet,
    Kind.SKIP_PACKETS: _Run.skip_packets,
}
