"""The files of users for -Y and -S: what is taken, and memcached's words for what is not."""

import os
from pathlib import Path

import pytest

from pymc.auth_file import (
    LINE_BYTES_MAX,
    SASL_USERS_MAX,
    USERS_MAX,
    Users,
    read_auth_file,
    read_password_file,
)
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


def test_users_stay_while_the_file_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.write_bytes(b"u:p\nx:y\n")
    users = Users(str(path))
    assert (users.lines, users.counted) == (b"u:p\nx:y\n", "2 users")
    path.write_bytes(b"nonsense\n")
    with pytest.raises(StartupError):
        users.reload()
    assert users.lines == b"u:p\nx:y\n"
    path.write_bytes(b"z:1\n")
    users.reload()
    assert (users.lines, users.counted) == (b"z:1\n", "1 user")


def test_the_largest_file_fits_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.write_bytes(b"u:p\n")
    users = Users(str(path))
    for letter in (b"a", b"b", b"c"):
        line = (letter + b":").ljust(LINE_BYTES_MAX, letter)
        path.write_bytes((line + b"\n") * USERS_MAX)
        users.reload()
        assert users.lines == path.read_bytes()


def test_forked_processes_know_what_was_read_since(tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.write_bytes(b"old:p\n")
    users = Users(str(path))
    reader, writer = os.pipe()
    waits, goes_on = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(waits, 1)
        os.write(writer, users.lines)
        os._exit(0)
    path.write_bytes(b"new:p\n")
    users.reload()
    os.write(goes_on, b"x")
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"new:p\n"
    for descriptor in (reader, writer, waits, goes_on):
        os.close(descriptor)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"u:p\n", b"u:p\n"),
        (b"u:p", b"u:p\n"),
        (b"u:p:and more:\nx:y:\r\n\n \nz:\n", b"u:p\nx:y\nz:\n"),
        (b"", b""),
    ],
)
def test_good_password_files(tmp_path: Path, text: bytes, lines: bytes) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(text)
    assert read_password_file(str(path)) == lines
    assert Users(str(path), read_password_file).lines == lines


@pytest.mark.parametrize("text", [b"user\n", b"u:p\n#c\n", b"u:" + b"p" * LINE_BYTES_MAX])
def test_malformed_password_files(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "passwords"
    path.write_bytes(text)
    with pytest.raises(StartupError, match="malformed entry"):
        read_password_file(str(path))


def test_a_password_file_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    line = b"u:" + b"p" * (LINE_BYTES_MAX - 2) + b"\n"
    path.write_bytes(line * SASL_USERS_MAX)
    assert len(Users(str(path), read_password_file).lines) == len(line) * SASL_USERS_MAX
    path.write_bytes(line * (SASL_USERS_MAX + 1))
    with pytest.raises(StartupError, match="more than 1000 users"):
        read_password_file(str(path))
    with pytest.raises(StartupError):
        read_password_file(str(tmp_path / "none"))


def test_a_password_is_never_a_part_of_one(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    end = b"u:password\n"
    bound = (SASL_USERS_MAX + 1) * (LINE_BYTES_MAX + 1)
    path.write_bytes(b"\n" * (bound - len(end)) + end)
    assert read_password_file(str(path)) == end
    path.write_bytes(b"\n" * (bound - len(end) + 1) + end)
    with pytest.raises(StartupError, match=f"is longer than {bound} bytes"):
        read_password_file(str(path))
