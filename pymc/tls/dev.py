"""`pymc certs dev DIR`: certificates to try TLS out with, and the command lines that use them.

Not for anything else: whoever reads the folder has the CA's key.
"""

import datetime
import inspect
import ipaddress
import os
import shlex
from collections.abc import Sequence

USAGE = "usage: pymc certs dev DIR"
_VALID = datetime.timedelta(days=90)
# The clocks of two machines may differ.
_EARLIER = datetime.timedelta(hours=1)
DNS_CLIENT = "client.dev.internal"
SPIFFE_CLIENT = "spiffe://dev.internal/client"
FILES = (
    *("ca.pem", "ca-key.pem", "server.pem", "server-key.pem", "client-dns.pem"),
    *("client-dns-key.pem", "client-spiffe.pem", "client-spiffe-key.pem", "allowed-ids"),
)
_ALLOWED_IDS = f"""\
# Who may connect, one a line, and what it may do: read, write, admin; all where nothing is said.
{DNS_CLIENT}
spiffe://dev.internal/*
"""


class DevError(Exception):
    """Nothing was made; the message says why."""


def main(words: Sequence[str]) -> tuple[int, str]:
    """Does what the words behind `pymc certs` say; returns the exit code and what to print."""
    if len(words) != 2 or words[0] != "dev" or words[1].startswith("-"):
        return 64, USAGE
    try:
        make_certificates(words[1])
    except DevError as error:
        return 1, f"pymc certs: {error}"
    except ImportError as error:
        return 1, f"pymc certs: certificates need cryptography: pip install pyopenssl ({error})"
    return 0, command_lines(words[1])


def make_certificates(folder: str) -> None:
    """Makes a CA, a server's certificate and two clients', none of them over another file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name_of(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(name_of(subject))
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        return (
            made.issuer_name(name_of("pymc dev CA"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )

    def write(name: str, key: ec.EllipticCurvePrivateKey, made: x509.Certificate) -> None:
        pkcs8, nothing = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        _write(folder, f"{name}-key.pem", key.private_bytes(pem, pkcs8, nothing), 0o600)
        _write(folder, f"{name}.pem", made.public_bytes(pem), 0o644)

    _refuse_to_overwrite(folder)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    # Python asks a CA for it from 3.13 on.
    signs = dict.fromkeys(inspect.signature(x509.KeyUsage).parameters, False)
    signs |= {"key_cert_sign": True, "crl_sign": True}
    ca = builder("pymc dev CA", ca_key).add_extension(x509.BasicConstraints(True, None), True)
    ca = ca.add_extension(x509.KeyUsage(**signs), True)
    write("ca", ca_key, ca.sign(ca_key, hashes.SHA256()))
    ca_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())

    def issue(
        file: str, subject: str, names: Sequence[x509.GeneralName], usage: x509.ObjectIdentifier
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        made = builder(subject, key).add_extension(x509.BasicConstraints(False, None), True)
        made = made.add_extension(x509.SubjectAlternativeName(names), False)
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), False)
        write(file, key, made.add_extension(ca_id, False).sign(ca_key, hashes.SHA256()))

    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    server_names = [x509.DNSName("localhost"), *addresses]
    issue("server", "localhost", server_names, ExtendedKeyUsageOID.SERVER_AUTH)
    client_usage = ExtendedKeyUsageOID.CLIENT_AUTH
    issue("client-dns", DNS_CLIENT, [x509.DNSName(DNS_CLIENT)], client_usage)
    uri = x509.UniformResourceIdentifier(SPIFFE_CLIENT)
    issue("client-spiffe", "client", [uri], client_usage)
    _write(folder, "allowed-ids", _ALLOWED_IDS.encode(), 0o644)


def _refuse_to_overwrite(folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise DevError(f"{folder}: {error.strerror}") from None
    there = [name for name in FILES if os.path.lexists(os.path.join(folder, name))]
    if there:
        raise DevError(f"{folder} has {', '.join(there)} already, which stay as they are")


def _write(folder: str, name: str, text: bytes, mode: int) -> None:
    path = os.path.join(folder, name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, mode), "wb") as file:
            file.write(text)
    except OSError as error:
        raise DevError(f"{path}: {error.strerror}") from None


def command_lines(folder: str) -> str:
    """What to type, each command below what it is for."""
    at = os.path.abspath(folder)

    def path(name: str) -> str:
        return shlex.quote(os.path.join(at, name))

    options = ",".join(
        f"{option}={os.path.join(at, name)}"
        for option, name in (
            ("ssl_chain_cert", "server.pem"),
            ("ssl_key", "server-key.pem"),
            ("ssl_ca_cert", "ca.pem"),
            ("ssl_allowed_ids", "allowed-ids"),
        )
    )
    pem = {name: os.path.join(at, f"{name}.pem") for name in ("ca", "client-dns")}
    key = os.path.join(at, "client-dns-key.pem")
    return f"""\
Certificates for 90 days are in {at}; client-spiffe is {SPIFFE_CLIENT}.

# The server; clients need one of the certificates:
pymc -l 127.0.0.1 -Z -o {shlex.quote(options)} -o ssl_verify_mode=2,ssl_session_cache

# By hand:
openssl s_client -quiet -connect 127.0.0.1:11211 -CAfile {path("ca.pem")} \
-cert {path("client-spiffe.pem")} -key {path("client-spiffe-key.pem")}

# Load:
memtier_benchmark -s 127.0.0.1 -p 11211 -P memcache_text --tls --cacert={path("ca.pem")} \
--cert={path("client-dns.pem")} --key={path("client-dns-key.pem")} --test-time=5

# From Python:
import ssl
from pymemcache.client.base import Client
context = ssl.create_default_context(cafile={pem["ca"]!r})
context.load_cert_chain({pem["client-dns"]!r}, {key!r})
client = Client(("localhost", 11211), tls_context=context)
client.set("key", "value")
print(client.get("key"))
"""
