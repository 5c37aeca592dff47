"""What the store's operations are asked and answer, as the tests see it."""

from dataclasses import dataclass
from enum import IntEnum

from pymc.core.ffi import lib


class Mode(IntEnum):
    SET = lib.STORE_SET
    ADD = lib.STORE_ADD
    REPLACE = lib.STORE_REPLACE
    APPEND = lib.STORE_APPEND
    PREPEND = lib.STORE_PREPEND


class Outcome(IntEnum):
    HIT = lib.STORE_HIT
    MISS = lib.STORE_MISS
    MISS_EXPIRED = lib.STORE_MISS_EXPIRED
    MISS_FLUSHED = lib.STORE_MISS_FLUSHED
    STORED = lib.STORE_STORED
    NOT_STORED = lib.STORE_NOT_STORED
    EXISTS = lib.STORE_EXISTS
    NOT_FOUND = lib.STORE_NOT_FOUND
    DELETED = lib.STORE_DELETED
    TOUCHED = lib.STORE_TOUCHED
    TOO_LARGE = lib.STORE_TOO_LARGE
    NO_MEMORY = lib.STORE_NO_MEMORY
    NON_NUMERIC = lib.STORE_NON_NUMERIC
    ROOM_MADE = lib.STORE_ROOM_MADE
    ON_FLASH = lib.STORE_ON_FLASH
    BUSY = lib.STORE_BUSY


@dataclass(frozen=True)
class Stored:
    outcome: Outcome
    cas: int
    value_bytes: int


@dataclass(frozen=True)
class Found:
    value: bytes
    flags: int
    expiry_seconds: int
    time_seconds: int
    state: int
    cas: int


@dataclass(frozen=True)
class Number:
    outcome: Outcome
    value: int
    text: bytes
    cas: int
    expiry_seconds: int
    vivified: bool


@dataclass
class Write:
    """What store_write says besides key and value."""

    mode: Mode = Mode.SET
    flags: int = 0
    expiry_seconds: int = 0
    cas_compare: int | None = None
    cas_new: int | None = None
    invalidate: bool = False
    token_sent: bool = False
    vivify_expiry_seconds: int | None = None
