"""The certificates of a server under test on disk, and settings that name them."""

from pathlib import Path

from pymc.config import Settings
from pymc.record import replace
from tests.support.certs import Authority


class CertificateFiles:
    """A server's files, each replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Authority.root()
        self.renew()
        self.write("ca.pem", self.root.pem)
        self.settings = Settings(
            tls_enabled=True,
            workers=2,
            tls_chain_path=str(folder / "chain.pem"),
            tls_key_path=str(folder / "key.pem"),
            tls_ca_path=str(folder / "ca.pem"),
        )

    @property
    def options(self) -> str:
        """What stands behind `-o` for a server with these files."""
        settings = self.settings
        return (
            f"ssl_chain_cert={settings.tls_chain_path},ssl_key={settings.tls_key_path},"
            f"ssl_ca_cert={settings.tls_ca_path}"
        )

    def renew(self) -> None:
        """Another certificate and its key, of the same CA."""
        self.pair = self.root.server()
        self.write("chain.pem", self.pair.chain_pem)
        self.write("key.pem", self.pair.key_pem)

    def write(self, name: str, text: bytes) -> None:
        """Puts a new file in the place of the old one, as careful tools do."""
        new = self.folder / f"{name}.new"
        new.write_bytes(text)
        new.replace(self.folder / name)

    def with_settings(self, **changes: object) -> Settings:
        return replace(self.settings, **changes)
