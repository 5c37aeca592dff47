"""The users and passwords for `-Y` and `-S`, as all processes of a server know them."""

from collections.abc import Callable

from pymc.config import EXIT_FAILURE, StartupError

USERS_MAX = 8
# A file for SASL has no bound in memcached, and is read at each login there.
SASL_USERS_MAX = 1000
LINE_BYTES_MAX = 256
# With a line end for each, and a byte behind the last. What is not used of it takes no memory.
_COPY_BYTES = SASL_USERS_MAX * (LINE_BYTES_MAX + 1) + 1
# One user more than are taken, so that there is a reason that names their number.
_PASSWORD_FILE_BYTES_MAX = (SASL_USERS_MAX + 1) * (LINE_BYTES_MAX + 1)


def read_auth_file(path: str) -> bytes:
    """Its `user:password` lines, the first eight. Raises StartupError in memcached's words."""
    # What is behind eight users counts for nothing, as in memcached.
    text = _read(path, USERS_MAX * (LINE_BYTES_MAX + 1))
    lines = text.removesuffix(b"\n").split(b"\n")[:USERS_MAX]
    if any(b":" not in line[:LINE_BYTES_MAX] for line in lines):
        raise _malformed(path)
    return b"\n".join(line[:LINE_BYTES_MAX] for line in lines) + b"\n"


def read_password_file(path: str) -> bytes:
    """The same of the file that MEMCACHED_SASL_PWDB names; raises what read_auth_file() does.

    A line is `user:password`, or `user:password:` with whatever behind it, as memcached has it;
    blank lines count for nothing.
    """
    text = _read(path, _PASSWORD_FILE_BYTES_MAX + 1)
    if len(text) > _PASSWORD_FILE_BYTES_MAX:
        # The last line would be cut, with a shorter password than the file's.
        raise StartupError(
            f"[{path}] is longer than {_PASSWORD_FILE_BYTES_MAX} bytes", EXIT_FAILURE
        )
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n") if line.strip()]
    if len(lines) > SASL_USERS_MAX:
        raise StartupError(f"[{path}] has more than {SASL_USERS_MAX} users", EXIT_FAILURE)
    if any(b":" not in line or len(line) > LINE_BYTES_MAX for line in lines):
        raise _malformed(path)
    return b"".join(b":".join(line.split(b":")[:2]) + b"\n" for line in lines)


def _read(path: str, bytes_max: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(bytes_max)
    except OSError as error:
        raise StartupError(
            f"Could not open authfile [{path}] for reading, error {error.strerror}:"
            f" {error.strerror}",
            EXIT_FAILURE,
        ) from None


def _malformed(path: str) -> StartupError:
    return StartupError(
        f"Authfile [{path}] has a malformed entry. Should be 'user:password'", EXIT_FAILURE
    )


class Users:
    """What the file held when it was last good, in memory that forked processes share.

    The supervisor alone reads the file: so all workers know the same users, also one that is
    started while the file is broken.
    """

    def __init__(self, path: str, read: Callable[[str], bytes] = read_auth_file) -> None:
        """Reads it for the first time. Raises StartupError in memcached's words."""
        # Most servers start without it.
        import mmap

        self.path = path
        self._read = read
        # Two copies and the number of the one that counts, so that nobody reads half of a change.
        self._memory = mmap.mmap(-1, 1 + 2 * _COPY_BYTES)
        self.reload()

    def reload(self) -> None:
        """Reads the file anew. Raises StartupError, and the users stay those they were."""
        lines = self._read(self.path)
        copy = 1 - self._memory[0]
        start = 1 + copy * _COPY_BYTES
        self._memory[start : start + len(lines)] = lines
        self._memory[start + len(lines)] = 0
        self._memory[0] = copy

    @property
    def lines(self) -> bytes:
        """`user:password` lines, each with its line end."""
        start = 1 + self._memory[0] * _COPY_BYTES
        return self._memory[start : start + _COPY_BYTES].partition(b"\0")[0]

    @property
    def counted(self) -> str:
        """How many there are, in words."""
        count = self.lines.count(b"\n")
        return f"{count} user" if count == 1 else f"{count} users"
