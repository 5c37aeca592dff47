"""What is known of certificates that passed the check: plain values, without any library."""

from pymc.record import Record, defaults_of

DAY_SECONDS = 86400
_ESCAPED = frozenset(" %\x7f") | {chr(code) for code in range(32)}


class Facts(Record):
    """The server's certificate, the CAs that clients' ones come from, and revocations.

    Times are seconds since 1970; 0 means that there is none.
    """

    subject: str = ""
    issuer: str = ""
    # With their kinds, as DNS:localhost, separated by commas.
    sans: str = ""
    serial: str = ""
    sha256: str = ""
    key: str = ""
    not_before: int = 0
    not_after: int = 0
    # Certificates in the chain's file.
    chain_length: int = 0
    ca_count: int = 0
    # Of the CA that ends first among those that are valid.
    ca_subject: str = ""
    ca_not_after: int = 0
    # When the first of the revocation lists is no longer valid.
    crl_next_update: int = 0
    revoked_count: int = 0
    # What should be known and does not keep the server from using it, a line each.
    warnings: str = ""


def as_text(facts: Facts) -> bytes:
    """The facts as lines, each a name and a value in one word."""
    lines = [f"{name} {one_word(str(getattr(facts, name)))}" for name in Facts.__match_args__]
    return "\n".join(lines).encode()


def from_text(text: bytes) -> Facts:
    """Reads what as_text() wrote; what is missing is as its default."""
    defaults = defaults_of(Facts)
    values: dict[str, str | int] = {}
    for line in text.decode().splitlines():
        name, _, word = line.partition(" ")
        if name in defaults:
            value = as_written(word)
            values[name] = int(value) if isinstance(defaults[name], int) else value
    return Facts(**values)  # type: ignore[arg-type]


def one_word(text: str) -> str:
    """A text as one word for lines of `stats`: blanks and control characters as %20."""
    return "".join(f"%{ord(char):02x}" if char in _ESCAPED else char for char in text)


def as_written(word: str) -> str:
    """The text that one_word() made a word of."""
    first, *rest = word.split("%")
    return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)


def days_left(not_after: int, now: float) -> int:
    """Whole days until then; negative when it is over."""
    return int((not_after - now) // DAY_SECONDS)
