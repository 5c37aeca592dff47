"""Contexts: material that is refused, ciphers and versions, what is sent and what is ignored."""

import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from pymc.core.ffi import ffi, lib
from tests.support.certs import Authority, Pair
from tests.support.core.tls_rig import Client, Material, RefusedError, Rig, Talk, World, said

ANY_SANITIZER = os.environ.get("PYMC_BUILD") in ("asan", "tsan")
OLD = ssl.TLSVersion.TLSv1_2
NEW = ssl.TLSVersion.TLSv1_3


def meet(world: World, context: Any, client: Client) -> tuple[Rig, Talk]:
    rig = world.rig(context)
    talk = client.begin()
    talk.meet(rig)
    return rig, talk


def reason(world: World, material: Material) -> str:
    with pytest.raises(RefusedError) as refused:
        world.context(material)
    found = str(refused.value)
    assert found.isprintable()
    return found


def changed(pair: Pair, **changes: Any) -> Material:
    material = Material.of(pair)
    for name, value in changes.items():
        setattr(material, name, value)
    return material


def test_what_is_refused(world: World, root: Authority, server_pair: Pair) -> None:
    other = root.server()
    damaged = server_pair.chain_pem.replace(b"MII", b"MIJ", 1)
    cut = server_pair.chain_pem + root.pem[:-40]
    refusals: dict[str, dict[str, Any]] = {
        "certificate: ": {"chain": b""},
        "certificate:  ": {"chain": b"no PEM"},
        "certificate:   ": {"chain": damaged},
        "certificate:    ": {"chain": cut},
        "key: ": {"key": b""},
        "key:  ": {"key": server_pair.key_der},
        "key:   ": {"key": server_pair.key_pem, "key_is_der": True},
        "key:    ": {"key": server_pair.encrypted_key_pem(b"secret")},
        "key of another certificate: ": {"key": other.key_pem},
        "ciphers: ": {"ciphers": b"NO-SUCH-CIPHER"},
        "ciphers:  ": {"ciphers": b"TLS_NO_SUCH_CIPHER"},
        "ciphers:   ": {"ciphers": b"x" * 5000},
        "certificates of the CA: ": {"ca": b"no PEM"},
        "certificates of the CA:  ": {"ca": root.pem + damaged},
        "list of revoked certificates: ": {"ca": root.pem, "crl": root.pem},
        "identities: line 2: neither": {"ca": root.pem, "allowed_ids": b"good\nb@d"},
        "identities: no line": {"ca": root.pem, "allowed_ids": b""},
        "clients need a certificate, but there is no CA": {"verify": "REQUIRED"},
    }
    for begins, changes in refusals.items():
        assert reason(world, changed(server_pair, **changes)).startswith(begins.rstrip(" "))


def test_kinds_of_keys(world: World, root: Authority) -> None:
    for kind in ("p256", "p384", "rsa2048"):
        pair = root.server(kind)
        rig, _ = meet(world, world.context(Material.of(pair)), Client(root))
        assert rig.failure == "NOT"
        context = world.context(changed(pair, key=pair.key_der, key_is_der=True))
        assert meet(world, context, Client(root))[0].failure == "NOT"


def test_the_whole_chain_is_sent(world: World) -> None:
    root = Authority.root()
    between = root.intermediate().intermediate()
    pair = between.server()
    for version in (OLD, NEW):
        # The client has the root alone.
        rig, talk = meet(world, world.context(Material.of(pair)), Client(root, None, version))
        assert (rig.failure, talk.error) == ("NOT", "")
        # Where the file has the first one only, the others are looked for among the CAs.
        lone = Material.of(Pair(pair.certificate, pair.key, []))
        rig, talk = meet(world, world.context(lone), Client(root, None, version))
        assert (rig.failure, talk.error) == ("BY_CLIENT", "CERTIFICATE_VERIFY_FAILED")
        above = Authority(between.between[1], between.key)
        lone.ca = between.pem + above.pem + root.pem
        rig, talk = meet(world, world.context(lone), Client(root, None, version))
        assert (rig.failure, talk.error) == ("NOT", "")


@pytest.mark.parametrize(
    ("version_min", "version", "failure"),
    [(2, OLD, "NOT"), (2, NEW, "NOT"), (3, OLD, "VERSION"), (3, NEW, "NOT"), (0, OLD, "NOT")],
)
def test_versions(
    world: World,
    root: Authority,
    server_pair: Pair,
    version_min: int,
    version: ssl.TLSVersion,
    failure: str,
) -> None:
    context = world.context(Material.of(server_pair, version_min=version_min))
    rig, talk = meet(world, context, Client(root, None, version))
    assert rig.failure == failure
    if failure == "VERSION":
        assert talk.error == "TLSV1_ALERT_PROTOCOL_VERSION"
    else:
        assert talk.tls.version() == version.name.replace("_", ".")


def test_ciphers(world: World, root: Authority, server_pair: Pair) -> None:
    def chosen(ciphers: bytes, version: ssl.TLSVersion) -> str:
        context = world.context(Material.of(server_pair, ciphers=ciphers))
        _, talk = meet(world, context, Client(root, None, version))
        found = talk.tls.cipher()
        return found[0] if found else talk.error

    old, new = b"ECDHE-ECDSA-AES128-GCM-SHA256", b"TLS_CHACHA20_POLY1305_SHA256"
    assert chosen(old, OLD) == old.decode()
    assert chosen(new, NEW) == new.decode()
    assert chosen(old + b":" + new, OLD) == old.decode()
    assert chosen(new + b", " + old, NEW) == new.decode()
    # Names of the one kind say nothing of the other.
    assert chosen(old, NEW).startswith("TLS_")
    assert chosen(new, OLD).startswith("ECDHE-")
    for name in ("aes_128_gcm", "chacha20"):
        assert world.count(f"tls_cipher_{name}") == 2
    before = world.count("tls_cipher_others")
    assert chosen(b"ECDHE-ECDSA-AES128-SHA256", OLD) == "ECDHE-ECDSA-AES128-SHA256"
    assert world.count("tls_cipher_others") == before + 1


def test_no_cipher_in_common(world: World, root: Authority, server_pair: Pair) -> None:
    ciphers = b"ECDHE-ECDSA-AES128-GCM-SHA256"
    context = world.context(Material.of(server_pair, ciphers=ciphers))
    client = Client(root, None, OLD, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    rig, talk = meet(world, context, client)
    assert (rig.failure, talk.error) == ("CIPHER", "SSLV3_ALERT_HANDSHAKE_FAILURE")
    assert world.count("tls_failed_cipher") == 1


@pytest.mark.parametrize("version", [OLD, NEW])
def test_alpn_of_any_kind_is_tolerated(
    world: World, root: Authority, server_pair: Pair, version: ssl.TLSVersion
) -> None:
    client = Client(root, None, version, alpn=["memcached", "h2"])
    rig, talk = meet(world, world.context(Material.of(server_pair)), client)
    assert (rig.failure, talk.error) == ("NOT", "")
    assert talk.tls.selected_alpn_protocol() is None


@pytest.mark.parametrize("version", [OLD, NEW])
def test_nothing_is_compressed(
    world: World, root: Authority, server_pair: Pair, version: ssl.TLSVersion
) -> None:
    client = Client(root, None, version)
    client.context.options &= ~ssl.OP_NO_COMPRESSION
    rig, talk = meet(world, world.context(Material.of(server_pair)), client)
    assert talk.tls.compression() is None
    talk.tls.write(b"get a\r\n")
    rig.feed(talk.outgoing.read())
    assert rig.read() == b"get a\r\n"
    assert rig.write(b"END\r\n") == 5
    talk.incoming.write(rig.drain())
    assert talk.tls.read(100) == b"END\r\n"


def test_kernel_tls_says_why_not() -> None:
    works, why = said(lib.tls_kernel_works)
    assert bool(works) == (why == "")
    assert why.isprintable()


def test_a_context_lives_as_long_as_who_holds_it(
    root: Authority, server_pair: Pair, world: World
) -> None:
    context = world.context(Material.of(server_pair))
    rig = world.rig(context)
    lib.tls_context_release(context)
    world.forget(context)
    talk = Client(root).begin()
    assert talk.meet(rig) == lib.TLS_RIG_DONE
    lib.tls_context_release(ffi.NULL)


@pytest.mark.skipif(ANY_SANITIZER, reason="the sanitizer's shadow is memory, too")
def test_memory_is_flat_over_reloads(world: World, root: Authority) -> None:
    pair = root.intermediate().server()
    material = Material.of(
        pair, ca=root.pem, crl=root.crl_pem(), allowed_ids=b"spiffe://a/b", verify="REQUIRED"
    )

    def rounds(count: int) -> int:
        for number in range(count):
            material.ciphers = b"NO-SUCH-CIPHER" if number % 4 == 0 else None
            try:
                context = world.context(material)
            except RefusedError:
                continue
            world.forget(context)
            lib.tls_context_release(context)
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * 4096

    before = rounds(100)
    assert rounds(400) - before < 1 << 20
