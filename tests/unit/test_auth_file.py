"""The file of users that -Y names: what is taken, and memcached's words for what is not."""

from pathlib import Path

import pytest

from pymc.auth_file import read_auth_file
from pymc.config import StartupError


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"u:p\n", b"u:p\n"),
        (b"u:p", b"u:p\n"),
        (b"u:p:q\n:x\ny:\n", b"u:p:q\n:x\ny:\n"),
        (b"".join(b"u%d:p\n" % n for n in range(9)), b"".join(b"u%d:p\n" % n for n in range(8))),
    ],
)
def test_good_files(tmp_path: Path, text: bytes, lines: bytes) -> None:
    path = tmp_path / "auth"
    path.write_bytes(text)
    assert read_auth_file(str(path)) == lines


@pytest.mark.parametrize("text", [b"", b"user\n", b"\nu:p\n", b"#c\nu:p\n", b"u:p\n\nx:y\n"])
def test_malformed_files(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "auth"
    path.write_bytes(text)
    with pytest.raises(StartupError, match=r"malformed entry\. Should be 'user:password'"):
        read_auth_file(str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        read_auth_file(str(tmp_path / "none"))
    assert caught.value.exit_code == 1
    assert caught.value.message == (
        f"Could not open authfile [{tmp_path}/none] for reading, error"
        " No such file or directory: No such file or directory"
    )
