"""What a mix has to write: known answers of the simulation, and what it takes from a row."""

from dataclasses import replace

import pytest

from bench.harness import workloads, write_bound
from bench.harness.write_bound import RECORD_HEADER_BYTES, Mix, bound, mix_of, writes_per_set

OVERWRITES = Mix(keys=2000, requests=20_000, ram_items=600, flash_items=5000, set_share=1.0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_uniform_overwrites_write_what_ram_does_not_hold(share: float) -> None:
    mix = replace(OVERWRITES, ram_items=int(share * OVERWRITES.keys))
    assert writes_per_set(mix) == pytest.approx(1 - share, abs=0.02)


def test_reads_change_nothing_there() -> None:
    mixed = replace(OVERWRITES, set_share=0.5, read_through=True, requests=40_000)
    assert writes_per_set(mixed) == pytest.approx(0.7, abs=0.02)


def test_what_fits_into_ram_is_never_written() -> None:
    assert writes_per_set(replace(OVERWRITES, ram_items=2000)) == 0
    only_read = replace(OVERWRITES, set_share=0.0)
    assert writes_per_set(only_read) == 0


def test_popular_keys_spare_writes() -> None:
    zipf = replace(OVERWRITES, theta=0.99)
    assert writes_per_set(zipf) < writes_per_set(OVERWRITES) - 0.2


@pytest.mark.parametrize("theta", [None, 0.99])
def test_one_key_in_eight_tells_the_same(
    theta: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix = Mix(40_000, 80_000, 12_000, 100_000, set_share=1.0, theta=theta)
    every = writes_per_set(mix)
    monkeypatch.setattr(write_bound, "_MANY_KEYS", 1)
    assert writes_per_set(mix) == pytest.approx(every, abs=0.02)


def test_what_is_read_through_is_written_each_time_it_comes_back() -> None:
    # RAM and flash hold a part of the keys: what was dropped is SET again, and then written again.
    through = Mix(2000, 20_000, 200, 300, read_through=True)
    assert writes_per_set(through) == pytest.approx(1.0, abs=0.01)
    # All of them are held: nothing is SET any more.
    assert writes_per_set(replace(through, flash_items=2000)) == 0


def test_a_mix_is_that_of_its_row() -> None:
    rows = {row.name: row for row in workloads.read()}
    uniform, zipf = rows["flash-writes-overwrite"], rows["flash-writes-zipf"]
    assert mix_of(uniform, 120_000, 968) == Mix(
        keys=400_000,
        requests=1_200_000,
        ram_items=120_000,
        flash_items=576 * 2**20 // 968,
        set_share=0.5,
        read_through=True,
    )
    assert mix_of(zipf, 120_000, 968).theta == 0.99


def test_bytes_count_headers_and_packing() -> None:
    row = next(one for one in workloads.read() if one.name == "flash-writes-overwrite")
    small = replace(
        row,
        data={**row.data, "keys": 1000},
        run={**row.run, "requests": 10_000},
    )
    plain = bound(small, 0)
    assert plain == pytest.approx((RECORD_HEADER_BYTES + 940) / 940)
    assert bound(small, 0, packed_share=0.5) == pytest.approx((RECORD_HEADER_BYTES + 490) / 940)
