"""`pymc-flash dump` reads what the core writes, as FORMAT.md says, and sees all damage."""

import json
import random
import struct
from pathlib import Path

import pytest

from pymc.core.checksum import crc32c
from pymc.core.ffi import ffi, lib
from pymc.flash_log.dump import main
from pymc.flash_log.format import Damage, Gap, Record, find_pages, read_records
from tests.support.core.flash_log import (
    BLOCK,
    EPOCH_UNIX_SECONDS,
    PAGE,
    WBUF,
    Buffer,
    Log,
    image_of,
)


def squeeze(value: bytes) -> bytes:
    out = ffi.new("char[]", len(value))
    made = lib.flash_compress(value, len(value), out, len(value))
    assert made > 0
    return bytes(ffi.buffer(out, made))


def read_file(name: str) -> list[Record | Damage | Gap]:
    data = Path(name).read_bytes()
    with open(name, "rb") as file:
        headers = find_pages(file, len(data))
    return [
        found
        for header in headers
        for found in read_records(header, data[header.file_offset :][: header.page_bytes])
    ]


def test_items_come_back_with_all_their_fields(tmp_path: Path) -> None:
    text = b"compress me " * 300
    with Log(tmp_path, pages=(1, 1)) as log:
        buffer = Buffer(log)
        assert buffer.begin(lib.FLASH_LOW_TTL) == 0
        buffer.put(image_of(b"plain", b"value"))
        buffer.put(image_of(b"full", b"", 5000, 42, (1 << 60) + 5))
        buffer.put(image_of(b"small", text, flags=1, stored=squeeze(text)), compressed=True)
        buffer.put(image_of(b"k" * 250, b"\r\n" * 5000, cas=(1 << 47) + 1))
        assert buffer.complete() == 0
        found = read_file(log.names[log.page(0).path])
    records = [record for record in found if isinstance(record, Record)]
    assert records == found
    plain, full, small, long = records
    assert (plain.key, plain.value, plain.cas, plain.client_flags) == (b"plain", b"value", 77, 0)
    assert (full.value, full.expiry_seconds, full.client_flags) == (b"", 5000, 42)
    assert full.cas == (1 << 60) + 5
    assert (small.value, small.is_compressed) == (text, True)
    assert small.stored_value_bytes < len(text) // 10
    assert (long.key, long.value, long.cas) == (b"k" * 250, b"\r\n" * 5000, (1 << 47) + 1)


def test_the_page_header(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(2, 2), labels=(0, 4)) as log:
        for _ in range(2):
            log.write_all([image_of(b"a", b"b")], lib.FLASH_COLD_COMPACT)
            lib.flash_page_close(log.flash, log.proc, int(log.states().index(1)))
        with open(log.names[1], "rb") as file:
            first, second = find_pages(file, 2 * PAGE)
    assert (first.page, second.page) == (1, 3)
    assert (first.page_version, second.page_version) == (1, 2)
    assert (first.file_offset, second.file_offset, first.page_bytes) == (0, PAGE, PAGE)
    assert first.log_id == second.log_id
    assert first.epoch_unix_seconds == EPOCH_UNIX_SECONDS
    assert (first.path, first.bucket, first.label, first.unit_bytes) == (1, 4, 4, 16)


def test_the_example_in_the_description() -> None:
    """The bytes that FORMAT.md shows are the bytes of the record it describes."""
    text = (Path(__file__).parents[4] / "csrc" / "flash" / "FORMAT.md").read_text()
    rows = [line[6:53] for line in text.splitlines() if line[:4].isalnum() and line[4:6] == "  "]
    raw = bytes.fromhex("".join(rows))
    body = struct.pack("<II", 12 + 16 + 4 + 4 + 3 + 5, 9) + image_of(b"key", b"value", 600, 7, 2)
    whole = struct.pack("<I", crc32c(body)) + body
    assert raw == whole + bytes(-len(whole) % 16)


def test_pages_of_earlier_logs_are_left_out(tmp_path: Path) -> None:
    with Log(tmp_path, pages=(3,)) as log:
        log.write_all([image_of(b"old", b"o" * 200_000)] * 12)
        old = Path(log.names[0]).read_bytes()
        assert log.states().count(lib.FLASH_PAGE_FREE) == 0
    with Log(tmp_path, pages=(3,)) as log:
        log.write_all([image_of(b"new", b"n")])
        data = bytearray(old)
        data[:PAGE] = Path(log.names[0]).read_bytes()[:PAGE]
    # The later server began at the same second here; its pages would carry a later one.
    struct.pack_into("<q", data, 56, EPOCH_UNIX_SECONDS + 9)
    struct.pack_into("<I", data, 8, crc32c(data[12:BLOCK]))
    name = tmp_path / "device"
    name.write_bytes(data)
    assert [found.key for found in read_file(str(name)) if isinstance(found, Record)] == [b"new"]


def test_a_gap_is_no_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(tmp_path) as log:
        log.write_all([image_of(b"one", b"1" * 5000)])
        dead = Buffer(log)
        assert dead.begin() == 0
        dead.put(image_of(b"lost", b"?" * 9000))
        assert dead.seal() == 3 * BLOCK
        log.write_all([image_of(b"two", b"2")])
        name = log.names[0]
    kinds = [type(found) for found in read_file(name)]
    assert kinds == [Record, Gap, Record]
    assert main(["dump", name]) == 0
    # From the end of the first buffer's only record up to the third one.
    assert f"unwritten_bytes={2 * WBUF - 3 * BLOCK}" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(12))
def test_each_changed_bit_is_seen(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with Log(tmp_path, avoid_direct=True) as log:
        images = [
            image_of(b"k%d" % number, dice.randbytes(dice.randrange(9000))) for number in range(40)
        ]
        written = log.write_all(images)
        name = log.names[0]
        address, image = dice.choice(list(written.items()))
        place = log.place(address)[1] + dice.randrange(12 + len(image))
        with open(name, "r+b") as file:
            file.seek(place)
            (byte,) = file.read(1)
            file.seek(place)
            file.write(bytes([byte ^ 1 << dice.randrange(8)]))
        keys = [found.key for found in read_file(name) if isinstance(found, Record)]
        assert keys == [b"k%d" % n for n in range(40) if images[n] != image]
        assert main(["dump", "-q", name]) == 1


def test_what_the_program_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(tmp_path, pages=(2,)) as log:
        log.write_all([image_of(b"a key\xff", b"the value", 600, 7)])
        lib.flash_page_close(log.flash, log.proc, 0)
        log.write_all([image_of(b"second", b"")])
        name = log.names[0]
    assert main(["dump", name]) == 0
    first, second, summary = capsys.readouterr().out.splitlines()
    words = dict(word.split("=") for word in first.split())
    assert words["key"] == "a%20key%ff"
    assert words["exp"] == str(EPOCH_UNIX_SECONDS + 600)
    assert (words["flags"], words["cas"], words["page"]) == ("7", "77", "0")
    assert (words["offset"], words["value_bytes"]) == ("4096", "9")
    assert "value" not in words
    assert "page=1 " in second and "exp=-1 " in second
    assert "pages=2 records=2 " in summary
    assert main(["dump", "--json", "--values", "--page", "0", name]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("value") for row in rows] == ["the%20value", None]
    assert rows[1]["records"] == 1


def test_files_that_are_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(bytes(PAGE))
    assert main(["dump", str(empty)]) == 2
    assert main(["dump", str(tmp_path / "missing")]) == 2
    assert "no page of a log" in capsys.readouterr().err
