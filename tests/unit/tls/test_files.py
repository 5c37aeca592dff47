"""Reading all files as of one moment, and what is no file that could be read."""

import os

import pytest

from pymc.tls import files as module
from pymc.tls.files import FILE_BYTES_MAX, MaterialError, parts_of, read_all
from tests.support.certificate_files import CertificateFiles


def test_files_that_change_while_they_are_read_are_read_again(
    files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, reads = module._read, []

    def read(part: module.Part) -> bytes:
        text = real(part)
        reads.append(part.name)
        if len(reads) == 1:
            files.renew()
        return text

    monkeypatch.setattr(module, "_read", read)
    texts = read_all(parts_of(files.settings))
    assert reads == ["chain", "key", "ca"] * 2
    assert (texts["chain"], texts["key"]) == (files.pair.chain_pem, files.pair.key_pem)


def test_files_that_keep_changing(files: CertificateFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._read

    def read(part: module.Part) -> bytes:
        files.write("ca.pem", files.root.pem)
        return real(part)

    monkeypatch.setattr(module, "_read", read)
    with pytest.raises(MaterialError, match="the files keep changing"):
        read_all(parts_of(files.settings))


def test_a_pipe_is_not_waited_for(files: CertificateFiles) -> None:
    (files.folder / "ca.pem").unlink()
    os.mkfifo(files.folder / "ca.pem")
    with pytest.raises(MaterialError, match="not a regular file"):
        read_all(parts_of(files.settings))


def test_a_file_without_end(files: CertificateFiles) -> None:
    files.write("ca.pem", b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(MaterialError, match="longer than 4 MiB"):
        read_all(parts_of(files.settings))
