"""Certificates for the rows over TLS: an authority, a server's and a client's, made once."""

import functools
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "build" / "certificates"
# What `openssl req` wants to hear for each kind of key.
KEYS = {
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
    "rsa": ("-newkey", "rsa:2048"),
}
DAYS = "3650"
SERVER_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
CLIENT_NAMES = "subjectAltName=DNS:client.bench.test\nextendedKeyUsage=clientAuth\n"


class CertificateError(Exception):
    """The certificates cannot be made."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the files of one kind of key are; the authority has signed both certificates."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.folder / "authority.pem"

    def chain(self, name: str) -> Path:
        """The certificate of `server` or `client`."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Its private key."""
        return self.folder / f"{name}.key"

    def options(self, is_mutual: bool) -> str:
        """The -o words of a server that has them, the same for memcached and pymc."""
        words = f"ssl_chain_cert={self.chain('server')},ssl_key={self.key('server')}"
        if is_mutual:
            words += f",ssl_ca_cert={self.authority},ssl_verify_mode=2"
        return f"{words},ssl_session_cache"


@dataclass(frozen=True, slots=True)
class TlsPort:
    """A port of 127.0.0.1 that is served over TLS, and what its clients need."""

    port: int
    certificates: Certificates
    is_mutual: bool = False  # clients show a certificate


def made(key: str, folder: Path = FOLDER) -> Certificates:
    """The certificates with keys of that kind; made where they are missing.

    Raises CertificateError when openssl is missing or says no.
    """
    found = Certificates(folder / key)
    # It is renamed when all is in it.
    if not found.folder.is_dir():
        fresh = Certificates(folder / f"{key}.new")
        shutil.rmtree(fresh.folder, ignore_errors=True)
        fresh.folder.mkdir(parents=True)
        _make_all(fresh, KEYS[key])
        fresh.folder.rename(found.folder)
    return found


def _make_all(to: Certificates, key: Sequence[str]) -> None:
    authority_key = to.key("authority")
    _openssl(
        *("req", "-x509", *key, "-nodes", "-days", DAYS, "-subj", "/CN=pymc bench authority"),
        *("-keyout", str(authority_key), "-out", str(to.authority)),
    )
    for name, words in (("server", SERVER_NAMES), ("client", CLIENT_NAMES)):
        request, extensions = to.folder / f"{name}.csr", to.folder / f"{name}.ext"
        extensions.write_text(words)
        _openssl(
            *("req", "-new", *key, "-nodes", "-subj", f"/CN=pymc bench {name}"),
            *("-keyout", str(to.key(name)), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-days", DAYS, "-extfile", str(extensions)),
            *("-CA", str(to.authority), "-CAkey", str(authority_key), "-CAcreateserial"),
            *("-out", str(to.chain(name))),
        )


def _openssl(*words: str) -> None:
    if not shutil.which("openssl"):
        raise CertificateError("openssl is not on PATH")
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise CertificateError(f"openssl {words[0]}: {done.stderr.strip()[-300:]}")


@functools.cache
def client_context(port: TlsPort) -> ssl.SSLContext:
    """What Python's clients of that server use; they check its certificate."""
    context = ssl.create_default_context(cafile=str(port.certificates.authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if port.is_mutual:
        held = port.certificates
        context.load_cert_chain(held.chain("client"), held.key("client"))
    return context
