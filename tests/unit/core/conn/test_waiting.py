"""Commands that wait for flash or for a bucket: rows of ON_FLASH and ON_BUCKET."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymc.core.ffi import lib
from tests.support.core.conn_rig import END, Client, Rig, put, shown
from tests.support.core.flash_cache import FlashCache, Log
from tests.support.deadline import wait_until


@pytest.fixture
def flash(tmp_path: Path) -> Iterator[Rig]:
    """Its items k0 to k9 are on flash only."""
    tier = FlashCache(tmp_path, Log(kind=lib.FLASH_READER_THREADS))
    for number in range(10):
        tier.send(b"set k%d 0 0 5\r\nvalue\r\n" % number)
    tier.to_flash()
    made = Rig(tier.cache, tier.worker)
    yield made
    made.close()
    tier.close()


def read_flash(rig: Rig, client: Client) -> None:
    """Turns until no command of the client waits for flash any more."""

    def is_read() -> bool:
        rig.turn()
        return client.state != "ON_FLASH"

    wait_until(is_read, "the read from flash")


def test_on_bucket(rig: Rig) -> None:
    reply = put(rig, b"held", b"7") + END
    holder = rig.cache.open(1)
    client, other = rig.client(), rig.client()
    holder.hold(b"held")
    client.say(b"mn\r\nget held\r\nmn\r\n")
    rig.turn()
    assert (client.state, client.shown) == ("ON_BUCKET", lib.CONNECTION_IO_QUEUE)
    assert client.hear() == b"MN\r\n"
    client.say(b"version\r\n")
    other.say(b"mn\r\n")
    rig.turn()
    assert (client.state, client.view.waiting_bytes) == ("ON_BUCKET", len(b"version\r\n"))
    assert other.hear() == b"MN\r\n"
    holder.release(b"held")
    rig.serve()
    assert (client.state, client.shown) == ("READING", lib.CONNECTION_READ)
    assert client.hear() == reply + b"MN\r\nVERSION 1.6.38\r\n"


def test_broken_on_bucket(rig: Rig) -> None:
    put(rig, b"held", b"7")
    holder = rig.cache.open(1)
    client = rig.client()
    holder.hold(b"held")
    client.say(b"get held\r\n")
    rig.turn()
    assert client.state == "ON_BUCKET"
    client.break_off()
    rig.serve()
    assert client.state == "CLOSED"
    holder.release(b"held")


def test_on_flash(flash: Rig) -> None:
    client, other = flash.client(), flash.client()
    client.say(b"mn\r\nget k0\r\nmn\r\n")
    flash.turn()
    assert (client.state, client.shown) == ("ON_FLASH", lib.CONNECTION_IO_QUEUE)
    assert client.hear() == b"MN\r\n"
    client.say(b"version\r\n")
    other.say(b"mn\r\n")
    # Whether the read is done by now is the device's to say.
    flash.turn()
    assert other.hear() == b"MN\r\n"
    read_flash(flash, client)
    flash.serve()
    assert (client.state, client.shown) == ("READING", lib.CONNECTION_READ)
    assert client.hear() == shown(b"k0", b"value") + END + b"MN\r\nVERSION 1.6.38\r\n"


def test_it_ends_its_side_on_flash(flash: Rig) -> None:
    client = flash.client()
    client.say(b"get k0\r\n")
    flash.turn()
    assert client.state == "ON_FLASH"
    client.end()
    read_flash(flash, client)
    flash.serve()
    assert (client.state, client.hear()) == ("CLOSED", shown(b"k0", b"value") + END)


def test_broken_on_flash(flash: Rig) -> None:
    client = flash.client()
    client.say(b"get k0\r\n")
    flash.turn()
    assert client.state == "ON_FLASH"
    client.break_off()
    flash.turn()
    assert client.state == "CLOSED"
