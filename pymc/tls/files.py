"""The files of `ssl_*`: which there are, and reading all of them as of one moment."""

import os
import stat

from pymc.config import Settings
from pymc.record import Record

# A bundle of a thousand CAs has less than two megabytes; lists of revoked ones may be longer.
FILE_BYTES_MAX = 4 << 20
_READS_MAX = 5


class MaterialError(Exception):
    """Certificates or keys cannot be used; the message is one line that names the file."""


class Part(Record):
    """One file of the material: its name here, what it is called in messages, and its path."""

    name: str
    title: str
    path: str


# What each file is in memcached's words, and in words like these for pymc's own.
_TITLES = {
    "chain": "the certificate chain",
    "key": "the key",
    "ca": "the CA certificate",
    "crl": "the revocation list",
    "ids": "the allowed identities",
}
PART_NAMES = tuple(_TITLES)


def parts_of(settings: Settings) -> tuple[Part, ...]:
    """The files that the settings name. Paths stay right when a daemon changes its folder.

    Without ssl_key the key is in the chain's file, as memcached's help has it.
    """
    paths = {
        "chain": settings.tls_chain_path,
        "key": settings.tls_key_path or settings.tls_chain_path,
        "ca": settings.tls_ca_path,
        "crl": settings.tls_crl_path,
        "ids": settings.tls_allowed_ids_path,
    }
    return tuple(
        Part(name, _TITLES[name], os.path.abspath(path)) for name, path in paths.items() if path
    )


def error_in(part: Part, reason: str) -> MaterialError:
    """What is wrong with a file, in memcached's words."""
    return MaterialError(f"Error loading {part.title}: {part.path} : {reason}")


def look_at(parts: tuple[Part, ...]) -> str:
    """What the files are now, links followed: a line that is another one as soon as a file took
    the place of one of them, or one was written.
    """
    return " ".join(_look_at(part.path) for part in parts)


def _look_at(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return "-"
    return f"{found.st_dev}.{found.st_ino}.{found.st_mtime_ns}.{found.st_size}"


def read_all(parts: tuple[Part, ...]) -> dict[str, bytes]:
    """Reads all files; again when one of them was changed meanwhile. Raises MaterialError."""
    for _ in range(_READS_MAX):
        before = look_at(parts)
        texts = {part.name: _read(part) for part in parts}
        if look_at(parts) == before:
            return texts
    raise MaterialError("Error loading the certificates: the files keep changing")


def _read(part: Part) -> bytes:
    try:
        # A pipe without a writer would wait for ever.
        fd = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise error_in(part, "not a regular file")
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise error_in(part, error.strerror or str(error)) from None
    if len(text) > FILE_BYTES_MAX:
        raise error_in(part, f"longer than {FILE_BYTES_MAX >> 20} MiB")
    if not text.strip():
        raise error_in(part, "the file is empty")
    return text
