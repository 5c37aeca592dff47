"""What a connection keeps of its client: not its chain."""

import ctypes
import gc
import os
from typing import Any, ClassVar

import pytest

from pymc.core.ffi import lib
from tests.support.certs import Authority, Pair
from tests.support.core.tls_rig import Client, Material, Rig, World

ANY_SANITIZER = os.environ.get("PYMC_BUILD") in ("asan", "tsan")
CONNECTIONS = 50


class MallocInfo(ctypes.Structure):
    """struct mallinfo2 of the C library."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *((f"field_{number}", ctypes.c_size_t) for number in range(4)),
        ("mapped", ctypes.c_size_t),
        *((f"field_{number}", ctypes.c_size_t) for number in range(5, 7)),
        ("used", ctypes.c_size_t),
        *((f"field_{number}", ctypes.c_size_t) for number in range(8, 10)),
    ]


def allocated_bytes() -> int:
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = MallocInfo
    gc.collect()
    found = library.mallinfo2()
    return int(found.used + found.mapped)


def bytes_each(context: Any, client: Client) -> int:
    """What is given back when connections end, for each of them."""
    rigs = []
    for _ in range(CONNECTIONS):
        rig = Rig(context, lib.TLS_DOOR_DEFAULT)
        talk = client.begin()
        assert talk.meet(rig) == lib.TLS_RIG_DONE
        rigs.append(rig)
    del talk
    before = allocated_bytes()
    for rig in rigs:
        rig.close()
    return (before - allocated_bytes()) // CONNECTIONS


@pytest.mark.skipif(ANY_SANITIZER, reason="the sanitizer's shadow is memory, too")
def test_a_chain_is_forgotten(world: World, root: Authority, server_pair: Pair) -> None:
    context = world.context(Material.of(server_pair, ca=root.pem, verify="OPTIONAL"))
    deep = root.intermediate().intermediate().intermediate()
    nameless = bytes_each(context, Client(root))
    alone = bytes_each(context, Client(root, root.client("spiffe://a/b")))
    with_chain = bytes_each(context, Client(root, deep.client("spiffe://a/b")))
    # Each certificate that is kept takes some 4.5 KB.
    assert alone - nameless < 8000
    assert with_chain - alone < 3000
