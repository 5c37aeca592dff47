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
    # memcached built without a feature refuses some flags where they stand, others at the end.
    refused_at_once: bool = False


# The one switch: delete a row when its feature is there.
FEATURES_NOT_BUILT: tuple[MissingFeature, ...] = (
    MissingFeature(
        "memory_file_path", (None,), "This server is not built with restartable memory (-e)."
    ),
)


def missing_feature(setting: str, value: Any) -> MissingFeature | None:
    """The feature that setting `setting` to `value` would need and that is not there."""
    for feature in FEATURES_NOT_BUILT:
        if feature.setting == setting and value not in feature.allowed:
            return feature
    return None


def refuse(feature: MissingFeature) -> StartupError:
    """The error that says so."""
    return StartupError(feature.message, EXIT_USAGE)
