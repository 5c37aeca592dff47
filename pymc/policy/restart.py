"""How long a process that keeps dying stays away before it is started again."""

SHORT_RUN_SECONDS = 5.0
# SIGKILL comes from outside: only when it comes at once, as from an OOM killer, is it a loop.
SHORT_RUN_KILLED_SECONDS = 0.1
DEATHS_MAX = 3
FIRST_DELAY_SECONDS = 0.25
DELAY_SECONDS_MAX = 5.0
# Who was killed for want of memory would only take it again: others need some time without it.
OOM_FIRST_DELAY_SECONDS = 1.0
OOM_DELAY_SECONDS_MAX = 30.0
# So long after such a kill the next one is the first again, whichever process it meets.
OOM_ROW_SECONDS = 120.0


def count_death(deaths_in_row: int, lived_seconds: float, was_killed: bool = False) -> int:
    """Deaths in a row, this one included: a life that was long enough breaks the row."""
    short_run_seconds = SHORT_RUN_KILLED_SECONDS if was_killed else SHORT_RUN_SECONDS
    return deaths_in_row + 1 if lived_seconds < short_run_seconds else 1


def restart_delay_seconds(deaths_in_row: int) -> float:
    """The delay before the next start: none for the first two deaths, then doubling."""
    if deaths_in_row < DEATHS_MAX:
        return 0.0
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(deaths_in_row - DEATHS_MAX, 16), DELAY_SECONDS_MAX)


def count_oom_kill(kills_in_row: int, since_last_seconds: float) -> int:
    """Kills for want of memory in a row, this one included."""
    return kills_in_row + 1 if since_last_seconds < OOM_ROW_SECONDS else 1


def oom_delay_seconds(kills_in_row: int) -> float:
    """The delay before the next start after the kernel killed for want of memory."""
    delay = OOM_FIRST_DELAY_SECONDS * 2.0 ** min(kills_in_row - 1, 16)
    return min(delay, OOM_DELAY_SECONDS_MAX)
