"""Makes certificates for tests: authorities, those between, leafs with any names, revocations."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = datetime.timedelta(days=1)
# For bytes that only make a certificate large.
PADDING_OID = ObjectIdentifier("1.3.6.1.4.1.55555.1")
_USAGES = {
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    "none": [],
}


def make_key(kind: str = "p256") -> PrivateKey:
    """A private key: p256, p384, rsa2048, rsa1024 and so on."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p224": ec.SECP224R1()}
    return ec.generate_private_key(curves[kind])


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def pem_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass
class Names:
    """What a certificate says whom it is for; `san_der` stands for the whole extension."""

    common_name: str = ""
    dns: Sequence[str] = ()
    uris: Sequence[str] = ()
    emails: Sequence[str] = ()
    ips: Sequence[str] = ()
    san_der: bytes = b""

    def extension(self) -> x509.ExtensionType | None:
        """The alternative names, None for none."""
        if self.san_der:
            return x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, self.san_der)
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in self.dns]
        names += [x509.UniformResourceIdentifier(name) for name in self.uris]
        names += [x509.RFC822Name(name) for name in self.emails]
        names += [x509.IPAddress(ipaddress.ip_address(name)) for name in self.ips]
        return x509.SubjectAlternativeName(names) if names else None

    def subject(self) -> x509.Name:
        name = self.common_name
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


@dataclass
class Span:
    """When something is valid; by default since yesterday and for a month."""

    begins: datetime.datetime = field(default_factory=lambda: utc_now() - DAY)
    ends: datetime.datetime = field(default_factory=lambda: utc_now() + 30 * DAY)

    @classmethod
    def past(cls) -> "Span":
        """Over since an hour."""
        return cls(utc_now() - 30 * DAY, utc_now() - datetime.timedelta(hours=1))

    @classmethod
    def future(cls) -> "Span":
        """Begins in an hour."""
        return cls(utc_now() + datetime.timedelta(hours=1))


@dataclass
class Pair:
    """A certificate with its key and those between it and its root (which is left out)."""

    certificate: x509.Certificate
    key: PrivateKey
    between: list[x509.Certificate]

    @property
    def chain_pem(self) -> bytes:
        """The certificate, then those between it and the root."""
        return b"".join(pem_of(each) for each in [self.certificate, *self.between])

    @property
    def key_pem(self) -> bytes:
        """The key, in PKCS #8."""
        return self._key(serialization.Encoding.PEM, serialization.NoEncryption())

    @property
    def key_der(self) -> bytes:
        return self._key(serialization.Encoding.DER, serialization.NoEncryption())

    def encrypted_key_pem(self, password: bytes) -> bytes:
        encryption = serialization.BestAvailableEncryption(password)
        return self._key(serialization.Encoding.PEM, encryption)

    def _key(
        self,
        encoding: serialization.Encoding,
        encryption: serialization.KeySerializationEncryption,
    ) -> bytes:
        return self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, encryption)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes `name`.pem and `name`-key.pem and returns their paths."""
        chain, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        chain.write_bytes(self.chain_pem)
        key.touch(0o600)
        key.write_bytes(self.key_pem)
        return chain, key


@dataclass
class Authority:
    """A certificate authority: a root, or one between it and the leafs."""

    certificate: x509.Certificate
    key: PrivateKey
    # From this one up to its root, which is left out; empty for a root.
    between: list[x509.Certificate] = field(default_factory=list)
    revoked: list[x509.Certificate] = field(default_factory=list)

    @classmethod
    def root(
        cls, name: str = "test root", key: str = "p256", span: Span | None = None
    ) -> "Authority":
        """One that signed itself."""
        private = make_key(key)
        subject = Names(name).subject()
        builder = _builder(subject, subject, private, span or Span())
        certificate = _as_authority(builder, private, private).sign(private, hashes.SHA256())
        return cls(certificate, private)

    @property
    def pem(self) -> bytes:
        return pem_of(self.certificate)

    def intermediate(
        self, name: str = "test intermediate", key: str = "p256", span: Span | None = None
    ) -> "Authority":
        """An authority that this one signed."""
        private = make_key(key)
        issuer = self.certificate.subject
        builder = _builder(Names(name).subject(), issuer, private, span or Span())
        certificate = _as_authority(builder, private, self.key).sign(self.key, hashes.SHA256())
        return Authority(certificate, private, [certificate, *self.between])

    def issue(
        self,
        names: Names,
        usage: str = "both",
        span: Span | None = None,
        key: str | PrivateKey = "p256",
        padding_bytes: int = 0,
    ) -> Pair:
        """A leaf; `usage` is server, client, both or none (no extension)."""
        private = make_key(key) if isinstance(key, str) else key
        issuer = self.certificate.subject
        builder = _builder(names.subject(), issuer, private, span or Span())
        builder = builder.add_extension(x509.BasicConstraints(False, None), True)
        if san := names.extension():
            builder = builder.add_extension(san, False)
        if _USAGES[usage]:
            builder = builder.add_extension(x509.ExtendedKeyUsage(_USAGES[usage]), False)
        if padding_bytes:
            padding = x509.UnrecognizedExtension(PADDING_OID, bytes(padding_bytes))
            builder = builder.add_extension(padding, False)
        builder = builder.add_extension(_issuer_id(self.key), False)
        return Pair(builder.sign(self.key, hashes.SHA256()), private, list(self.between))

    def server(self, key: str = "p256") -> Pair:
        """A leaf for a server on this machine."""
        names = Names("localhost", dns=["localhost"], ips=["127.0.0.1", "::1"])
        return self.issue(names, "server", key=key)

    def client(self, uri: str = "", dns: str = "", span: Span | None = None) -> Pair:
        """A leaf for a client with one name."""
        names = Names("client", dns=[dns] if dns else [], uris=[uri] if uri else [])
        return self.issue(names, "client", span)

    def revoke(self, pair: Pair) -> None:
        self.revoked.append(pair.certificate)

    def crl_pem(self, span: Span | None = None) -> bytes:
        """The list of what it revoked."""
        span = span or Span()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(span.begins).next_update(span.ends)
        for certificate in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(span.begins).build())
        builder = builder.add_extension(_issuer_id(self.key), False)
        builder = builder.add_extension(x509.CRLNumber(len(self.revoked) + 1), False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def write(self, folder: Path, name: str) -> Path:
        """Writes `name`.pem and returns its path."""
        path = folder / f"{name}.pem"
        path.write_bytes(self.pem)
        return path


def _issuer_id(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, span: Span
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(span.begins).not_valid_after(span.ends)


def _as_authority(
    builder: x509.CertificateBuilder, key: PrivateKey, issuer: PrivateKey
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(own_id, False)
    rights = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment"]
    rights += ["key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    usage = dict.fromkeys(rights, False)
    usage |= {"key_cert_sign": True, "crl_sign": True}
    builder = builder.add_extension(x509.KeyUsage(**usage), True)
    return builder.add_extension(_issuer_id(issuer), False)


def san_der_of(*names: tuple[int, bytes]) -> bytes:
    """The bytes of an alternative-names extension: tag (2 DNS, 6 URI, 1 email) and content."""

    def with_length(content: bytes) -> bytes:
        if len(content) < 128:
            return bytes([len(content)]) + content
        size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
        return bytes([0x80 | len(size)]) + size + content

    body = b"".join(bytes([0x80 | tag]) + with_length(content) for tag, content in names)
    return b"\x30" + with_length(body)


def write_world(folder: Path) -> dict[str, Path]:
    """What most servers under test need: a root, a server's pair and a client's pair.

    Paths: ca, chain, key, client, client_key.
    """
    root = Authority.root()
    chain, key = root.server().write(folder, "server")
    client, client_key = root.client("spiffe://test/client").write(folder, "client")
    ca = root.write(folder, "ca")
    return {"ca": ca, "chain": chain, "key": key, "client": client, "client_key": client_key}
