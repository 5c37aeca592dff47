"""`pymc certs`: what it makes, and that it never takes another file's place."""

import sys
from pathlib import Path

import pytest

from pymc import cli
from pymc.tls.dev import FILES, USAGE


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pymc", *words])
    return cli.main()


def test_what_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "dev"
    assert run(monkeypatch, "certs", "dev", str(folder)) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    printed = capsys.readouterr().out
    assert "\nopenssl s_client " in printed and "\nmemtier_benchmark " in printed
    texts = {path: path.read_bytes() for path in folder.iterdir()}
    (folder / "ca.pem").unlink()
    assert run(monkeypatch, "certs", "dev", str(folder)) == 1
    assert "already" in capsys.readouterr().err
    assert not (folder / "ca.pem").exists()
    assert all(path.read_bytes() == texts[path] for path in folder.iterdir())


@pytest.mark.parametrize("words", [["certs"], ["certs", "dev"], ["certs", "prod", "x"]])
def test_other_words(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 64
    assert capsys.readouterr().err == USAGE + "\n"


def test_a_folder_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert run(monkeypatch, "certs", "dev", str(tmp_path / "file")) == 1
    assert capsys.readouterr().err == f"pymc certs: {tmp_path}/file: File exists\n"
