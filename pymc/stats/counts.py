"""What is live of what is linked: flush_all hides items at once, their memory comes back later."""

# Sums of 64 bits from here on are negative.
_BELOW_ZERO = 1 << 63


def not_flushed(counters: dict[str, int], linked: str, flushed: str) -> int:
    """How much of a gauge is not flushed; never below 0, though counters are read one by one."""
    live = (counters[linked] - counters[flushed]) % (1 << 64)
    return 0 if live >= _BELOW_ZERO else live
