"""TLS over the memory transport: clients whose records the test cuts as it likes."""

import datetime
import ssl
from functools import cache
from types import SimpleNamespace
from typing import Any

from pymc.core.ffi import ffi, lib
from pymc.core.tls import TlsContext, TlsMaterial, TlsRules, Verify
from tests.support.certs import Authority, Pair, Span
from tests.support.core.conn_rig import Client, Rig


def _long() -> Span:
    """Valid by the clock of this machine, and by that of arenas in tests."""
    return Span(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))


@cache
def authority() -> Authority:
    """Whom servers and clients of these tests come from."""
    return Authority.root("ca", span=_long())


@cache
def server_pair() -> Pair:
    return authority().server()


@cache
def client_pair() -> Pair:
    return authority().client(uri="spiffe://example.org/web", span=_long())


def server_context(
    rig: Rig, verify: Verify = Verify.NONE, *, resumes: bool = False, **material: Any
) -> TlsContext:
    """What the server's side of connections is made of; the caller's to release."""
    if resumes:
        assert lib.tls_create(rig.cache.arena) == lib.tls_tickets_rotate(rig.cache.arena) == 0
    pair = server_pair()
    # All that it needs of an arena.
    arena: Any = SimpleNamespace(pointer=rig.cache.arena)
    made = TlsMaterial(chain=pair.chain_pem, key=pair.key_pem, ca=authority().pem, **material)
    return TlsContext(arena, made, TlsRules(verify=verify, resumes=resumes))


def client_context(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, folder: Any = None
) -> ssl.SSLContext:
    """A client that trusts the tests' authority; with its own certificate if there is a folder."""
    context = ssl.create_default_context(cadata=authority().pem.decode())
    context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    if folder is not None:
        context.load_cert_chain(*client_pair().write(folder, "client"))
    return context


class TlsClient(Client):
    """A client that speaks TLS. What it says waits in `out` until pump() brings it over."""

    def __init__(
        self, rig: Rig, server: TlsContext, context: ssl.SSLContext | None = None, door: int = 0
    ) -> None:
        self.rig = rig
        out = ffi.new("struct memory_client **")
        assert lib.memory_client_open(rig.loop, server.pointer, door, out) == 0
        self.pointer = out[0]
        self._place = ffi.new("char[]", 1 << 20)
        self._in = ssl.MemoryBIO()
        self.out = ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(self._in, self.out)
        # What it has decrypted, and whether it was told properly that no more comes.
        self.got = bytearray()
        self.has_met_notify = False
        self._has_greeted = False
        # Bytes that arrive at once; 0: all that there are.
        self.piece_bytes = 0

    def listen(self) -> None:
        """Takes what the server has sent, and decrypts what can be decrypted."""
        if heard := super().hear():
            self._in.write(heard)
        if not self._is_greeted():
            return
        while not self.has_met_notify:
            try:
                data = self.tls.read(1 << 20)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                data = b""
            self.has_met_notify = not data
            self.got += data

    def _is_greeted(self) -> bool:
        try:
            if not self._has_greeted:
                self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self._has_greeted = True
        return True

    def pump(self) -> None:
        """Brings over what either side has to say, until both are quiet."""
        self.listen()
        while data := self.out.read():
            step = self.piece_bytes or len(data)
            for at in range(0, len(data), step):
                self.say(data[at : at + step])
                self.rig.serve()
                self.listen()
        self.rig.serve()
        self.listen()

    def greet(self) -> "TlsClient":
        self.pump()
        assert self.state == "READING"
        return self

    def ask(self, data: bytes) -> bytes:
        for at in range(0, len(data), 16_384):
            self.tls.write(data[at : at + 16_384])
        self.pump()
        return self.hear()

    def hear(self) -> bytes:
        self.listen()
        got = bytes(self.got)
        self.got.clear()
        return got

    def notify(self) -> None:
        """Says that it sends nothing more; waits in `out`."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
