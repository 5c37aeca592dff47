"""How long background work rests after a step, so that it takes a small part of one core."""


def rest_seconds(spent_seconds: float, share: float) -> float:
    """The pause after a step that took `spent_seconds`, for `share` (0 to 1) of one core."""
    return max(0.0, spent_seconds) * (1.0 - share) / share
