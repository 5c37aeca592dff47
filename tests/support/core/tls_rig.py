"""Drives the C room of TLS over memory: contexts of made material, and Python's ssl as client."""

import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from pymc.core.ffi import ffi, lib, text
from tests.support.certs import Authority, Pair
from tests.support.core.driver import COUNTERS

READ, WRITE, ADMIN, ALL = 1, 2, 4, 7
REASON_BYTES = 256
CHUNK_BYTES = 1 << 17
# So far back the clock of a world can be set.
_AGE_SECONDS = 86_400
FAILURES = {
    name.removeprefix("TLS_FAILED_"): getattr(lib, name)
    for name in dir(lib)
    if name.startswith("TLS_FAILED_")
}


class RefusedError(Exception):
    """The core did not take the material; the message is its reason."""


def said(call: Callable[..., int], *arguments: Any) -> tuple[int, str]:
    """The status of a call whose last arguments are a reason and its size, and the reason."""
    reason = ffi.new("char[]", REASON_BYTES)
    status = call(*arguments, reason, REASON_BYTES)
    return status, text(reason)


@dataclass
class Material:
    """What a context is made of; see struct tls_options."""

    chain: bytes = b""
    key: bytes = b""
    ca: bytes | None = None
    crl: bytes | None = None
    allowed_ids: bytes | None = None
    ciphers: bytes | None = None
    key_is_der: bool = False
    resumes: bool = True
    uses_kernel: bool = False
    verify: str = "NONE"
    version_min: int = 2

    @classmethod
    def of(cls, pair: Pair, **more: Any) -> "Material":
        return cls(pair.chain_pem, pair.key_pem, **more)


class World:
    """An arena with ticket keys and a clock; contexts and handshakes in it."""

    def __init__(self, slots: int = 2) -> None:
        options = ffi.new("struct arena_options *")
        options.reserve_bytes = 1 << 22
        options.slots = slots
        options.boot_unix_seconds = int(time.time()) - _AGE_SECONDS
        out = ffi.new("struct arena **")
        assert lib.arena_create(options, out) == 0
        self.arena = out[0]
        assert lib.tls_create(self.arena) == 0
        proc = ffi.new("struct proc **")
        status = lib.proc_open(self.arena, 0, lib.PROC_WORKER, ffi.NULL, ffi.NULL, proc)
        assert status == 0
        self.proc = proc[0]
        self.move_to(0)
        self._contexts: list[Any] = []
        self._rigs: list[Rig] = []

    def move_to(self, seconds: int) -> None:
        """Sets the clock so many seconds after the present."""
        lib.proc_set_now(self.proc, 2 + _AGE_SECONDS + seconds)

    def rotate(self) -> None:
        assert lib.tls_tickets_rotate(self.arena) == 0

    def context(self, material: Material) -> Any:
        """A context, with this world's clock; raises RefusedError."""
        options = ffi.new("struct tls_options *")
        kept = []
        for name in ("chain", "key", "ca", "crl", "allowed_ids", "ciphers"):
            value = getattr(material, name)
            if value is not None:
                kept.append(ffi.from_buffer(value))
                field_of = getattr(options, name)
                field_of.text, field_of.bytes = kept[-1], len(value)
        for name in ("key_is_der", "resumes", "uses_kernel", "version_min"):
            setattr(options, name, getattr(material, name))
        options.verify = getattr(lib, f"TLS_VERIFY_{material.verify}")
        out = ffi.new("struct tls_context **")
        status, reason = said(lib.tls_context_create, self.arena, options, out)
        if status != lib.PYMC_OK:
            raise RefusedError(reason)
        lib.tls_rig_serve(out[0], self.proc)
        self._contexts.append(out[0])
        return out[0]

    def forget(self, context: Any) -> None:
        """The test gives this context back itself."""
        self._contexts.remove(context)

    def rig(self, context: Any, door: str = "DEFAULT") -> "Rig":
        rig = Rig(context, getattr(lib, f"TLS_DOOR_{door}"))
        self._rigs.append(rig)
        return rig

    def count(self, name: str) -> int:
        """A counter of the world's process."""
        values = ffi.new("uint64_t[]", len(COUNTERS))
        lib.meter_read(self.arena, 0, values)
        return int(values[COUNTERS.index(name)])

    def close(self) -> None:
        for rig in self._rigs:
            rig.close()
        for context in self._contexts:
            lib.tls_context_release(context)
        lib.proc_close(self.proc)
        lib.arena_close(self.arena)

    def __enter__(self) -> "World":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Rig:
    """The server's side of one connection."""

    def __init__(self, context: Any, door: int) -> None:
        self.rig = lib.tls_rig_open(context, door)
        assert self.rig != ffi.NULL
        self._place = ffi.new("char[]", CHUNK_BYTES)

    def feed(self, sent: bytes) -> None:
        assert lib.tls_rig_feed(self.rig, sent, len(sent)) == len(sent)

    def drain(self) -> bytes:
        count = lib.tls_rig_drain(self.rig, self._place, CHUNK_BYTES)
        return bytes(ffi.buffer(self._place, count))

    def step(self) -> int:
        return int(lib.tls_rig_step(self.rig))

    @property
    def failure(self) -> str:
        """The name behind TLS_FAILED_."""
        number = lib.tls_rig_failure(self.rig)
        return next(name for name, value in FAILURES.items() if value == number)

    @property
    def line(self) -> str:
        return text(lib.tls_rig_line(self.rig))

    @property
    def identity(self) -> str:
        return text(lib.tls_rig_identity(self.rig))

    @property
    def rights(self) -> int:
        return int(lib.tls_rig_rights(self.rig))

    @property
    def is_resumed(self) -> bool:
        return bool(lib.tls_rig_is_resumed(self.rig))

    def still_admitted(self, context: Any) -> int:
        return int(lib.tls_rig_still_admitted(self.rig, context))

    def read(self) -> bytes:
        count = lib.tls_rig_read(self.rig, self._place, CHUNK_BYTES)
        return bytes(ffi.buffer(self._place, max(count, 0)))

    def write(self, sent: bytes) -> int:
        return int(lib.tls_rig_write(self.rig, sent, len(sent)))

    def close(self) -> None:
        if self.rig != ffi.NULL:
            lib.tls_rig_close(self.rig)
            self.rig = ffi.NULL


@dataclass
class Client:
    """What Python's ssl is told: whom it trusts, whom it is, which versions it speaks."""

    trusts: Authority | None = None
    pair: Pair | None = None
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = ""
    alpn: list[str] = field(default_factory=list)
    session: ssl.SSLSession | None = None

    def __post_init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = self.version
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if self.trusts else ssl.CERT_NONE
        if self.trusts:
            context.load_verify_locations(cadata=self.trusts.pem.decode())
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        if self.alpn:
            context.set_alpn_protocols(self.alpn)
        if self.pair:
            with tempfile.TemporaryDirectory() as folder:
                context.load_cert_chain(*self.pair.write(Path(folder), "client"))
        self.context = context

    def begin(self) -> "Talk":
        return Talk(self)


class Talk:
    """A client of Python's ssl over memory, and what it learnt."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client.context.wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost", session=client.session
        )
        self.is_done = False
        # The last alert or other error, as Python names it.
        self.error = ""
        self.received = b""

    def step(self) -> None:
        """Goes on with the handshake, then reads."""
        if self.error:
            return
        try:
            if not self.is_done:
                self.tls.do_handshake()
                self.is_done = True
            self.received += self.tls.read(1 << 16)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error.reason or str(error)

    def meet(self, rig: Rig, rounds: int = 20) -> int:
        """Carries bytes between the two until neither has any; the server's last step."""
        result = lib.TLS_RIG_WAITS
        for _ in range(rounds):
            self.step()
            sent = self.outgoing.read()
            if sent:
                rig.feed(sent)
            result = rig.step()
            answer = rig.drain()
            if answer:
                self.incoming.write(answer)
            elif not sent:
                break
        return int(result)

    def keep_session(self) -> None:
        """The client resumes this session the next time."""
        self.client.session = self.tls.session
