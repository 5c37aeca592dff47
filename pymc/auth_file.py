"""The users and passwords of the file that `-Y` names, as all processes of a server know them."""

from pymc.config import EXIT_FAILURE, StartupError

USERS_MAX = 8
LINE_BYTES_MAX = 256
# With a line end for each, and a byte behind the last.
_COPY_BYTES = USERS_MAX * (LINE_BYTES_MAX + 1) + 1


def read_auth_file(path: str) -> bytes:
    """Its `user:password` lines, the first eight. Raises StartupError in memcached's words."""
    try:
        with open(path, "rb") as file:
            text = file.read(USERS_MAX * (LINE_BYTES_MAX + 1))
    except OSError as error:
        raise StartupError(
            f"Could not open authfile [{path}] for reading, error {error.strerror}:"
            f" {error.strerror}",
            EXIT_FAILURE,
        ) from None
    lines = text.removesuffix(b"\n").split(b"\n")[:USERS_MAX]
    if any(b":" not in line[:LINE_BYTES_MAX] for line in lines):
        raise StartupError(
            f"Authfile [{path}] has a malformed entry. Should be 'user:password'", EXIT_FAILURE
        )
    return b"\n".join(line[:LINE_BYTES_MAX] for line in lines) + b"\n"


class Users:
    """What the file held when it was last good, in memory that forked processes share.

    The supervisor alone reads the file: so all workers know the same users, also one that is
    started while the file is broken.
    """

    def __init__(self, path: str) -> None:
        """Reads it for the first time. Raises StartupError in memcached's words."""
        # Most servers start without it.
        import mmap

        self.path = path
        # Two copies and the number of the one that counts, so that nobody reads half of a change.
        self._memory = mmap.mmap(-1, 1 + 2 * _COPY_BYTES)
        self.reload()

    def reload(self) -> None:
        """Reads the file anew. Raises StartupError, and the users stay those they were."""
        lines = read_auth_file(self.path)
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
