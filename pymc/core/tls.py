"""TLS contexts of the C core: what a process's encrypted connections share."""

from enum import IntEnum
from typing import Any

from pymc.core.arena import Arena
from pymc.core.errors import InvalidArgumentError, check
from pymc.core.ffi import ffi, lib
from pymc.record import Record

_REASON_BYTES = 512
Bytes = bytes | memoryview


class Verify(IntEnum):
    """What is asked of clients' certificates, as `ssl_verify_mode` has it."""

    NONE = lib.TLS_VERIFY_NONE
    OPTIONAL = lib.TLS_VERIFY_OPTIONAL
    REQUIRED = lib.TLS_VERIFY_REQUIRED
    ONCE = lib.TLS_VERIFY_ONCE


class TlsMaterial(Record):
    """One generation of files, PEM but for a DER key; csrc/tls/tls.h says what each of them is."""

    chain: Bytes
    key: Bytes
    ca: Bytes | None = None
    crl: Bytes | None = None
    allowed_ids: Bytes | None = None
    key_is_der: bool = False


class TlsRules(Record):
    """How a context uses its material, which does not change while the server runs."""

    ciphers: str | None = None
    verify: Verify = Verify.NONE
    version_min: int = 2
    resumes: bool = False
    uses_kernel: bool = False


class TlsContext:
    """A context; each engine that is given it keeps it as long as its connections need it."""

    def __init__(self, arena: Arena, material: TlsMaterial, rules: TlsRules) -> None:
        """Makes it of material that may go afterwards; borrows the arena.

        Raises InvalidArgumentError with one line that says what cannot be used.
        """
        options = ffi.new("struct tls_options *")
        # Borrowed for the call: keys are read where they are.
        kept = [
            _put(field, text)
            for field, text in (
                (options.chain, material.chain),
                (options.key, material.key),
                (options.ca, material.ca),
                (options.crl, material.crl),
                (options.allowed_ids, material.allowed_ids),
                (options.ciphers, None if rules.ciphers is None else rules.ciphers.encode()),
            )
        ]
        options.key_is_der = material.key_is_der
        options.verify = rules.verify
        options.version_min = rules.version_min
        options.resumes = rules.resumes
        options.uses_kernel = rules.uses_kernel
        out = ffi.new("struct tls_context **")
        reason = ffi.new("char[]", _REASON_BYTES)
        status = lib.tls_context_create(arena.pointer, options, out, reason, _REASON_BYTES)
        del kept
        if status == lib.PYMC_INVALID:
            raise InvalidArgumentError(ffi.string(reason).decode("utf-8", "replace"))
        check(status, "tls_context_create")
        self.pointer = out[0]

    def release(self) -> None:
        """Gives this reference back; release() again does nothing."""
        pointer, self.pointer = self.pointer, ffi.NULL
        lib.tls_context_release(pointer)


def _put(field: Any, text: Bytes | None) -> Any:
    """Lets a field of the options point to a text; returns what has to live as long."""
    if text is None:
        return None
    pointer = ffi.from_buffer("char[]", text)
    field.text = pointer
    field.bytes = len(text)
    return pointer


def kernel_lacks() -> str:
    """Why encryption cannot be handed to the kernel; "" when it can."""
    reason = ffi.new("char[]", _REASON_BYTES)
    works = lib.tls_kernel_works(reason, _REASON_BYTES)
    return "" if works else ffi.string(reason).decode("utf-8", "replace") or "unknown"


def tls_reserve_bytes() -> int:
    """Address space an arena needs for what all processes share of TLS."""
    return int(lib.tls_reserve_bytes())


def format_tls(arena: Arena) -> None:
    """Makes that in a fresh arena, with a first ticket key, before the first fork."""
    check(lib.tls_create(arena.pointer), "tls_create")
    rotate_tickets(arena)


def rotate_tickets(arena: Arena) -> None:
    """Begins a new ticket key for all processes; the last one still opens tickets.

    Raises SystemCallError without randomness; nothing was changed then.
    """
    check(lib.tls_tickets_rotate(arena.pointer), "tls_tickets_rotate")
