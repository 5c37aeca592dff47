"""Replays a wire transcript inside the test, on a cache without processes or sockets."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pymc.core.ffi import lib
from tests.support.core.driver import Handle
from tests.support.core.talk import Talk
from tests.support.transcript import Kind, Step, Transcript, bytes_of, pattern_of

# What needs a server; the counters of two replays are compared with each other instead.
_PASSED_OVER = (Kind.COUNTER, Kind.COMPARE)
# The version that tests give the core.
_VERSION = (r"VERSION 1\.6\.", r"VERSION 9\.9\.")


def _admin_answer(line: bytes) -> bytes:
    """What a worker would answer to a command that parks the session."""
    assert line.startswith(b"verbosity "), f"{line!r} needs a server"
    return b"" if line.endswith(b"noreply") else b"OK\r\n"


@dataclass(slots=True)
class Replay:
    """One replay: `before` runs before each line that is sent; `answers` is all that came back."""

    handle: Handle
    move_clock: Callable[[int], None]
    before: Callable[[], None] = lambda: None
    # Everything up to an expectation goes in one piece.
    in_one_piece: bool = False
    answers: list[tuple[int, str, bytes]] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)
    _talks: dict[str, Talk] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)
    _unsent: bytes = b""

    def play(self, transcript: Transcript) -> None:
        """All steps that count for pymc. Raises AssertionError where an expectation is not met."""
        current = "main"
        for step in transcript.steps:
            if not step.counts_for("pymc") or step.kind in _PASSED_OVER:
                continue
            if step.kind in (Kind.SEND_LINE, Kind.SEND_BYTES):
                self._send(current, step)
                continue
            self._flush(current, step)
            if step.kind is Kind.CUT:
                continue
            if step.kind is Kind.CLOCK:
                self.move_clock(int(step.text.removesuffix("s")))
            elif step.kind is Kind.SWITCH:
                current = step.text
            else:
                self._expect(current, step)
        for name, talk in self._talks.items():
            rest = talk.received[self._seen[name] :]
            assert not rest, f"{transcript.path.name}: nothing more on `{name}` but {rest[:200]!r}"

    def _talk(self, name: str) -> Talk:
        if name not in self._talks:
            self._talks[name] = Talk(self.handle, values_max=64, answers_admin=False)
            self._seen[name] = 0
        return self._talks[name]

    def _send(self, name: str, step: Step) -> None:
        self._unsent += bytes_of(step.text, self._names)
        if step.kind is Kind.SEND_LINE:
            self._unsent += b"\r\n"
        if not self.in_one_piece:
            self._flush(name, step)

    def _flush(self, name: str, step: Step) -> None:
        data, self._unsent = self._unsent, b""
        if data:
            self.before()
            talk = self._talk(name)
            before = len(talk.received)
            talk.feed(data)
            while talk.admin_lines:
                talk.received += _admin_answer(talk.admin_lines.pop())
                lib.session_resume(talk.session)
                talk.feed(b"")
            self.answers.append((step.line, name, talk.received[before:]))

    def _take(self, name: str, wanted_bytes: int | None) -> bytes:
        """So many bytes of what came, or a line."""
        received, at = self._talk(name).received, self._seen[name]
        end = at + wanted_bytes if wanted_bytes is not None else received.find(b"\n", at) + 1
        end = end or len(received)
        self._seen[name] = end
        return received[at:end]

    def _expect(self, name: str, step: Step) -> None:
        if step.kind is Kind.CLOSE:
            assert self._talk(name).is_closed, f"line {step.line}: the connection is still open"
            assert self._seen[name] == len(self._talks.pop(name).received)
            return
        if step.kind is Kind.BYTES:
            wanted = bytes_of(step.text, self._names)
            got = self._take(name, len(wanted))
            assert got == wanted, f"line {step.line}"
            return
        line = self._take(name, None)
        if step.kind is Kind.LINE:
            assert line == bytes_of(step.text, self._names) + b"\r\n", f"line {step.line}"
            return
        assert step.kind is Kind.PATTERN, f"line {step.line} needs a server"
        pattern = pattern_of(step.text.replace(*_VERSION), self._names)
        found = pattern.fullmatch(line if step.text.endswith("\\n") else line.removesuffix(b"\r\n"))
        assert found, f"line {step.line}: {line!r} is not {step.text}"
        self._names.update({k: v.decode() for k, v in found.groupdict(b"").items()})
