"""What may go to flash: extstore's rule by size, age and time to live, and an option by fetches."""

from dataclasses import dataclass

NO_AGE = 2**32 - 1
# Before an item is on flash it would be gone.
TTL_SECONDS_MIN = 2


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """ext_item_size, ext_item_age, ext_low_ttl, ext_compress and ext_admit."""

    item_bytes_min: int = 0
    item_age_seconds: int = NO_AGE
    low_ttl_seconds: int = 0
    compress_bytes_min: int = 256
    unread_percent: int = 100


@dataclass(frozen=True, slots=True)
class WriteRate:
    """How write-out fares of late."""

    written_bytes_per_second: float = 0.0
    # Items that were evicted before they were on flash, and items that were put there.
    missed_per_second: float = 0.0
    added_per_second: float = 0.0
    # The part of the time in which a write was under way, 0 to 1.
    device_busy_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules for the items of one pass."""

    item_bytes_min: int
    idle_seconds_min: int
    ttl_seconds_min: int
    low_ttl_seconds: int
    compress_bytes_min: int
    unread_percent: int


MISSED_SHARE = 0.05
DEVICE_IDLE_SHARE = 0.7


def admit(settings: AdmissionSettings, rate: WriteRate, *, is_short: bool) -> Admission:
    """The rules now; `is_short`: memory is nearly used up, so that age does not matter.

    When items are evicted before their turn although the device has time, it is the processor that
    is short, and values go to flash as they are.
    """
    moved = rate.missed_per_second + rate.added_per_second
    is_behind = rate.missed_per_second > MISSED_SHARE * moved
    is_slow = is_behind and rate.device_busy_share < DEVICE_IDLE_SHARE
    return Admission(
        item_bytes_min=settings.item_bytes_min,
        idle_seconds_min=0 if is_short else settings.item_age_seconds,
        ttl_seconds_min=TTL_SECONDS_MIN,
        low_ttl_seconds=settings.low_ttl_seconds,
        compress_bytes_min=0 if is_slow else settings.compress_bytes_min,
        unread_percent=settings.unread_percent,
    )
