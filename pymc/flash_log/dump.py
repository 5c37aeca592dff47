"""`pymc-flash dump FILE`: lists and verifies what the files of the flash tier hold, offline."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymc.flash_log.format import (
    BUCKETS,
    Damage,
    Gap,
    PageHeader,
    Record,
    find_pages,
    read_records,
)


@dataclass
class Totals:
    """What a file held."""

    pages: int = 0
    records: int = 0
    record_bytes: int = 0
    compressed: int = 0
    damaged_ranges: int = 0
    damaged_bytes: int = 0
    unwritten_bytes: int = 0

    def add(self, found: Record | Damage | Gap) -> None:
        """Counts one more."""
        if isinstance(found, Damage):
            self.damaged_ranges += 1
            self.damaged_bytes += found.range_bytes
            return
        if isinstance(found, Gap):
            self.unwritten_bytes += found.range_bytes
            return
        self.records += 1
        self.record_bytes += found.record_bytes
        self.compressed += found.is_compressed

    def as_dict(self) -> dict[str, int]:
        """Returns the counts by name, for printing."""
        return dict(vars(self))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns 0 when all is whole, 1 for damage, 2 when a file is no log."""
    wanted = _parse(sys.argv[1:] if argv is None else argv)
    worst = 0
    try:
        for name in wanted.files:
            worst = max(worst, _dump(name, wanted))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; Python must not complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:
        print(f"pymc-flash: {error}", file=sys.stderr)
        return 2
    return worst


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pymc-flash", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    dump = commands.add_parser("dump", help="print and verify every record")
    dump.add_argument("files", metavar="FILE", nargs="+", help="a file or device of ext_path")
    dump.add_argument("--page", type=int, metavar="N", help="only the page of this number")
    dump.add_argument("--values", action="store_true", help="print values too")
    dump.add_argument("--json", action="store_true", help="one JSON object per line")
    dump.add_argument("-q", "--quiet", action="store_true", help="only damage and the summary")
    return parser.parse_args(argv)


def _dump(name: str, wanted: argparse.Namespace) -> int:
    totals = Totals()
    with open(name, "rb") as file:
        file_bytes = file.seek(0, os.SEEK_END)
        for header in find_pages(file, file_bytes):
            if wanted.page is not None and header.page != wanted.page:
                continue
            totals.pages += 1
            file.seek(header.file_offset)
            for found in read_records(header, file.read(header.page_bytes)):
                totals.add(found)
                if not (wanted.quiet and isinstance(found, Record)):
                    _show(_fields(header, found, wanted.values), wanted.json)
    _show({"file": name} | totals.as_dict(), wanted.json)
    if totals.pages == 0:
        print(f"pymc-flash: {name}: no page of a log was found", file=sys.stderr)
        return 2
    return 1 if totals.damaged_ranges else 0


def _fields(header: PageHeader, found: Record | Damage | Gap, with_value: bool) -> dict[str, Any]:
    place: dict[str, Any] = {"page": header.page, "offset": found.offset}
    if isinstance(found, Damage):
        return place | {"damaged_bytes": found.range_bytes, "reason": found.reason}
    if isinstance(found, Gap):
        return place | {"unwritten_bytes": found.range_bytes}
    epoch = header.epoch_unix_seconds
    fields = place | {
        "bucket": BUCKETS[header.bucket] if header.bucket < len(BUCKETS) else header.bucket,
        "key": _readable(found.key),
        "flags": found.client_flags,
        "exp": found.expiry_seconds + epoch if found.expiry_seconds else -1,
        "la": found.time_seconds + epoch,
        "cas": found.cas,
        "state": found.state,
        "record_bytes": found.record_bytes,
        "value_bytes": len(found.value),
        "compressed": found.is_compressed,
    }
    return fields | {"value": _readable(found.value)} if with_value else fields


def _readable(raw: bytes) -> str:
    """Writes bytes as one word: what is not printable ASCII, and the percent sign, as %xx."""
    plain = (chr(byte) if 0x20 < byte < 0x7F and byte != 0x25 else f"%{byte:02x}" for byte in raw)
    return "".join(plain)


def _show(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(fields))
        return
    words = (f"{name}={str(value).replace(' ', '_')}" for name, value in fields.items())
    print(" ".join(words))


if __name__ == "__main__":
    sys.exit(main())
