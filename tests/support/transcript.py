r"""Reads wire transcripts: what is sent, what must come back, and how counters must move.

A transcript is a text file, one directive a line (`# ` starts a comment, blank lines part blocks):

    # args: -M -o hash_algorithm=jenkins    flags of the server (in the head of the file)
    # fresh: why                             wants a server of its own (in the head of the file)
    # not: 1.6.18 why                        is not for these servers (in the head of the file)
    # oracle: why                            reason for the tagged lines up to the next blank line
    >>> set a 0 0 1      send this line and CRLF; lines in a row leave in one write
    >>= get a\n           send exactly these bytes
    >>|                  cut here: the server reads what was sent before the next bytes leave
    <<< STORED           expect exactly this line and CRLF
    <<= x\n               expect exactly these bytes
    <<~ VERSION (.*)     expect a line that the regular expression matches as a whole; its end is
                         CRLF, or with \n at the end of the expression a bare line feed
    <<* END              skip lines until the regular expression matches one as a whole
    <<# pid uptime       expect STAT lines with exactly these keys in order (a regular expression
                         over the keys joined by blanks; lines in a row are joined) and `END`
    >>B set key=a value=x flags=1 opaque=7      send a binary request; `tests/support/packets.py`
                         has the names; other fields: expiry delta initial extras cas, and what the
                         header shall claim instead: magic keylen extlen bodylen vbucket
    <<B get value=x flags=1 cas=* opaque=7      expect a binary response, exactly: fields that are
                         not named are 0 or empty; `cas=*` is any but 0, `cas=*name` keeps it;
                         `value=~` a regular expression; `number=5` a value of 8 bytes; one word
                         alone, as `not_found`, is an error with its status and text
    <<S version key=pid  skip responses until one is as said
    ??? ${second} > ${first}       compare two numbers
    +++ get_hits +2      `stats` counter since the last such block, from another connection;
                         `=3` instead of `+3` is the value itself
    ~~~ 5s               time passes at once
    @@@ name             go on with another connection (the first one is `main`)
    !!! close            the server closes this connection and says nothing more

In what is sent and expected: \r \n \t \0 \s (blank) \\ \xHH; ${name} is what (?P<name>...) in a
`<<~` line has found, ${'a' * 250} a repetition. Sending and `<<` directives, counters and `!!!`
take a tag: `>>>[pymc]`, `<<<[1.6.18]`, `<<<[!1.6.18]` (any other), `<<<[memcached]` (any of them).
They count only for these servers, and the reason must stand above them in a `# oracle:` line.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from tests.support.packets import ERRORS, Response, opcode_of, request

_TRANSCRIPTS = Path(__file__).resolve().parents[1] / "conformance" / "transcripts"
_DIRECTIVE = re.compile(
    r"(>>>|>>=|>>\||>>B|<<<|<<=|<<~|<<\*|<<#|<<B|<<S|\?\?\?|\+\+\+|~~~|@@@|!!!)"
    r"(?:\[([^\]]+)\])?(?: (.*))?"
)
_HEAD = re.compile(r"# (args|fresh|slow|not): *(.*)")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)")
# What the extras of a request hold, and how many bytes each takes.
_STORING = {"flags": 4, "expiry": 4}
_TOUCHING = {"expiry": 4}
_COUNTING = {"delta": 8, "initial": 8, "expiry": 4}
_EXTRAS = {
    "set": _STORING,
    "add": _STORING,
    "replace": _STORING,
    "flush": _TOUCHING,
    "touch": _TOUCHING,
    "gat": _TOUCHING,
    "gatk": _TOUCHING,
    "incr": _COUNTING,
    "decr": _COUNTING,
}
_NUMBERS = (
    *("flags", "expiry", "delta", "initial", "cas", "opaque"),
    *("magic", "keylen", "extlen", "bodylen", "vbucket"),
)
_WORD = re.compile(r"(?:\$\{[^}]*\}|\S)+")
_PART = re.compile(r"\$\{(?:(\w+)|'([^']*)' \* (\d+))\}")
_COUNTER = re.compile(r"(\S+) ([+=])(-?\d+)")
_COMPARE = re.compile(r"(\S+) (<|<=|==|!=|>=|>) (\S+)")


class Kind(Enum):
    """What a directive does."""

    SEND_LINE = auto()
    SEND_BYTES = auto()
    CUT = auto()
    LINE = auto()
    BYTES = auto()
    PATTERN = auto()
    SKIP = auto()
    KEYS = auto()
    COMPARE = auto()
    COUNTER = auto()
    CLOCK = auto()
    SWITCH = auto()
    CLOSE = auto()
    SEND_PACKET = auto()
    PACKET = auto()
    SKIP_PACKETS = auto()


_KINDS = dict(
    zip(
        [">>>", ">>=", ">>|", "<<<", "<<=", "<<~", "<<*", "<<#"]
        + ["???", "+++", "~~~", "@@@", "!!!"]
        + [">>B", "<<B", "<<S"],
        Kind,
        strict=True,
    )
)
SENDING = (Kind.SEND_LINE, Kind.SEND_BYTES, Kind.SEND_PACKET, Kind.CUT)


class TranscriptError(ValueError):
    """A line that is not a directive, or a tagged line without a reason."""


@dataclass(frozen=True, slots=True)
class Step:
    """One directive; `text` is what follows it, `line` its number in the file."""

    kind: Kind
    text: str
    line: int
    tag: str = ""

    def counts_for(self, release: str) -> bool:
        """True when this step is for the server: "pymc" or a memcached release."""
        if not self.tag:
            return True
        if self.tag.startswith("!"):
            return not _names(self.tag[1:], release)
        return _names(self.tag, release)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A parsed file."""

    path: Path
    args: tuple[str, ...]
    is_fresh: bool
    is_slow: bool
    not_for: str
    steps: tuple[Step, ...]

    @property
    def moves_clock(self) -> bool:
        return any(step.kind is Kind.CLOCK for step in self.steps)

    def counts_for(self, release: str) -> bool:
        """False for a server that the head excludes."""
        return not (self.not_for and _names(self.not_for, release))


def read_transcript(path: Path) -> Transcript:
    """Parses a transcript file; raises TranscriptError with file and line."""
    head: dict[str, str] = {}
    steps: list[Step] = []
    reason = ""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            reason = ""
        elif line.startswith("#"):
            if line.startswith("# oracle:"):
                reason = line
            elif found := _HEAD.fullmatch(line):
                head[found[1]] = found[2]
        elif found := _DIRECTIVE.fullmatch(line):
            if found[2] and not reason:
                raise TranscriptError(f"{path.name}:{number}: a tag wants a `# oracle:` reason")
            step = Step(_KINDS[found[1]], found[3] or "", number, found[2] or "")
            _check(path, step)
            steps.append(step)
        else:
            raise TranscriptError(f"{path.name}:{number}: not a directive: {line}")
    args = tuple(head.get("args", "").split())
    not_for, _, why = head.get("not", "").partition(" ")
    if not_for and not why:
        raise TranscriptError(f"{path.name}: `# not: {not_for}` wants a reason")
    return Transcript(path, args, "fresh" in head, "slow" in head, not_for, tuple(steps))


def counter_of(text: str) -> tuple[str, str, int]:
    """Splits "get_hits +2" into name, sign and number."""
    found = _COUNTER.fullmatch(text)
    if not found:
        raise TranscriptError(f"not a counter: {text}")
    return found[1], found[2], int(found[3])


def comparison_of(text: str) -> tuple[str, str, str]:
    """Splits "${a} < ${b}" into its three words."""
    found = _COMPARE.fullmatch(text)
    if not found:
        raise TranscriptError(f"not a comparison: {text}")
    return found[1], found[2], found[3]


def bytes_of(text: str, names: dict[str, str]) -> bytes:
    """The bytes that a `>>>` or `<<<` line means, with names and repetitions filled in.

    Raises KeyError for a name that nothing has captured.
    """

    def fill(found: re.Match[str]) -> str:
        return names[found[1]] if found[1] else found[2] * int(found[3])

    # Repetitions first: what they repeat may hold escapes.
    return _ESCAPE.sub(_unescape, _PART.sub(fill, text).encode())


def packet_of(text: str, names: dict[str, str]) -> bytes:
    """The binary request that a `>>B` line means."""
    name, fields, _ = _fields_of(text, names)
    numbers = {field: int(word, 0) for field, word in fields.items() if field in _NUMBERS}
    extras = fields.get("extras", b"")
    for field, size in _EXTRAS.get(name.removesuffix("q"), {}).items():
        # A flush without a time has no extras.
        if field in numbers or not name.startswith("flush"):
            extras += numbers.pop(field, 0).to_bytes(size, "big")
    key, value = fields.get("key", b""), fields.get("value", b"")
    return request(name, key, value, extras, **numbers)


def response_in(text: str, names: dict[str, str]) -> tuple[Response, re.Pattern[bytes] | None, str]:
    """The binary response that a `<<B` line means, the pattern of its value, what its cas is.

    The last one is "" where the response says it, "*" for any, else the name that it gets.
    """
    name, fields, words = _fields_of(text, names)
    status, value = ERRORS[words[0]] if words else (0, fields.get("value", b""))
    status = int(fields.get("status", str(status)), 0)
    extras = fields.get("extras", b"")
    if "flags" in fields:
        extras += int(fields["flags"]).to_bytes(4, "big")
    if "number" in fields:
        value += int(fields["number"]).to_bytes(8, "big")
    pattern = None
    if value.startswith(b"~"):
        pattern, value = re.compile(value[1:], re.DOTALL), b""
    cas = fields.get("cas", b"0").decode()
    known = Response(
        opcode_of(name),
        status,
        extras,
        fields.get("key", b""),
        value,
        int(fields.get("opaque", "0"), 0),
        0 if cas.startswith("*") else int(cas, 0),
    )
    return known, pattern, cas[1:] or "*" if cas.startswith("*") else ""


def _fields_of(text: str, names: dict[str, str]) -> tuple[str, dict[str, bytes], list[str]]:
    """The name of an opcode, its fields, and words without a value."""
    name, *words = _WORD.findall(text)
    opcode_of(name)
    fields = {}
    for word in words:
        field, equals, value = word.partition("=")
        if equals:
            is_pattern = value.startswith("~")
            fields[field] = value.encode() if is_pattern else bytes_of(value, names)
    return name, fields, [word for word in words if "=" not in word]


def pattern_of(text: str, names: dict[str, str]) -> re.Pattern[bytes]:
    """The regular expression of a `<<~` line; captured names stand for themselves."""

    def fill(found: re.Match[str]) -> str:
        return re.escape(names[found[1]] if found[1] else found[2] * int(found[3]))

    return re.compile(_PART.sub(fill, text).encode(), re.DOTALL)


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code.startswith(b"x") and len(code) == 3:
        return bytes.fromhex(code[1:].decode())
    plain = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"s": b" ", b"\\": b"\\"}
    return plain[code]


def _names(tag: str, release: str) -> bool:
    words = tag.split(",")
    return release in words or ("memcached" in words and release != "pymc")


def _check(path: Path, step: Step) -> None:
    try:
        if step.kind is Kind.COUNTER:
            counter_of(step.text)
        elif step.kind is Kind.COMPARE:
            comparison_of(step.text)
        elif step.kind is Kind.CLOCK and not re.fullmatch(r"-?\d+s", step.text):
            raise TranscriptError(f"not a time: {step.text}")
        elif step.kind is Kind.CLOSE and step.text != "close":
            raise TranscriptError(f"only `close` is known, not {step.text}")
    except TranscriptError as error:
        raise TranscriptError(f"{path.name}:{step.line}: {error}") from None


def all_transcripts() -> list[Transcript]:
    """Every transcript of the conformance suite, in the order of their names."""
    return [read_transcript(path) for path in sorted(_TRANSCRIPTS.glob("*.txt"))]
