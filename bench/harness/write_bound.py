"""What a mix has to write: items that stay in RAM, unwritten, until RAM is full of them.

A small simulation of the mix's own requests. RAM holds so many items, none of which is on flash.
A SET of a key that is in RAM writes nothing; any other SET sends the item that was used longest ago
to flash. Flash holds so many items, the oldest record goes first, and nothing is written twice. So
this is what has to be written, but for a server that knows the future; with uniform overwrites it
is the part of the keys that RAM does not hold.

Of many keys one in eight is looked at, as if RAM, flash and the number of requests were an eighth:
each stands for its neighbours in popularity, so the shares stay what they are.
"""

import itertools
import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from bench.harness.workloads import Workload

# Of a record on pymc's flash: its own header and the item's (csrc/flash/FORMAT.md).
RECORD_HEADER_BYTES = 28
# Keys from which on one in so many is looked at.
_MANY_KEYS = 100_000
_ONE_IN = 8
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Mix:
    """The requests, and the items that fit; `theta` is Zipf's, None for uniform keys."""

    keys: int
    requests: int
    ram_items: int
    flash_items: int
    set_share: float = 0.0
    theta: float | None = None
    read_through: bool = False
    seed: int = 1


def mix_of(workload: Workload, ram_items: int, record_bytes: float) -> Mix:
    """The mix of a row; `record_bytes` is what one of its items takes on flash."""
    run = workload.run
    is_zipf = run.get("popularity", "uniform") == "zipf"
    return Mix(
        keys=int(workload.data["keys"]),
        requests=int(run["requests"]),
        ram_items=ram_items,
        flash_items=int(workload.flash_mib * 2**20 / record_bytes),
        set_share=float(run.get("set-share", 0)),
        theta=float(run.get("theta", 0.99)) if is_zipf else None,
        read_through=bool(run.get("read-through", False)),
    )


def _keys(mix: Mix, one_in: int, dice: random.Random) -> Iterator[int]:
    # The middle one of each group of ranks.
    ranks = range((one_in + 1) // 2, mix.keys + 1, one_in)
    if mix.theta is None:
        while True:
            yield int(dice.random() * len(ranks))
    theta = mix.theta
    weights = list(itertools.accumulate(rank**-theta for rank in ranks))
    while True:
        yield from dice.choices(ranks, cum_weights=weights, k=_CHUNK)


def writes_per_set(mix: Mix) -> float:
    """Items written per SET, once as many requests as are counted have gone before."""
    one_in = _ONE_IN if mix.keys >= _MANY_KEYS else 1
    ram_items, flash_items = mix.ram_items // one_in, mix.flash_items // one_in
    dice = random.Random(mix.seed)
    keys = _keys(mix, one_in, dice)
    ram: OrderedDict[int, None] = OrderedDict()
    flash: OrderedDict[int, None] = OrderedDict()
    sets = writes = 0
    for phase in range(2):
        if phase == 1:
            sets = writes = 0
        for key in itertools.islice(keys, mix.requests // one_in):
            if dice.random() >= mix.set_share:
                if key in ram:
                    ram.move_to_end(key)
                    continue
                if key in flash or not mix.read_through:
                    continue
            sets += 1
            if key in ram:
                ram.move_to_end(key)
                continue
            flash.pop(key, None)
            ram[key] = None
            if len(ram) > ram_items:
                victim, _ = ram.popitem(last=False)
                flash[victim] = None
                writes += 1
                if len(flash) > flash_items:
                    flash.popitem(last=False)
    return writes / max(sets, 1)


def bound(workload: Workload, ram_items: int, packed_share: float = 1.0) -> float:
    """Bytes written per byte (key and value) SET; values take `packed_share` of their size."""
    key_bytes, value_bytes = int(workload.data["key-bytes"]), int(workload.data["value-bytes"])
    record_bytes = RECORD_HEADER_BYTES + key_bytes + value_bytes * packed_share
    each = writes_per_set(mix_of(workload, ram_items, record_bytes))
    return each * record_bytes / (key_bytes + value_bytes)
