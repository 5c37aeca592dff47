"""Reads the file of users and passwords that `-Y` names."""

from pymc.config import EXIT_FAILURE, StartupError

USERS_MAX = 8
LINE_BYTES_MAX = 256


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
