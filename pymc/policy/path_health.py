"""When a path of the flash tier is taken out of service."""

from dataclasses import dataclass

WRITE_ERRORS_IN_ROW = 3
# So many failing reads in each of so many seconds are no accident.
READ_ERRORS_PER_LOOK = 32
BAD_LOOKS_MAX = 3


@dataclass(frozen=True, slots=True)
class PathHistory:
    """What was seen of one path."""

    read_errors: int = 0
    write_errors_in_row: int = 0
    bad_looks_in_row: int = 0

    @property
    def is_to_go(self) -> bool:
        """Whether the path is to be taken out."""
        return (
            self.write_errors_in_row >= WRITE_ERRORS_IN_ROW
            or self.bad_looks_in_row >= BAD_LOOKS_MAX
        )


def after_write(history: PathHistory, *, is_good: bool) -> PathHistory:
    """The history with one more write."""
    row = 0 if is_good else history.write_errors_in_row + 1
    return PathHistory(history.read_errors, row, history.bad_looks_in_row)


def after_look(history: PathHistory, read_errors: int) -> PathHistory:
    """The history with one more second; `read_errors` are all since the start."""
    is_bad = read_errors - history.read_errors >= READ_ERRORS_PER_LOOK
    looks = history.bad_looks_in_row + 1 if is_bad else 0
    return PathHistory(read_errors, history.write_errors_in_row, looks)
