"""A pymc that speaks TLS, and clients of it: Python's ssl as the runner of any test's bytes."""

import contextlib
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from tests.support.certificate_files import CertificateFiles
from tests.support.certs import Pair
from tests.support.connection import Address, Connection
from tests.support.deadline import WAIT_SECONDS
from tests.support.programs import Program
from tests.support.server import Server


class TlsConnection(Connection):
    """As Connection, once its handshake is done."""

    def __init__(
        self,
        address: Address,
        timeout_seconds: float,
        context: ssl.SSLContext,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """Raises OSError, as ssl does."""
        super().__init__(address, timeout_seconds)
        try:
            self.socket = context.wrap_socket(
                self.socket, server_hostname="localhost", session=session
            )
        except BaseException:
            self.close()
            raise

    def finish(self) -> bytes:
        """As Connection.finish(); that of SSLSocket would forget that there is encryption."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
        return self.read_to_close()


class TlsServer(Server):
    """As Server; all its connections are encrypted. `client` is whom they show a certificate of."""

    def __init__(
        self,
        program: Program,
        files: CertificateFiles,
        args: Sequence[str] = (),
        *,
        client: Pair | None = None,
        clock: bool = False,
    ) -> None:
        self.files = files
        self.context = client_context(files, client)
        super().__init__(program, ["-Z", "-o", files.options, *args], clock=clock)

    def connect(self, timeout_seconds: float = WAIT_SECONDS) -> Connection:
        return self.connect_as(self.context, timeout_seconds)

    def connect_as(
        self,
        context: ssl.SSLContext,
        timeout_seconds: float = WAIT_SECONDS,
        session: ssl.SSLSession | None = None,
    ) -> Connection:
        """A connection with this context. Raises OSError, as ssl does."""
        return TlsConnection(self.address, timeout_seconds, context, session)

    def serial(self) -> int:
        """Of the certificate that a new connection is shown."""
        return serial_of(self.connect())


def serial_of(connection: Connection) -> int:
    """The serial number of the server's certificate; closes the connection."""
    from cryptography import x509

    with connection:
        assert isinstance(connection.socket, ssl.SSLSocket)
        shown = connection.socket.getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown).serial_number


def client_context(files: CertificateFiles, client: Pair | None = None) -> ssl.SSLContext:
    """Trusts the files' CA, as it is then."""
    context = ssl.create_default_context(cadata=files.root.pem.decode())
    if client:
        chain, key = client.write(Path(files.folder), f"client-{id(client)}")
        context.load_cert_chain(chain, key)
    return context
