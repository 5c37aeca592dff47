"""What is asked of certificates and keys before they are used; each fault is one clear line."""

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from pymc.tls.check import check
from pymc.tls.facts import Facts, as_text, from_text
from pymc.tls.files import MaterialError, Part
from tests.support.certs import Authority, Names, Pair, Span, utc_now

PARTS = {
    "chain": Part("chain", "the certificate chain", "/c.pem"),
    "key": Part("key", "the key", "/k.pem"),
    "ca": Part("ca", "the CA certificate", "/ca.pem"),
    "crl": Part("crl", "the revocation list", "/crl.pem"),
}
ROOT = Authority.root()
OTHER_ROOT = Authority.root("another root")
# Of the same name, with another key.
TWIN = Authority.root()
MIDDLE = ROOT.intermediate()
SERVER = ROOT.server()
OLD_ROOT = Authority.root("old root", span=Span.past())


def judged(
    pair: Pair = SERVER, *, at: float | None = None, key_is_der: bool = False, **texts: bytes
) -> Facts:
    """The facts of a pair and other files, at a time that is now unless given."""
    texts = {"chain": pair.chain_pem, "key": pair.key_pem, **texts}
    parts = [part for name, part in PARTS.items() if name in texts]
    now = utc_now().timestamp() if at is None else at
    return check(parts, texts, now, key_is_der=key_is_der)


def reason(**texts: bytes) -> str:
    with pytest.raises(MaterialError) as caught:
        judged(SERVER, at=None, key_is_der=False, **texts)
    return str(caught.value)


def test_what_is_known_of_good_ones() -> None:
    leaf = SERVER.certificate
    facts = judged(ca=ROOT.pem + OTHER_ROOT.pem, crl=ROOT.crl_pem() + OTHER_ROOT.crl_pem())
    assert (facts.subject, facts.issuer) == ("CN=localhost", "CN=test root")
    assert facts.sans == "DNS:localhost,IP:127.0.0.1,IP:::1"
    assert facts.serial == f"{leaf.serial_number:x}"
    assert facts.sha256 == leaf.fingerprint(hashes.SHA256()).hex()
    assert facts.not_after == leaf.not_valid_after_utc.timestamp()
    assert (facts.key, facts.chain_length, facts.ca_count) == ("EC-secp256r1", 1, 2)
    assert (facts.revoked_count, facts.warnings) == (0, "")
    assert from_text(as_text(facts)) == facts


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_good_keys(kind: str) -> None:
    pair = ROOT.server(kind)
    assert judged(pair).subject == "CN=localhost"
    assert judged(pair, key=pair.key_der, key_is_der=True).subject == "CN=localhost"
    # As memcached's help has it: in the chain's file.
    assert judged(pair, key=pair.chain_pem + pair.key_pem).subject == "CN=localhost"


@pytest.mark.parametrize(
    ("kind", "why"), [("rsa1024", "RSA of 1024 bits, at least 2048"), ("p224", "224 bits")]
)
def test_weak_keys(kind: str, why: str) -> None:
    pair = ROOT.server(kind)
    said = reason(chain=pair.chain_pem, key=pair.key_pem)
    assert said.startswith("Error loading the certificate chain: /c.pem : the key is too weak: ")
    assert why in said


def test_a_chain_with_those_between() -> None:
    assert judged(MIDDLE.server(), ca=ROOT.pem).chain_length == 2
    lower = MIDDLE.intermediate("lower")
    facts = judged(lower.server(), ca=ROOT.pem)
    assert (facts.chain_length, facts.warnings) == (3, "")


CHAIN = "Error loading the certificate chain: /c.pem : "
KEY = "Error loading the key: /k.pem : "
CA = "Error loading the CA certificate: /ca.pem : "
CRL = "Error loading the revocation list: /crl.pem : "
PAST = ROOT.issue(Names("late"), span=Span.past())
FUTURE = ROOT.issue(Names("early"), span=Span.future())
SOON_OVER = datetime.timedelta(hours=1)
CASES: dict[str, tuple[Callable[[], dict[str, bytes]], str]] = {
    "no PEM": (lambda: {"chain": b"nonsense"}, CHAIN + "there is no certificate in it, PEM"),
    "a broken certificate": (
        lambda: {"chain": SERVER.chain_pem.replace(b"\nMI", b"\nAA", 1)},
        CHAIN + "a certificate cannot be read",
    ),
    "an expired one": (
        lambda: {"chain": PAST.chain_pem, "key": PAST.key_pem},
        CHAIN + "certificate 1, CN=late, has expired at ",
    ),
    "one of the future": (
        lambda: {"chain": FUTURE.chain_pem, "key": FUTURE.key_pem},
        CHAIN + "certificate 1, CN=early, is not valid before ",
    ),
    "an expired one between": (
        lambda: {
            "chain": (pair := ROOT.intermediate("old", span=Span.past()).server()).chain_pem,
            "key": pair.key_pem,
        },
        CHAIN + "certificate 2, CN=old, has expired at ",
    ),
    "one between that is another's": (
        lambda: {"chain": SERVER.chain_pem + MIDDLE.pem},
        CHAIN + "certificate 1, CN=localhost, was not issued by the one behind it",
    ),
    "another certificate's key": (
        lambda: {"key": ROOT.server().key_pem},
        KEY + "the key does not belong to the certificate in /c.pem",
    ),
    "no key": (lambda: {"key": SERVER.chain_pem}, KEY + "there is no private key in it"),
    "a key cut off": (
        lambda: {"key": SERVER.key_pem[:-40]},
        KEY + "there is no private key in it that can be read as PEM",
    ),
    "DER for PEM": (lambda: {"key": SERVER.key_der}, KEY + "there is no private key in it"),
    "a password": (
        lambda: {"key": SERVER.encrypted_key_pem(b"secret")},
        KEY + "the key is encrypted with a password",
    ),
    "no CA": (lambda: {"ca": SERVER.chain_pem}, CA + "no certificate in it is that of a CA"),
    "an expired CA": (lambda: {"ca": OLD_ROOT.pem}, CA + "CN=old root has expired at "),
    "a CA of the same name": (
        lambda: {"ca": TWIN.pem},
        CHAIN + "the chain was not issued by the CA of the same name in /ca.pem",
    ),
    "no list": (
        lambda: {"ca": ROOT.pem, "crl": ROOT.pem},
        CRL + "there is no revocation list in it, PEM",
    ),
    "a broken list": (
        lambda: {"ca": ROOT.pem, "crl": ROOT.crl_pem().replace(b"\nMI", b"\nAA", 1)},
        CRL + "a revocation list cannot be read",
    ),
    "an expired list": (
        lambda: {"ca": ROOT.pem, "crl": ROOT.crl_pem(Span.past())},
        CRL + "the list of CN=test root has expired at ",
    ),
    "a list of the future": (
        lambda: {"ca": ROOT.pem, "crl": ROOT.crl_pem(Span.future())},
        CRL + "the list of CN=test root is not valid before ",
    ),
    "a list that another signed": (
        lambda: {"ca": ROOT.pem, "crl": TWIN.crl_pem()},
        CRL + "the list of CN=test root was not signed by that CA",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(case: str) -> None:
    texts, said = CASES[case]
    assert reason(**texts()).startswith(said)


def test_time_decides() -> None:
    ends = SERVER.certificate.not_valid_after_utc.timestamp()
    assert judged(at=ends).subject == "CN=localhost"
    with pytest.raises(MaterialError, match="has expired"):
        judged(at=ends + 1)


def test_what_is_said_and_used_all_the_same() -> None:
    facts = judged(ca=OTHER_ROOT.pem + OLD_ROOT.pem, crl=OTHER_ROOT.crl_pem())
    lines = facts.warnings.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("warning: /ca.pem: CN=old root has expired at ")
    assert "the chain ends at CN=localhost, issued by CN=test root, which is not in" in lines[1]
    assert "no list of CN=old root" in lines[2]
    assert (facts.ca_subject, facts.ca_count) == ("CN=another root", 2)


def test_six_hundred_authorities() -> None:
    roots = b"".join(Authority.root(f"root {n}").pem for n in range(600))
    assert judged(ca=roots + ROOT.pem).ca_count == 601


def test_revoked_ones_are_counted() -> None:
    root = Authority.root("revoking")
    for _ in range(3):
        root.revoke(root.client())
    assert judged(ca=root.pem, crl=root.crl_pem()).revoked_count == 3


def test_names_are_one_word_in_facts() -> None:
    pair = ROOT.issue(Names("a b % c\n d", uris=["spiffe://x/y"]))
    text = as_text(judged(pair))
    assert all(len(line.split(b" ")) == 2 for line in text.split(b"\n"))
    assert from_text(text).sans == "URI:spiffe://x/y"
    assert from_text(text).subject == pair.certificate.subject.rfc4514_string()


def test_parts_have_the_paths_of_the_settings(tmp_path: Path) -> None:
    from pymc.config import Settings
    from pymc.tls.files import parts_of

    parts = parts_of(Settings(tls_chain_path="c.pem", tls_ca_path=str(tmp_path)))
    assert [part.name for part in parts] == ["chain", "key", "ca"]
    assert parts[0].path == parts[1].path == str(Path("c.pem").absolute())
