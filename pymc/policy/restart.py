"""How long a process that keeps dying stays away before it is started again."""

SHORT_LIFE_SECONDS = 5.0
# SIGKILL comes from outside: only when it comes at once, as from an OOM killer, is it a loop.
SHORT_LIFE_KILLED_SECONDS = 0.1
DEATHS_MAX = 3
FIRST_DELAY_SECONDS = 0.25
DELAY_SECONDS_MAX = 5.0


def count_death(deaths_in_row: int, lived_seconds: float, was_killed: bool = False) -> int:
    """Deaths in a row, this one included: a life that was long enough breaks the row."""
    short_life = SHORT_LIFE_KILLED_SECONDS if was_killed else SHORT_LIFE_SECONDS
    return deaths_in_row + 1 if lived_seconds < short_life else 1


def restart_delay_seconds(deaths_in_row: int) -> float:
    """The delay before the next start: none for the first two deaths, then doubling."""
    if deaths_in_row < DEATHS_MAX:
        return 0.0
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(deaths_in_row - DEATHS_MAX, 16), DELAY_SECONDS_MAX)
