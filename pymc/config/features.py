"""What the command line may ask for but this build cannot do yet, and how that is said."""

from typing import Any

from pymc.config.errors import EXIT_USAGE, StartupError
from pymc.record import Record


class MissingFeature(Record):
    """A setting with the only values it may have until its feature is built."""

    setting: str
    allowed: tuple[Any, ...]
    message: str
    # What -h says about it.
    note: str = "not built yet"


# The one switch: delete a row when its feature is there.
FEATURES_NOT_BUILT: tuple[MissingFeature, ...] = (
    MissingFeature(
        "memory_file_path", (None,), "This server is not built with restartable memory (-e)."
    ),
)


def refuse(feature: MissingFeature) -> StartupError:
    """The error that says so."""
    return StartupError(feature.message, EXIT_USAGE)
