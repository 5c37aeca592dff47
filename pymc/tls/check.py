"""What is asked of certificates and keys before they are used.

Loads cryptography and pyOpenSSL, which take 20 MiB: only the child that checks imports this.
"""

import datetime
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL

from pymc.tls.facts import Facts
from pymc.tls.files import Part, error_in

RSA_BITS_MIN = 2048
CURVE_BITS_MIN = 256
_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
_KEY_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.+?-----END \1PRIVATE KEY-----", re.DOTALL
)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_SANS_SHOWN_BYTES = 4096


def check(
    parts: Sequence[Part],
    texts: dict[str, bytes],
    now: float,
    *,
    key_is_der: bool = False,
) -> Facts:
    """What there is to know of the material. Raises MaterialError when it is not to be used."""
    of = {part.name: part for part in parts}
    at = datetime.datetime.fromtimestamp(now, datetime.UTC)
    chain = _certificates(of["chain"], texts["chain"])
    _check_chain(of["chain"], chain, at)
    key = _key(of["key"], texts["key"], key_is_der)
    _check_pair(of, chain[0], key)
    cas = _certificates(of["ca"], texts["ca"]) if "ca" in of else []
    warnings: list[str] = []
    if cas:
        warnings += _check_cas(of["ca"], cas, at)
        warnings += _check_end(of["chain"], of["ca"], chain[-1], cas)
    lists = _lists(of["crl"], texts["crl"]) if "crl" in of else []
    if lists:
        warnings += _check_lists(of["crl"], lists, cas, at)
    return _facts(chain, cas, lists, at, warnings)


def _certificates(part: Part, text: bytes) -> list[x509.Certificate]:
    if _CERTIFICATE not in text:
        raise error_in(part, "there is no certificate in it, PEM")
    try:
        return x509.load_pem_x509_certificates(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise error_in(part, f"a certificate cannot be read: {_first_line(error)}") from None


def _check_chain(part: Part, chain: list[x509.Certificate], at: datetime.datetime) -> None:
    """The chain is whole and valid: each certificate was issued by the next one."""
    for number, one in enumerate(chain, start=1):
        if reason := _out_of_date(one, at):
            raise error_in(part, f"certificate {number}, {_name(one.subject)}, {reason}")
    _check_strength(part, chain[0].public_key())
    for number, (one, issuer) in enumerate(pairwise(chain), start=1):
        if not _is_issued_by(one, issuer):
            raise error_in(
                part,
                f"certificate {number}, {_name(one.subject)}, was not issued by the one behind it,"
                f" {_name(issuer.subject)}",
            )


def _out_of_date(one: x509.Certificate, at: datetime.datetime) -> str:
    if one.not_valid_after_utc < at:
        return f"has expired at {_date(one.not_valid_after_utc)}"
    if one.not_valid_before_utc > at:
        return f"is not valid before {_date(one.not_valid_before_utc)}"
    return ""


def _is_issued_by(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _key(part: Part, text: bytes, key_is_der: bool) -> PrivateKeyTypes:
    wanted = "DER" if key_is_der else "PEM"
    try:
        if key_is_der:
            return serialization.load_der_private_key(text, None)
        return serialization.load_pem_private_key(_key_in(text), None)
    except TypeError:
        reason = "the key is encrypted with a password, which nobody could type"
    except (ValueError, UnsupportedAlgorithm):
        reason = f"there is no private key in it that can be read as {wanted}"
    raise error_in(part, reason)


def _key_in(text: bytes) -> bytes:
    """The key's own block of a PEM file that may have certificates as well."""
    found = _KEY_BLOCK.search(text)
    return found.group() if found else b""


def _check_pair(of: dict[str, Part], leaf: x509.Certificate, key: PrivateKeyTypes) -> None:
    if _public_bytes(key.public_key()) != _public_bytes(leaf.public_key()):
        raise error_in(
            of["key"], f"the key does not belong to the certificate in {of['chain'].path}"
        )
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    try:
        context.use_certificate(leaf)
        context.use_privatekey(key)  # type: ignore[arg-type]
        context.check_privatekey()
    except (SSL.Error, TypeError) as error:
        raise error_in(of["key"], _first_line(error)) from None


def _check_strength(part: Part, key: object) -> None:
    match key:
        case rsa.RSAPublicKey() if key.key_size < RSA_BITS_MIN:
            weak = f"RSA of {key.key_size} bits, at least {RSA_BITS_MIN} are needed"
        case ec.EllipticCurvePublicKey() if key.key_size < CURVE_BITS_MIN:
            weak = f"a curve of {key.key_size} bits, at least P-256 is needed"
        case (
            rsa.RSAPublicKey()
            | ec.EllipticCurvePublicKey()
            | ed25519.Ed25519PublicKey()
            | ed448.Ed448PublicKey()
        ):
            return
        case _:
            weak = "neither RSA nor of an elliptic curve"
    raise error_in(part, f"the key is too weak: {weak}")


def _check_cas(part: Part, cas: list[x509.Certificate], at: datetime.datetime) -> Iterator[str]:
    """Of a bundle some may be over, as while a CA is replaced; not all of them."""
    issuers = [one for one in cas if _may_issue(one)]
    if not issuers:
        raise error_in(part, "no certificate in it is that of a CA")
    late = {_name(one.subject): reason for one in issuers if (reason := _out_of_date(one, at))}
    if len(late) == len(issuers):
        subject, reason = next(iter(late.items()))
        raise error_in(part, f"{subject} {reason}")
    for subject, reason in late.items():
        yield f"warning: {part.path}: {subject} {reason}"


def _may_issue(one: x509.Certificate) -> bool:
    try:
        found = one.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        # Roots older than these extensions.
        return one.issuer == one.subject
    except ValueError:
        return False
    return found.value.ca


def _check_end(
    part: Part, ca_part: Part, last: x509.Certificate, cas: list[x509.Certificate]
) -> Iterator[str]:
    """Where the chain leads to. Servers' and clients' CAs may be different ones, so that the file
    of the latter does not know it is no fault; that it has another one of the same name is.
    """
    named = [one for one in cas if one.subject == last.issuer]
    if any(_is_issued_by(last, one) for one in named):
        return
    if named:
        raise error_in(
            part,
            f"the chain was not issued by the CA of the same name in {ca_part.path},"
            f" {_name(last.issuer)}",
        )
    if last.issuer != last.subject:
        yield (
            f"warning: {part.path}: the chain ends at {_name(last.subject)}, issued by"
            f" {_name(last.issuer)}, which is not in {ca_part.path}"
        )


def _lists(part: Part, text: bytes) -> list[x509.CertificateRevocationList]:
    blocks = _CRL_BLOCK.findall(text)
    if not blocks:
        raise error_in(part, "there is no revocation list in it, PEM")
    try:
        return [x509.load_pem_x509_crl(block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise error_in(part, f"a revocation list cannot be read: {_first_line(error)}") from None


def _check_lists(
    part: Part,
    lists: list[x509.CertificateRevocationList],
    cas: list[x509.Certificate],
    at: datetime.datetime,
) -> Iterator[str]:
    """A list that is over would refuse everybody, and so would one that is missing."""
    for one in lists:
        if one.next_update_utc is not None and one.next_update_utc < at:
            raise error_in(
                part, f"the list of {_name(one.issuer)} has expired at {_date(one.next_update_utc)}"
            )
        if one.last_update_utc > at:
            raise error_in(
                part,
                f"the list of {_name(one.issuer)} is not valid before {_date(one.last_update_utc)}",
            )
        named = [ca for ca in cas if ca.subject == one.issuer]
        if named and not any(_is_signed_by(one, ca) for ca in named):
            raise error_in(part, f"the list of {_name(one.issuer)} was not signed by that CA")
    have = {one.issuer for one in lists}
    for ca in cas:
        if ca.subject not in have:
            yield (
                f"warning: {part.path}: no list of {_name(ca.subject)}: clients whose certificates"
                " it issued itself are refused"
            )


def _is_signed_by(one: x509.CertificateRevocationList, ca: x509.Certificate) -> bool:
    try:
        return one.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _facts(
    chain: list[x509.Certificate],
    cas: list[x509.Certificate],
    lists: list[x509.CertificateRevocationList],
    at: datetime.datetime,
    warnings: list[str],
) -> Facts:
    leaf = chain[0]
    valid = [one for one in cas if not _out_of_date(one, at)]
    first = min(valid, key=lambda one: one.not_valid_after_utc, default=None)
    updates = [one.next_update_utc for one in lists if one.next_update_utc]
    return Facts(
        subject=_name(leaf.subject),
        issuer=_name(leaf.issuer),
        sans=_sans(leaf),
        serial=f"{leaf.serial_number:x}",
        sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        key=_shown_key(leaf.public_key()),
        not_before=_seconds(leaf.not_valid_before_utc),
        not_after=_seconds(leaf.not_valid_after_utc),
        chain_length=len(chain),
        ca_count=len(cas),
        ca_subject=_name(first.subject) if first else "",
        ca_not_after=_seconds(first.not_valid_after_utc) if first else 0,
        crl_next_update=_seconds(min(updates)) if updates else 0,
        revoked_count=sum(map(len, lists)),
        warnings="\n".join(warnings),
    )


def _sans(leaf: x509.Certificate) -> str:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    shown = []
    for name in names:
        match name:
            case x509.DNSName():
                shown.append(f"DNS:{name.value}")
            case x509.UniformResourceIdentifier():
                shown.append(f"URI:{name.value}")
            case x509.IPAddress():
                shown.append(f"IP:{name.value}")
    return ",".join(shown)[:_SANS_SHOWN_BYTES]


def _shown_key(key: object) -> str:
    match key:
        case rsa.RSAPublicKey():
            return f"RSA-{key.key_size}"
        case ec.EllipticCurvePublicKey():
            return f"EC-{key.curve.name}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def _public_bytes(key: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined, no-any-return]


def _name(name: x509.Name) -> str:
    return name.rfc4514_string()


def _seconds(at: datetime.datetime) -> int:
    return int(at.timestamp())


def _date(at: datetime.datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _first_line(error: Exception) -> str:
    # pyOpenSSL gives a list of triples.
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return str(error.args[0][0][-1])
    return str(error).partition("\n")[0] or type(error).__name__
