"""A key that is missed where it was and is elsewhere by then: no command says that it is missing.

Its item goes from flash to memory, or the other way, between two looks of one operation.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.core.flash_keeper import FlashKeeper
from tests.support.core.interferer import Interferer

pytestmark = pytest.mark.debug

# Each would answer something else if the key were missing.
COMMANDS = [
    (b"incr k 1\r\n", b"11\r\n"),
    (b"decr k 1\r\n", b"9\r\n"),
    (b"touch k 0\r\n", b"TOUCHED\r\n"),
    (b"ma k v\r\n", b"VA 2\r\n11\r\n"),
    (b"ma k N0 J500 v\r\n", b"VA 2\r\n11\r\n"),
    (b"md k I\r\n", b"HD\r\n"),
]
# These lock the bucket as soon as they have found something.
DELETES = [(b"delete k\r\n", b"DELETED\r\n"), (b"md k\r\n", b"HD\r\n")]
LOOKS_WITHOUT_LOCK = 4


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FlashKeeper]:
    with FlashKeeper(tmp_path, now=100, spare_slots=1) as made:
        assert made.send(b"set k 0 0 2\r\n10\r\n") == b"STORED\r\n"
        yield made
        made.check()


def interfere(tier: FlashKeeper, *actions: Callable[[Interferer], object]) -> Interferer:
    """Each action happens after one look; after the last one there is peace."""
    made = Interferer(tier.cache, tier.worker)
    left = list(actions)
    made.action = lambda: left.pop(0)(made) if left else None
    return made


@pytest.mark.parametrize(("command", "answer"), COMMANDS + DELETES)
def test_in_memory_before_flash_was_asked(tier: FlashKeeper, command: bytes, answer: bytes) -> None:
    """Its entry goes when the key is stored again: a miss in memory, and one on flash."""
    tier.exile()
    assert tier.counters()["items"] == 0
    interferer = interfere(tier, lambda other: other.other.put(b"k", b"10"))
    answered = tier.send(command)
    interferer.stop()
    assert interferer.calls >= 2
    assert answered.replace(b" \r", b"\r") == answer


@pytest.mark.parametrize(("command", "answer"), COMMANDS)
def test_on_flash_before_the_look_under_the_lock(
    tier: FlashKeeper, command: bytes, answer: bytes
) -> None:
    """The last looks are under the bucket's lock, and ask flash as the first ones do."""

    def touch(interferer: Interferer) -> None:
        interferer.other.touch(b"k", 0)

    def leave(_interferer: Interferer) -> None:
        assert tier.exile() > 0

    interferer = interfere(tier, *[touch] * (LOOKS_WITHOUT_LOCK - 1), leave)
    answered = tier.send(command)
    interferer.stop()
    assert interferer.calls >= LOOKS_WITHOUT_LOCK
    assert answered.replace(b" \r", b"\r") == answer


@pytest.mark.parametrize(("command", "answer"), DELETES)
def test_on_flash_before_a_delete_has_the_lock(
    tier: FlashKeeper, command: bytes, answer: bytes
) -> None:
    """It was found in memory; what is deleted now is its copy."""
    interferer = interfere(tier, lambda _: tier.exile())
    assert tier.send(command) == answer
    interferer.stop()
    assert tier.send(b"get k\r\n") == b"END\r\n"
    # The interferer's neighbour is on flash too.
    assert tier.entries() == 1
